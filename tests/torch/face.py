"""PyTorch's arrays and modes, as the tests of every backend need them."""

import torch


def array(x):
    return torch.from_numpy(x)


def numpy(x):
    return x.detach().numpy()


def cast(model, dtype):
    """The model in another dtype, and not in training."""
    return model.to(getattr(torch, dtype)).eval()


def predict(model, call, x):
    """What `call` gives outside of training."""
    model.eval()
    with torch.no_grad():
        return call(x)


def train(model, x):
    return model.train()(x)


def identity():
    return torch.nn.Identity()


def in_training(model, call):
    """What `call` gives while the model is in training."""
    model.train()
    return call()
