"""From bytes to arrays and back: one module a file format, `files` in front of them."""
