"""The segmentation networks: tensors and logits of the two toolboxes, and the same in both backends."""

import dataclasses
import importlib
import json
from pathlib import Path

import numpy as np
import pytest

from resnest import SegmentationSpec, get_segmentation_spec, get_spec, list_segmentation_models, parity
from resnest import weights as weight_files
from resnest.weights import files
from resnest.weights.recipe import make_input, make_weight
from resnest.weights.segmentation_names import DIALECTS, get_dialect
from tests.conftest import draw, relative

DATA = Path(__file__).parent / "data"
GOLDEN = sorted(DATA.glob("*seg_*.npz"))
TINY = get_spec("resnest14", bottleneck_width=8, stem_width=8, output_stride=8, dilated_pooling="openmmlab")
HEADS = ("fcn", "psp", "aspp", "aspp_sep")


def tiny(head="fcn", **changes):
    fields = {"channels": 8, "auxiliary_channels": 4, "backbone": TINY} | changes
    return SegmentationSpec("tiny", head, 5, **fields)


class Side:
    """A backend's segmentation networks behind NumPy arrays."""

    def __init__(self, name):
        self.name = name
        self.module = importlib.import_module(f"resnest.{name}.segmentation")
        self.weights = importlib.import_module(f"resnest.{name}.weights")

    def build(self, spec, weights=None, dtype="float64"):
        model = self.module.Segmenter(spec)
        self.weights.load_weights(model, draw(spec) if weights is None else weights)
        return self.cast(model, dtype)

    def cast(self, model, dtype):
        if self.name == "torch":
            import torch

            return model.to(getattr(torch, dtype)).eval()
        model.cast(dtype)
        return model

    def array(self, x):
        if self.name == "torch":
            import torch

            return torch.from_numpy(x)
        from resnest.gluon._mxnet import mx

        return mx.nd.array(x, dtype=x.dtype)

    def numpy(self, x):
        return x.detach().numpy() if self.name == "torch" else x.asnumpy()

    def train(self, model, x):
        if self.name == "torch":
            return model.train()(self.array(x))
        from resnest.gluon._mxnet import mx

        with mx.autograd.record():
            return model(self.array(x))


@pytest.fixture
def side(backend):
    return Side(backend.name)


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
    shapes = json.loads((DATA / f"{toolbox}_{head}_tensors.json").read_text())
    return {name: tuple(shape) for name, shape in shapes.items()}


@pytest.mark.parametrize("method", ["fcn", "deeplabv3plus"])
def test_tensors_are_mmsegmentations_in_its_order(method):
    tensors = get_segmentation_spec(f"{method}_resnest101_ade20k").tensors()
    assert list(tensors.items()) == list(toolbox_tensors("mmseg", method).items())


@pytest.mark.parametrize("method", ["fcn", "pspnet"])
def test_tensors_are_sssegmentations_in_its_dialect(method):
    spec = get_segmentation_spec(f"{method}_resnest101_voc")
    names = get_dialect("sssegmentation", spec.head).from_canonical(spec.tensors())
    assert {names[name]: shape for name, shape in spec.tensors().items()} == toolbox_tensors("ssseg", method)


@pytest.mark.parametrize(("dtype", "bound"), [("float64", 1e-12), ("float32", 5e-6)])
def test_a_toolboxs_checkpoint_gives_the_toolboxs_logits(side, checkpoint, dtype, bound):
    path, meta, golden = checkpoint
    model = side.cast(side.module.create_segmenter(meta["model"], weights=path), dtype)
    x = side.array(make_input(tuple(meta["input_shape"])).astype(dtype))
    logits = side.numpy(model(x))
    assert list(logits.shape) == meta["decode_shape"]
    assert relative(logits[0, :16], golden["logits"]) < bound
    if "auxiliary" in golden:
        auxiliary = side.numpy(model.auxiliary_head(model.backbone(x)[:3]))
        assert relative(auxiliary[0, :8], golden["auxiliary"]) < bound


def test_there_are_twenty_networks_with_a_variant_for_each_toolbox_and_data_set():
    assert len(list_segmentation_models()) == 20
    ours, theirs = (get_segmentation_spec(f"deeplabv3_resnest101_ade20k{toolbox}") for toolbox in ("", "_ssseg"))
    assert (ours.auxiliary_channels, theirs.auxiliary_channels) == (256, 512)
    assert (ours.pooled_first, theirs.pooled_first) == (True, False)
    assert get_segmentation_spec("pspnet_resnest101_voc").num_classes == 21


