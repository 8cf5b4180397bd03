"""What all backends share, and what is asked of each. Imports: specs and weights; frameworks only by name."""
