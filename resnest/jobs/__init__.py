"""What is done with networks of any backend, without a terminal. Imports: all of the floors below."""