@pytest.mark.parametrize("name", list_segmentation_models())
def test_every_network_is_recognised_by_its_tensors(name):
    spec = get_segmentation_spec(name)
    assert weight_files.recognise(spec.tensors()) == spec


@pytest.mark.parametrize("dialect", DIALECTS, ids=lambda dialect: f"{dialect.name}-{dialect.heads[0]}")
def test_a_dialect_reads_what_it_writes(dialect):
    for head in dialect.heads:
        names = list(tiny(head, joins_input=dialect.name != "sssegmentation").tensors())
        translated = dialect.from_canonical(names)
        assert len(set(translated.values())) == len(names)
        assert dialect.to_canonical(translated.values()) == {theirs: ours for ours, theirs in translated.items()}


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("dialect", ["mmsegmentation", "sssegmentation", "torch", "gluon"])
def test_files_in_every_dialect_hold_the_same_network(tmp_path, head, dialect):
    theirs = dialect == "sssegmentation"
    spec = tiny(head, joins_input=not theirs, pooled_first=not theirs)
    weights = draw(spec)
    weight_files.save(weights, tmp_path / "a.npz", dialect=dialect)
    assert weight_files.dialect_of(tmp_path / "a.npz") == dialect
    found = weight_files.convert(tmp_path / "a.npz", tmp_path / "b.params")
    assert weight_files.dialect_of(tmp_path / "b.params") == "gluon"
    assert found.head == head
    assert head not in ("aspp", "aspp_sep") or found.pooled_first == spec.pooled_first
    loaded = weight_files.load(tmp_path / "b.params")
    assert list(loaded) == list(weights)
    assert all(np.array_equal(loaded[name], weights[name]) for name in weights)


@pytest.mark.gluon
@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("pooled_first", [True, False])
def test_both_backends_compute_the_same(head, pooled_first):
    spec = tiny(head, pooled_first=pooled_first, joins_input=pooled_first)
    x = make_input((2, 3, 65, 49)).astype("float64")
    results = []
    for name in ("torch", "gluon"):
        side = Side(name)
        model = side.build(spec)
        results.append([side.numpy(model(side.array(x))), side.numpy(model.predict(side.array(x)))])
    (logits, predicted), (gluon_logits, gluon_predicted) = results
    assert relative(gluon_logits, logits) < 1e-13
    assert relative(gluon_predicted, predicted) < 1e-13
    assert predicted.shape == (2, 5, 65, 49)


@pytest.mark.gluon
@pytest.mark.parametrize("head", HEADS)
def test_parity_takes_segmentation_networks_in_training_too(head):
    spec = tiny(head)
    x = parity.training_batch(make_input((1, 3, 33, 49)).astype("float64"))
    rows = parity.compare_stages(spec, draw(spec), x) + parity.compare_training(spec, draw(spec), x)
    assert {row.name: row.relative for row in rows if not row.within} == {}
    names = {row.name for row in rows}
    assert {"layer4", "logits", "loss", "gradient of decode_head.conv_seg.weight"} <= names
    assert {"backbone.stem.7.running_var", "auxiliary_head.convs.0.bn.running_var"} <= names


def test_training_gives_the_auxiliary_logits_too_and_prediction_does_not(side):
    model = side.build(tiny("psp"))
    x = make_input((2, 3, 33, 41)).astype("float64")
    logits, auxiliary = side.train(model, x)
    assert logits.shape == auxiliary.shape == (2, 5, 5, 6)
    assert model.predict(side.array(x)).shape == (2, 5, 33, 41)


def test_a_network_without_an_auxiliary_head_takes_weights_with_one(side):
    spec = tiny(auxiliary_channels=0)
    model = side.build(spec, draw(tiny()))
    assert list(side.weights.get_weights(model)) == list(spec.tensors())
    x = make_input((2, 3, 33, 41)).astype("float64")
    assert side.train(model, x).shape == (2, 5, 5, 6)


def test_weights_come_back_as_they_were_loaded(side):
    weights = draw(tiny("aspp_sep"))
    back = side.weights.get_weights(side.build(tiny("aspp_sep"), dtype="float32"))
    assert list(back) == list(weights)
    assert all(np.array_equal(back[name], weights[name]) for name in weights)


@pytest.mark.gluon
def test_bilinear_weights_are_exact():
    from resnest.gluon._mxnet import mx
    from resnest.gluon.segmentation import resize_like as gluon_resize
    from resnest.torch.segmentation import resize_like

    x = make_input((2, 3, 7, 5)).astype("float64")
    for size in ((1, 1), (13, 9), (3, 20), (64, 2)):
        like = np.zeros((1, 1, *size))
        ours = gluon_resize(mx.nd.array(x, dtype="float64"), mx.nd.array(like)).asnumpy()
        assert relative(ours, resize_like(Side("torch").array(x), Side("torch").array(like)).numpy()) < 1e-14


