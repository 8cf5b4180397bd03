"""Training in MXNet Gluon: the loss, the update rule, the moving average, and the step that joins them."""
