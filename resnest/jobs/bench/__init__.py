"""How fast networks are, beside others."""
