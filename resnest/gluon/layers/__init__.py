"""What networks are built of, in MXNet Gluon."""
