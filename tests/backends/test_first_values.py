"""First values: what each layer draws, by the moments of its distribution in the source that it is taken from."""

import numpy as np
import pytest
import torch

from resnest import get_segmentation_spec, get_spec
from resnest.specs.networks import Network
from resnest.specs.segmentation.heads import CLASSIFIER_STD

# The authors' PyTorch code leaves a bias to PyTorch, uniform in +-1 / sqrt(fan-in), and Gluon starts it at zero.
UNIFORM_BIASES = {"torch": True, "gluon": False}


def fresh(backend, spec: Network, **options):
    """The weights of a network that nobody has trained or loaded."""
    torch.manual_seed(0)
    module = backend.module
    if backend.name == "gluon":
        from resnest.gluon._mxnet import mx

        mx.random.seed(0)
    build = module.create_model if hasattr(spec, "stage_depths") else module.create_segmenter
    model = build(spec.name, **options)
    return model, module.get_weights(model)


def check_moments(name: str, values: np.ndarray, std: float, uniform: bool) -> None:
    """Mean, spread and shape (the fourth moment) of what was drawn, as far as so many values can tell."""
    values = values.astype(np.float64).ravel() / std
    slack = 6 / np.sqrt(values.size)
    assert abs(values.mean()) < slack, name
    assert abs(values.std() - 1) < slack, name
    if values.size > 1000:
        kurtosis = (values**4).mean() / (values**2).mean() ** 2
        assert abs(kurtosis - (1.8 if uniform else 3.0)) < 8 * slack, name


def check_backbone(backend, spec, weights, prefix="", rename=lambda module: module):
    for layer in spec.layers():
        out, inputs, height, width = layer.conv.shape
        name = f"{prefix}{rename(layer.name)}"
        check_moments(name, weights[f"{name}.weight"], (2 / (out * height * width)) ** 0.5, uniform=False)
        if layer.conv.bias and UNIFORM_BIASES[backend.name]:
            bound = (inputs * height * width) ** -0.5
            assert np.abs(weights[f"{name}.bias"]).max() <= bound
            check_moments(name, weights[f"{name}.bias"], bound / 3**0.5, uniform=True)
        elif layer.conv.bias:
            assert not weights[f"{name}.bias"].any()
        if layer.norm is not None:
            norm = f"{prefix}{rename(layer.norm)}"
            values = [np.unique(weights[f"{norm}.{tensor}"]).tolist() for tensor in ("weight", "bias")]
            assert values == [[1.0], [0.0]], norm
            statistics = [np.unique(weights[f"{norm}.running_{tensor}"]).tolist() for tensor in ("mean", "var")]
            assert statistics == [[0.0], [1.0]], norm


def test_a_classifier_starts_as_the_authors_does(backend):
    spec = get_spec("resnest14")
    _, weights = fresh(backend, spec)
    check_backbone(backend, spec, weights)
    bound = spec.feature_channels[-1] ** -0.5
    assert np.abs(weights["fc.weight"]).max() <= bound
    check_moments("fc", weights["fc.weight"], bound / 3**0.5, uniform=True)


def test_last_norms_start_at_zero_where_it_is_asked_for(backend):
    _, weights = fresh(backend, get_spec("resnest14"), last_gamma=True)
    zero = {name for name, array in weights.items() if name.endswith(".weight") and array.ndim == 1 and not array.any()}
    assert zero == {f"layer{stage}.0.bn3.weight" for stage in range(1, 5)}


@pytest.mark.parametrize("name", ["fcn_resnest101_voc", "deeplabv3plus_resnest101_voc"])
def test_a_segmenter_starts_as_mmsegmentations_does_from_even_odds(backend, name):
    small = {"backbone": get_spec("resnest14", output_stride=8, dilated_pooling="openmmlab", num_classes=0)}
    spec = get_segmentation_spec(name, **small)
    _, weights = fresh(backend, spec, **small)
    for head, layers in (("decode_head", spec.decode_head), ("auxiliary_head", spec.auxiliary_head)):
        classifier, *others = layers.layers(head)
        check_moments(classifier.name, weights[f"{classifier.name}.weight"], CLASSIFIER_STD, uniform=False)
        assert not weights[f"{classifier.name}.bias"].any()
        for layer in others:
            out, _, height, width = layer.conv.shape
            std = (2 / (out * height * width)) ** 0.5
            check_moments(layer.name, weights[f"{layer.name}.weight"], std, uniform=False)


def test_a_segmenters_first_loss_is_that_of_even_odds(backend):
    small = {"backbone": get_spec("resnest14", output_stride=8, dilated_pooling="openmmlab", num_classes=0)}
    model, _ = fresh(backend, get_segmentation_spec("fcn_resnest101_voc", **small), num_classes=5, **small)
    x = np.random.default_rng(0).normal(size=(2, 3, 65, 65)).astype(np.float32)
    logits = model.predict(backend.array(x))
    logits = np.asarray(logits.asnumpy() if hasattr(logits, "asnumpy") else logits.numpy(), np.float64)
    loss = (np.log(np.exp(logits).sum(1)) - logits[:, 0]).mean()
    assert loss == pytest.approx(np.log(5), abs=0.5)
