"""The old place of what writes the generated pages; it is in ``tools/`` now."""
