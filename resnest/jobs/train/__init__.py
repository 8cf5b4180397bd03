"""Training: configuration, checkpoints, log, and the run that joins them."""
