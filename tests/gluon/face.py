"""MXNet's arrays and modes, as the tests of every backend need them."""

from resnest.gluon._mxnet import mx


def array(x):
    return mx.nd.array(x, dtype=x.dtype)


def numpy(x):
    return x.asnumpy()


def cast(model, dtype):
    """The model in another dtype, and not in training."""
    model.cast(dtype)
    return model


def predict(model, call, x):
    """What `call` gives outside of training."""
    return call(x)


def train(model, x):
    with mx.autograd.record():
        return model(x)


def identity():
    return mx.gluon.contrib.nn.Identity()


def in_training(model, call):
    """What `call` gives while the model is in training."""
    with mx.autograd.record():
        return call()
