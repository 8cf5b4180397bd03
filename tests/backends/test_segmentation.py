"""The segmentation networks: tensors and logits of the two toolboxes, and the same in both backends."""

import dataclasses
import json

import numpy as np
import pytest

from resnest import get_segmentation_spec, list_segmentation_models
from resnest.jobs import parity
from resnest.specs.segmentation.network import HEADS
from resnest.weights.names.segmentation import get_dialect
from resnest.weights.seeded import draw_weights, make_input, make_weight
from tests.support.arrays import relative
from tests.support.backends import Backend
from tests.support.paths import FIXTURES
from tests.support.specs import TINY_BACKBONE, tiny_segmenter

GOLDEN = sorted(FIXTURES.glob("*seg_*.npz"))


@pytest.fixture(scope="module", params=GOLDEN, ids=lambda path: path.stem)
def checkpoint(request, tmp_path_factory):
    """A checkpoint in the toolbox's own names, and what the toolbox computes with it."""
    golden = np.load(request.param)
    meta = json.loads(str(golden["meta"]))
    shapes = toolbox_tensors(request.param.name.partition("_")[0], meta["head"])
    path = tmp_path_factory.mktemp("checkpoint") / "toolbox.npz"
    np.savez(path, **{name: make_weight(name, shape) for name, shape in shapes.items()})
    return path, meta, golden


def toolbox_tensors(toolbox, head):
    shapes = json.loads((FIXTURES / f"{toolbox}_{head}_tensors.json").read_text())
    return {name: tuple(shape) for name, shape in shapes.items()}


@pytest.mark.parametrize("method", ["fcn", "deeplabv3plus"])
def test_tensors_are_mmsegmentations_in_its_order(method):
    tensors = get_segmentation_spec(f"{method}_resnest101_ade20k").tensors()
    assert list(tensors.items()) == list(toolbox_tensors("mmseg", method).items())


@pytest.mark.parametrize("method", ["fcn", "pspnet"])
def test_tensors_are_sssegmentations_in_its_dialect(method):
    spec = get_segmentation_spec(f"{method}_resnest101_voc")
    names = get_dialect("sssegmentation", spec).from_canonical(spec)
    assert {names[name]: shape for name, shape in spec.tensors().items()} == toolbox_tensors("ssseg", method)


@pytest.mark.parametrize(("dtype", "bound"), [("float64", 1e-12), ("float32", 5e-6)])
def test_a_toolboxs_checkpoint_gives_the_toolboxs_logits(backend, checkpoint, dtype, bound):
    path, meta, golden = checkpoint
    model = backend.cast(backend.module.create_segmenter(meta["model"], weights=path), dtype)
    x = backend.array(make_input(tuple(meta["input_shape"])).astype(dtype))
    logits = backend.numpy(model(x))
    assert list(logits.shape) == meta["decode_shape"]
    assert relative(logits[0, :16], golden["logits"]) < bound
    if "auxiliary" in golden:
        auxiliary = backend.numpy(model.auxiliary_head(model.backbone(x)[:3]))
        assert relative(auxiliary[0, :8], golden["auxiliary"]) < bound


def test_there_are_twenty_networks_with_a_variant_for_each_toolbox_and_data_set():
    assert len(list_segmentation_models()) == 20
    ours, theirs = (get_segmentation_spec(f"deeplabv3_resnest101_ade20k{toolbox}") for toolbox in ("", "_ssseg"))
    assert (ours.auxiliary_channels, theirs.auxiliary_channels) == (256, 512)
    assert (ours.pooled_first, theirs.pooled_first) == (True, False)
    assert get_segmentation_spec("pspnet_resnest101_voc").num_classes == 21


@pytest.mark.gluon
@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("pooled_first", [True, False])
def test_both_backends_compute_the_same(head, pooled_first):
    spec = tiny_segmenter(head, pooled_first=pooled_first, joins_input=pooled_first)
    x = make_input((2, 3, 65, 49)).astype("float64")
    results = []
    for name in ("torch", "gluon"):
        backend = Backend(name)
        model = backend.build(spec, dtype="float64")
        results.append([backend.numpy(model(backend.array(x))), backend.numpy(model.predict(backend.array(x)))])
    (logits, predicted), (gluon_logits, gluon_predicted) = results
    assert relative(gluon_logits, logits) < 1e-13
    assert relative(gluon_predicted, predicted) < 1e-13
    assert predicted.shape == (2, 5, 65, 49)


