"""From canonical names to every dialect's and back."""
