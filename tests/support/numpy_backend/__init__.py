"""A third backend, to show what one takes: a folder, and a row in the registry."""
