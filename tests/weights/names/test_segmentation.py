"""Weights of segmentation networks: dialects, files, and what is refused."""

import dataclasses

import numpy as np
import pytest

from resnest import get_segmentation_spec, get_spec, list_segmentation_models
from resnest import weights as weight_files
from resnest.specs.segmentation.network import HEADS
from resnest.weights.formats import files
from resnest.weights.names.segmentation import DIALECTS, get_dialect
from resnest.weights.seeded import draw_weights, make_input, make_weight
from tests.support.arrays import relative
from tests.support.backends import Backend
from tests.support.specs import tiny_segmenter


@pytest.mark.parametrize("name", list_segmentation_models())
def test_every_network_is_recognised_by_its_tensors(name):
    spec = get_segmentation_spec(name)
    assert weight_files.recognise(spec.tensors()) == spec


@pytest.mark.parametrize("dialect", DIALECTS, ids=lambda dialect: f"{dialect.name}-{dialect.heads[0]}")
def test_a_dialect_reads_what_it_writes(dialect):
    for head in dialect.heads:
        spec = tiny_segmenter(head, joins_input=dialect.name != "sssegmentation")
        translated = dialect.from_canonical(spec)
        assert len(set(translated.values())) == len(spec.tensors())
        assert dialect.to_canonical(translated.values()) == {theirs: ours for ours, theirs in translated.items()}


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("dialect", ["mmsegmentation", "sssegmentation", "torch", "gluon"])
def test_files_in_every_dialect_hold_the_same_network(tmp_path, head, dialect):
    theirs = dialect == "sssegmentation"
    spec = tiny_segmenter(head, joins_input=not theirs, pooled_first=not theirs)
    weights = draw_weights(spec)
    weight_files.save(weights, tmp_path / "a.npz", dialect=dialect)
    assert weight_files.dialect_of(tmp_path / "a.npz") == dialect
    found = weight_files.convert(tmp_path / "a.npz", tmp_path / "b.params")
    assert weight_files.dialect_of(tmp_path / "b.params") == "gluon"
    assert found.head == head
    assert head not in ("aspp", "aspp_sep") or found.pooled_first == spec.pooled_first
    loaded = weight_files.load(tmp_path / "b.params")
    assert list(loaded) == list(weights)
    assert all(np.array_equal(loaded[name], weights[name]) for name in weights)


def test_weights_come_back_as_they_were_loaded(backend):
    weights = draw_weights(tiny_segmenter("aspp_sep"))
    back = backend.module.get_weights(backend.build(tiny_segmenter("aspp_sep"), dtype="float32"))
    assert list(back) == list(weights)
    assert all(np.array_equal(back[name], weights[name]) for name in weights)


def test_weights_of_another_network_are_one_sentence(backend):
    spec = tiny_segmenter()
    with pytest.raises(ValueError, match="weights tell 7 classes apart and tiny 5: build it with num_classes=7"):
        backend.build(spec, draw_weights(dataclasses.replace(spec, num_classes=7)))
    classifier = get_spec("resnest14", bottleneck_width=8, stem_width=8)
    with pytest.raises(ValueError, match="are a classification network's, and tiny is a segmentation network"):
        backend.build(spec, draw_weights(classifier))
    with pytest.raises(ValueError, match=r"not those of tiny; .*decode_head.psp_modules"):
        backend.build(spec, draw_weights(tiny_segmenter("psp")))


def test_a_backbones_dialect_is_refused_for_a_segmentation_network(tmp_path):
    with pytest.raises(ValueError, match="there is no dialect 'detectron' for segmentation networks"):
        weight_files.save(draw_weights(tiny_segmenter()), tmp_path / "a.npz", dialect="detectron")
    assert not list(tmp_path.iterdir())
    files.write_file(tmp_path / "b.npz", {"decode_head.conv_seg.weight": np.zeros((5, 8, 1, 1))})
    with pytest.raises(ValueError, match=r"b\.npz"):
        weight_files.load(tmp_path / "b.npz")


