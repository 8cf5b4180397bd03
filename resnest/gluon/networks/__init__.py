"""The networks, in MXNet Gluon."""
