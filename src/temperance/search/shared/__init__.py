"""Trials in a database: a search whose process may end, and one that several processes share."""
