"""torch.func: the network as a function of its weights, over batches of images or networks, and both derivatives."""

import pytest
import torch
import torch.nn.functional as F
from torch.func import functional_call, grad, jvp, stack_module_state, vmap

from resnest.torch import ResNeSt
from tests.support.backends import Backend
from tests.support.specs import tiny

IMAGES = torch.randn((3, 3, 49, 65), generator=torch.Generator().manual_seed(0), dtype=torch.float64)
TARGETS = torch.tensor([0, 3, 1])


@pytest.fixture(params=[False, True], ids=["predicting", "training"])
def model(request):
    return Backend("torch").build(tiny(), dtype="float64").train(request.param)


def loss_of(weights, model, buffers):
    return F.cross_entropy(functional_call(model, (weights, buffers), (IMAGES,)), TARGETS)


def states(model):
    weights = {name: tensor.detach() for name, tensor in model.named_parameters()}
    return weights, {name: tensor.clone() for name, tensor in model.named_buffers()}


def test_the_gradient_is_that_of_going_backward(model):
    weights, buffers = states(model)
    found = grad(loss_of)(weights, model, buffers)
    F.cross_entropy(model(IMAGES), TARGETS).backward()
    for name, parameter in model.named_parameters():
        torch.testing.assert_close(found[name], parameter.grad, rtol=1e-9, atol=1e-12, msg=name)


def test_the_forward_derivative_is_the_gradient_along_it(model):
    weights, buffers = states(model)
    gradients = grad(loss_of)(weights, model, buffers)
    towards = {name: torch.ones_like(tensor) for name, tensor in weights.items()}

    def loss(weights):  # with buffers of its own: a function of torch.func must not write over what it was not given
        return loss_of(weights, model, {name: tensor.clone() for name, tensor in buffers.items()})

    _, found = jvp(loss, (weights,), (towards,))
    expected = sum(tensor.sum() for tensor in gradients.values())
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-12)


def test_each_image_has_its_own_gradient_in_prediction():
    model = Backend("torch").build(tiny(), dtype="float64").eval()
    weights, buffers = states(model)

    def loss(weights, image, target):
        logits = functional_call(model, (weights, buffers), (image[None],))
        return F.cross_entropy(logits, target[None])

    each = vmap(grad(loss), in_dims=(None, 0, 0))(weights, IMAGES, TARGETS)
    together = grad(loss_of)(weights, model, buffers)
    for name, gradients in each.items():
        torch.testing.assert_close(gradients.mean(0), together[name], rtol=1e-9, atol=1e-12, msg=name)


def test_an_ensemble_predicts_in_one_go():
    models = [ResNeSt(tiny()).double().eval() for _ in range(2)]
    weights, buffers = stack_module_state(models)

    def predict(weights, buffers):
        return functional_call(models[0], (weights, buffers), (IMAGES,))

    found = vmap(predict)(weights, buffers)
    for one, logits in zip(models, found, strict=True):
        torch.testing.assert_close(logits, one(IMAGES), rtol=1e-10, atol=1e-12)