@pytest.mark.gluon
@pytest.mark.parametrize("head", HEADS)
def test_parity_takes_segmentation_networks_in_training_too(head):
    spec = tiny_segmenter(head)
    x = parity.training_batch(make_input((1, 3, 33, 49)).astype("float64"))
    rows = parity.compare_stages(spec, draw_weights(spec), x) + parity.compare_training(spec, draw_weights(spec), x)
    assert {row.name: row.relative for row in rows if not row.within} == {}
    names = {row.name for row in rows}
    assert {"layer4", "logits", "loss", "gradient of decode_head.conv_seg.weight"} <= names
    assert {"backbone.stem.7.running_var", "auxiliary_head.convs.0.bn.running_var"} <= names


def test_training_gives_the_auxiliary_logits_too_and_prediction_does_not(backend):
    model = backend.build(tiny_segmenter("psp"), dtype="float64")
    x = make_input((2, 3, 33, 41)).astype("float64")
    logits, auxiliary = backend.train(model, x)
    assert logits.shape == auxiliary.shape == (2, 5, 5, 6)
    assert model.predict(backend.array(x)).shape == (2, 5, 33, 41)


@pytest.mark.gluon
def test_bilinear_weights_are_exact():
    from resnest.gluon._mxnet import mx
    from resnest.gluon.networks.segmentation import resize_like as gluon_resize
    from resnest.torch.networks.segmentation import resize_like

    x = make_input((2, 3, 7, 5)).astype("float64")
    for size in ((1, 1), (13, 9), (3, 20), (64, 2)):
        like = np.zeros((1, 1, *size))
        ours = gluon_resize(mx.nd.array(x, dtype="float64"), mx.nd.array(like)).asnumpy()
        assert relative(ours, resize_like(Backend("torch").array(x), Backend("torch").array(like)).numpy()) < 1e-14


@pytest.mark.parametrize("head", HEADS)
def test_costs_count_what_prediction_runs(head):
    from torch.utils.flop_counter import FlopCounterMode

    spec = tiny_segmenter(head)
    backend = Backend("torch")
    model = backend.build(spec, dtype="float32")
    with FlopCounterMode(display=False) as counter:
        logits = model(backend.array(make_input((1, 3, 65, 97))))
    cost = spec.cost(65, 97)
    assert 2 * cost.macs == counter.get_total_flops()
    assert cost.stages["logits"] == tuple(logits.shape[1:])
    assert cost.parameters == sum(parameter.numel() for parameter in model.parameters())


def test_a_published_networks_name_builds_it_through_create_model(backend):
    package = backend.module
    model = package.create_model("fcn_resnest101_voc", backbone=TINY_BACKBONE, channels=8, num_classes=3)
    assert model.spec == dataclasses.replace(
        get_segmentation_spec("fcn_resnest101_voc"), backbone=TINY_BACKBONE, channels=8, num_classes=3
    )
    with pytest.raises(TypeError, match="takes no argument 'features_only'"):
        package.create_model("fcn_resnest101_voc", features_only=True)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"head": "pspnet"}, "head='pspnet' must be one of fcn, psp, aspp, aspp_sep"),
        ({"channels": 0}, "channels=0 must be a whole number"),
        ({"backbone": dataclasses.replace(TINY_BACKBONE, deep_stem=False)}, "deep_stem and avg_down"),
    ],
)
def test_values_that_make_no_network_are_named(changes, message):
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(tiny_segmenter(), **changes)


def test_unknown_names_say_what_was_probably_meant():
    with pytest.raises(ValueError, match=r"did you mean .*fcn_resnest101_voc"):
        get_segmentation_spec("fcn_resnest101_vocs")
    with pytest.raises(TypeError, match="num_classes"):
        get_segmentation_spec("fcn_resnest101_voc", classes=3)
