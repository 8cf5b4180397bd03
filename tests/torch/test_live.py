"""Networks inside of what PyTorch puts around them, and in dtypes that NumPy lacks."""

import warnings
from functools import partial

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations, parametrize, prune
from torch.optim.swa_utils import AveragedModel
from torchvision.ops import FrozenBatchNorm2d

import resnest.torch
from resnest.weights.seeded import draw_weights
from tests.support.backends import Backend
from tests.support.specs import tiny

SPEC = tiny(stage_depths=(1, 1, 1, 1))
WEIGHTS = draw_weights(SPEC)


@pytest.fixture
def model():
    return Backend("torch").build(SPEC).eval()


@pytest.mark.parametrize(
    "wrap",
    [torch.compile, nn.DataParallel, AveragedModel, lambda model: nn.DataParallel(torch.compile(model))],
    ids=["compiled", "replicated", "averaged", "both"],
)
def test_the_network_inside_is_read_loaded_and_deployed(model, wrap):
    wrapped = wrap(model)
    assert all((WEIGHTS[name] == array).all() for name, array in resnest.torch.get_weights(wrapped).items())
    resnest.torch.load_weights(wrapped, {name: array * 2 for name, array in WEIGHTS.items()})
    assert all((WEIGHTS[name] * 2 == array).all() for name, array in resnest.torch.get_weights(wrapped).items())
    assert resnest.torch.deploy.deploy(wrapped).spec.deploy


def test_weights_of_a_bfloat16_network_come_as_float32_and_go_back(model):
    model.bfloat16()
    found = resnest.torch.get_weights(model)
    for name, array in found.items():
        assert array.dtype == np.float32
        assert (array == torch.from_numpy(WEIGHTS[name]).bfloat16().float().numpy()).all()
    deployed = model.deploy()
    assert {tensor.dtype for tensor in deployed.parameters()} == {torch.bfloat16}
    resnest.torch.load_weights(model, found)
    assert all((found[name] == array).all() for name, array in resnest.torch.get_weights(model).items())


def test_a_folder_of_a_bfloat16_network_opens(model, tmp_path):
    images = torch.rand(2, 3, 64, 64)
    expected = model.bfloat16()(images.bfloat16()).float()
    model.save_pretrained(tmp_path)
    found = resnest.torch.ResNeSt.from_pretrained(tmp_path).bfloat16()(images.bfloat16()).float()
    assert torch.equal(found, expected)


@pytest.mark.parametrize("word", ["ceil_mode", "count_include_pad", "divisor_override"])
def test_what_a_pooling_does_not_tell_of_itself_counts_too(model, word):
    model.layer2[0].pool_after = nn.AvgPool2d(3, 2, 1)  # as ours, where no size is left open
    assert model.deploy().spec.deploy
    setattr(model.layer2[0].pool_after, word, {"ceil_mode": True, "count_include_pad": False}.get(word, 4))
    with pytest.raises(
        ValueError, match=r"layer2\.0\.pool_after is AvgPool2d\(.*\), which computes something else where"
    ):
        model.deploy()


class ActivatedNorm(nn.BatchNorm2d):
    def forward(self, x):
        return super().forward(x).relu()


@pytest.mark.parametrize(("norm_layer", "folds"), [(FrozenBatchNorm2d, True), (ActivatedNorm, False)])
def test_a_norm_of_another_kind_folds_where_it_predicts_as_a_batch_norm(norm_layer, folds):
    model = Backend("torch").build(SPEC, norm_layer=norm_layer).eval()
    images = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    if folds:
        torch.testing.assert_close(model.deploy()(images), model(images), rtol=1e-4, atol=1e-4)
    else:
        with pytest.raises(ValueError, match=r"^conv1\.1 is ActivatedNorm.* where tiny has BatchNorm2d"):
            model.deploy()


@pytest.mark.parametrize(
    "put",
    [parametrizations.weight_norm, lambda layer: prune.l1_unstructured(layer, "weight", 0.5)],
    ids=["weight norm", "pruned"],
)
def test_weights_that_are_computed_of_others_are_refused_until_they_are_kept(model, put):
    put(model.fc)
    for act in (
        model.deploy,
        lambda: resnest.torch.get_weights(model),
        lambda: resnest.torch.load_weights(model, WEIGHTS),
    ):
        with pytest.raises(ValueError, match=r"computed of others, such as fc\.\S+: keep what they are now"):
            act()
    if parametrize.is_parametrized(model.fc):
        parametrize.remove_parametrizations(model.fc, "weight")
    else:
        prune.remove(model.fc, "weight")
    assert model.deploy().spec.deploy


def test_norms_that_count_all_batches_alike_are_not_saved_as_others(model, tmp_path):
    model = resnest.torch.ResNeSt(SPEC, norm_layer=partial(nn.BatchNorm2d, momentum=None))
    assert model.spec == SPEC
    with pytest.raises(ValueError, match=r"has norm_momentum=None, and a config\.json says a number"):
        model.save_pretrained(tmp_path)
    assert model.deploy().spec.deploy
    for norm in model.modules():
        if isinstance(norm, nn.BatchNorm2d):
            norm.momentum = 0.3
    model.save_pretrained(tmp_path)
    assert resnest.torch.ResNeSt.from_pretrained(tmp_path).spec.norm_momentum == 0.3


def test_what_has_no_weights_to_read_says_so(model, tmp_path):
    with pytest.raises(TypeError, match="RecursiveScriptModule is no network of this package"):
        resnest.torch.get_weights(torch.jit.script(model))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # PyTorch's own about what follows it
        quantized = torch.ao.quantization.quantize_dynamic(model, {nn.Linear})
    for network, sentence in ((quantized, r"quantized \(fc\.\S+\)"), (model.to("meta"), "on the meta device")):
        for act in (network.deploy, partial(network.save_pretrained, tmp_path / "new")):
            with pytest.raises(ValueError, match=sentence):
                act()
    assert not (tmp_path / "new").exists()


def test_tied_weights_are_not_loaded_one_over_the_other(model):
    model.layer1[0].bn3.weight = model.layer1[0].downsample[-1].weight
    before = resnest.torch.get_weights(model)
    assert (before["layer1.0.bn3.weight"] == before["layer1.0.downsample.2.weight"]).all()
    with pytest.raises(ValueError, match=r"layer1\.0\.bn3\.weight and layer1\.0\.downsample\.2\.weight are one tensor"):
        resnest.torch.load_weights(model, WEIGHTS)
    assert all((before[name] == array).all() for name, array in resnest.torch.get_weights(model).items())
    resnest.torch.load_weights(model, {name: array * 2 for name, array in before.items()})
