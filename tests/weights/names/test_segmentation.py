"""Weights of segmentation networks: dialects, files, and what is refused."""

import numpy as np
import pytest

from resnest import get_segmentation_spec
from resnest import weights as weight_files
from resnest.specs.segmentation.network import HEADS
from resnest.weights.formats import files
from resnest.weights.names.segmentation import DIALECTS, get_dialect
from resnest.weights.seeded import draw_weights
from tests.support.specs import tiny_segmenter
from tests.support.toolboxes import toolbox_tensors


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


def test_a_backbones_dialect_is_refused_for_a_segmentation_network(tmp_path):
    with pytest.raises(ValueError, match="there is no dialect 'detectron' for segmentation networks"):
        weight_files.save(draw_weights(tiny_segmenter()), tmp_path / "a.npz", dialect="detectron")
    assert not list(tmp_path.iterdir())
    files.write_file(tmp_path / "b.npz", {"decode_head.conv_seg.weight": np.zeros((5, 8, 1, 1))})
    with pytest.raises(ValueError, match=r"b\.npz"):
        weight_files.load(tmp_path / "b.npz")


def test_another_heads_checkpoint_gives_its_backbone_with_a_warning(tmp_path, caplog):
    spec = tiny_segmenter()
    weights = {name: array for name, array in draw_weights(spec).items() if name.startswith("backbone.")}
    files.write_file(tmp_path / "a.npz", weights | {"decode_head.conv_seg.weight": np.zeros((5, 8, 1, 1))})
    loaded = weight_files.load(tmp_path / "a.npz")
    assert "layer4.0.conv1.weight" in loaded
    assert "left out 1 tensors that are no ResNeSt's, of decode_head" in caplog.text
    assert list(weight_files.load(tmp_path / "a.npz", backbone=True)) == list(loaded)


@pytest.mark.parametrize("dialect", ["mmsegmentation", "sssegmentation"])
def test_a_trainers_prefix_changes_nothing(tmp_path, dialect):
    spec = tiny_segmenter("psp")
    weight_files.save(draw_weights(spec), tmp_path / "a.npz", dialect=dialect)
    with files.open_file(tmp_path / "a.npz") as plain:
        files.write_file(tmp_path / "b.npz", {f"module.{name}": array for name, array in plain.items()})
    loaded = weight_files.load(tmp_path / "b.npz")
    assert list(loaded) == list(draw_weights(spec))
    assert weight_files.dialect_of(tmp_path / "b.npz") == dialect


@pytest.mark.parametrize("method", ["fcn", "pspnet"])
def test_tensors_are_sssegmentations_in_its_dialect(method):
    spec = get_segmentation_spec(f"{method}_resnest101_voc")
    names = get_dialect("sssegmentation", spec).from_canonical(spec)
    assert {names[name]: shape for name, shape in spec.tensors().items()} == toolbox_tensors("ssseg", method)
