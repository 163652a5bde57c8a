"""One experiment a file; files are found by themselves."""