def test_a_classifier_takes_the_backbone_of_a_segmentation_checkpoint(backend, tmp_path):
    spec = tiny_segmenter("psp")
    weight_files.save(draw_weights(spec), tmp_path / "a.npz")
    package = backend.module
    fields = {"bottleneck_width": 8, "stem_width": 8, "weights": tmp_path / "a.npz"}
    for model in (
        package.create_model("resnest14", features_only=True, **fields),
        package.create_model("resnest14", num_classes=3, **fields),
    ):
        loaded = backend.module.get_weights(model)
        assert np.array_equal(loaded["bn1.weight"], draw_weights(spec)["backbone.stem.7.weight"])


def test_another_heads_checkpoint_gives_its_backbone_with_a_warning(tmp_path, caplog):
    spec = tiny_segmenter()
    weights = {name: array for name, array in draw_weights(spec).items() if name.startswith("backbone.")}
    files.write_file(tmp_path / "a.npz", weights | {"decode_head.conv_seg.weight": np.zeros((5, 8, 1, 1))})
    loaded = weight_files.load(tmp_path / "a.npz")
    assert "layer4.0.conv1.weight" in loaded
    assert "left out 1 tensors that are no ResNeSt's, of decode_head" in caplog.text
    assert list(weight_files.load(tmp_path / "a.npz", backbone=True)) == list(loaded)


def test_sssegmentations_aspp_joins_the_mean_last(tmp_path):
    """Its DeepLabV3 head spelled out from its own names, on the stage 4 that our backbone gives."""
    import torch
    from torch.nn.functional import adaptive_avg_pool2d, batch_norm, conv2d, interpolate

    spec = tiny_segmenter("aspp", pooled_first=False)
    names = get_dialect("sssegmentation", spec).from_canonical(spec)
    theirs = {names[name]: make_weight(names[name], shape) for name, shape in spec.tensors().items()}
    files.write_file(tmp_path / "theirs.npz", theirs)
    w = {name: torch.from_numpy(array).double() for name, array in theirs.items()}

    def unit(x, conv, norm, dilation=1):
        weight = w[f"{conv}.weight"]
        x = conv2d(x, weight, padding=dilation * (weight.shape[2] // 2), dilation=dilation)
        statistics = [w[f"{norm}.{tensor}"] for tensor in ("running_mean", "running_var", "weight", "bias")]
        return batch_norm(x, *statistics).relu()

    backend = Backend("torch")
    model = backend.build(spec, weight_files.load(tmp_path / "theirs.npz"), "float64")
    images = backend.array(make_input((1, 3, 65, 97)).astype("float64"))
    with torch.no_grad():
        x = model.backbone(images)[-1]
        branches = "aspp_net.parallel_branches"
        seen = [
            unit(x, f"{branches}.{i}.0", f"{branches}.{i}.1", dilation) for i, dilation in enumerate((1, 12, 24, 36))
        ]
        mean = unit(adaptive_avg_pool2d(x, 1), "aspp_net.global_branch.1", "aspp_net.global_branch.2")
        joined = torch.cat([*seen, interpolate(mean, size=x.shape[2:], mode="bilinear")], dim=1)
        joined = unit(joined, "aspp_net.bottleneck.0", "aspp_net.bottleneck.1")
        logits = conv2d(joined, w["decoder.1.weight"], w["decoder.1.bias"])
        assert relative(model(images).numpy(), logits.numpy()) < 1e-13


def test_a_network_without_an_auxiliary_head_takes_weights_with_one(backend):
    spec = tiny_segmenter(auxiliary_channels=0)
    model = backend.build(spec, draw_weights(tiny_segmenter()), "float64")
    assert list(backend.module.get_weights(model)) == list(spec.tensors())
    x = make_input((2, 3, 33, 41)).astype("float64")
    assert backend.train(model, x).shape == (2, 5, 5, 6)


@pytest.mark.parametrize("dialect", ["mmsegmentation", "sssegmentation"])
def test_a_trainers_prefix_changes_nothing(tmp_path, dialect):
    spec = tiny_segmenter("psp")
    weight_files.save(draw_weights(spec), tmp_path / "a.npz", dialect=dialect)
    with files.open_file(tmp_path / "a.npz") as plain:
        files.write_file(tmp_path / "b.npz", {f"module.{name}": array for name, array in plain.items()})
    loaded = weight_files.load(tmp_path / "b.npz")
    assert list(loaded) == list(draw_weights(spec))
    assert weight_files.dialect_of(tmp_path / "b.npz") == dialect