@pytest.mark.parametrize("head", HEADS)
def test_costs_count_what_prediction_runs(head):
    from torch.utils.flop_counter import FlopCounterMode

    spec = tiny(head)
    side = Side("torch")
    model = side.build(spec, dtype="float32")
    with FlopCounterMode(display=False) as counter:
        logits = model(side.array(make_input((1, 3, 65, 97))))
    cost = spec.cost(65, 97)
    assert 2 * cost.macs == counter.get_total_flops()
    assert cost.stages["logits"] == tuple(logits.shape[1:])
    assert cost.parameters == sum(parameter.numel() for parameter in model.parameters())


def test_a_published_networks_name_builds_it_through_create_model(side):
    package = importlib.import_module(f"resnest.{side.name}")
    model = package.create_model("fcn_resnest101_voc", backbone=TINY, channels=8, num_classes=3)
    assert model.spec == dataclasses.replace(
        get_segmentation_spec("fcn_resnest101_voc"), backbone=TINY, channels=8, num_classes=3
    )
    with pytest.raises(TypeError, match="takes no argument 'features_only'"):
        package.create_model("fcn_resnest101_voc", features_only=True)


def test_weights_of_another_network_are_one_sentence(side):
    spec = tiny()
    with pytest.raises(ValueError, match="weights tell 7 classes apart and tiny 5: build it with num_classes=7"):
        side.build(spec, draw(dataclasses.replace(spec, num_classes=7)))
    classifier = get_spec("resnest14", bottleneck_width=8, stem_width=8)
    with pytest.raises(ValueError, match="are a classification network's, and tiny is a segmentation network"):
        side.build(spec, draw(classifier))
    with pytest.raises(ValueError, match=r"not those of tiny; .*decode_head.psp_modules"):
        side.build(spec, draw(tiny("psp")))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"head": "pspnet"}, "head='pspnet' must be one of fcn, psp, aspp, aspp_sep"),
        ({"channels": 0}, "channels=0 must be a whole number"),
        ({"backbone": dataclasses.replace(TINY, deep_stem=False)}, "deep_stem and avg_down"),
    ],
)
def test_values_that_make_no_network_are_named(changes, message):
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(tiny(), **changes)


def test_unknown_names_say_what_was_probably_meant():
    with pytest.raises(ValueError, match=r"did you mean .*fcn_resnest101_voc"):
        get_segmentation_spec("fcn_resnest101_vocs")
    with pytest.raises(TypeError, match="num_classes"):
        get_segmentation_spec("fcn_resnest101_voc", classes=3)


def test_a_backbones_dialect_is_refused_for_a_segmentation_network(tmp_path):
    with pytest.raises(ValueError, match="there is no dialect 'detectron' for segmentation networks"):
        weight_files.save(draw(tiny()), tmp_path / "a.npz", dialect="detectron")
    assert not list(tmp_path.iterdir())
    files.write_file(tmp_path / "b.npz", {"decode_head.conv_seg.weight": np.zeros((5, 8, 1, 1))})
    with pytest.raises(ValueError, match=r"b\.npz"):
        weight_files.load(tmp_path / "b.npz")


def test_a_classifier_takes_the_backbone_of_a_segmentation_checkpoint(side, tmp_path):
    spec = tiny("psp")
    weight_files.save(draw(spec), tmp_path / "a.npz")
    package = importlib.import_module(f"resnest.{side.name}")
    fields = {"bottleneck_width": 8, "stem_width": 8, "weights": tmp_path / "a.npz"}
    for model in (
        package.create_model("resnest14", features_only=True, **fields),
        package.create_model("resnest14", num_classes=3, **fields),
    ):
        loaded = side.weights.get_weights(model)
        assert np.array_equal(loaded["bn1.weight"], draw(spec)["backbone.stem.7.weight"])


def test_another_heads_checkpoint_gives_its_backbone_with_a_warning(tmp_path, caplog):
    spec = tiny()
    weights = {name: array for name, array in draw(spec).items() if name.startswith("backbone.")}
    files.write_file(tmp_path / "a.npz", weights | {"decode_head.conv_seg.weight": np.zeros((5, 8, 1, 1))})
    loaded = weight_files.load(tmp_path / "a.npz")
    assert "layer4.0.conv1.weight" in loaded
    assert "left out 1 tensors that are no ResNeSt's, of decode_head" in caplog.text
    assert list(weight_files.load(tmp_path / "a.npz", backbone=True)) == list(loaded)
