"""From photos to what networks see in them."""
