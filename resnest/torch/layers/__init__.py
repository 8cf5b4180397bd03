"""What networks are built of, in PyTorch."""
