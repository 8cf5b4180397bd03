"""Whose weights there are, and getting them."""
