import hashlib

import numpy as np
import pytest
from safetensors.numpy import save_file

from resnest import weights
from resnest.weights.inspect import inspect
from resnest.weights.seeded import draw_weights
from tests.support.specs import tiny, tiny_detector, tiny_segmenter


@pytest.mark.parametrize(
    ("suffix", "dialect"), [(".safetensors", "torch"), (".npz", "torch"), (".params", "gluon"), (".pth", "torch")]
)
def test_a_file_of_each_format(tmp_path, suffix, dialect):
    path = tmp_path / f"a{suffix}"
    weights.save(draw_weights(tiny()), path)
    found = inspect(path)
    assert (found.dialect, found.complaint, found.left_over) == (dialect, None, ())
    assert found.network.num_classes == 5
    assert found.tensors == len(tiny().tensors())
    assert found.dtypes == {"float32": sum(array.size for array in draw_weights(tiny()).values())}
    assert found.hashes["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
    assert found.hashes["sha1"] == hashlib.sha1(path.read_bytes()).hexdigest()


@pytest.mark.parametrize("spec", [tiny_segmenter(), tiny_detector()], ids=["segmenter", "detector"])
def test_networks_of_other_tasks(tmp_path, spec):
    weights.save(draw_weights(spec), tmp_path / "a.safetensors")
    found = inspect(tmp_path / "a.safetensors")
    assert (type(found.network), found.network.num_classes, found.complaint) == (type(spec), 5, None)


def test_wrappers_dtypes_and_what_is_left_over_are_named(tmp_path):
    drawn = {f"module._orig_mod.{name}": array.astype("f2") for name, array in draw_weights(tiny()).items()}
    drawn["module._orig_mod.extra\x1b[31m.weight"] = np.zeros(3, "f4")
    save_file(drawn, tmp_path / "a.safetensors")
    found = inspect(tmp_path / "a.safetensors")
    assert found.wrappers == ("_orig_mod", "module")
    assert found.dtypes == {"float16": sum(array.size for array in draw_weights(tiny()).values()), "float32": 3}
    assert "unknown: extra" in found.complaint
    assert "\x1b" not in found.complaint


@pytest.mark.parametrize("suffix", [".safetensors", ".npz", ".params", pytest.param(".pth", marks=pytest.mark.torch)])
def test_bfloat16_is_called_so(tmp_path, suffix):
    weights.save(draw_weights(tiny()), tmp_path / "a.npz")
    weights.convert(tmp_path / "a.npz", tmp_path / f"b{suffix}", dtype="bfloat16")
    assert inspect(tmp_path / f"b{suffix}").dtypes == {
        "bfloat16": sum(array.size for array in draw_weights(tiny()).values())
    }


def test_what_is_missing_is_a_complaint_that_does_not_hide_the_rest(tmp_path):
    drawn = draw_weights(tiny())
    del drawn["layer2.0.conv3.weight"]
    save_file(drawn, tmp_path / "a.safetensors")
    found = inspect(tmp_path / "a.safetensors")
    assert found.dialect == "torch"
    assert "layer2.0.conv3.weight" in found.complaint


def test_heads_beside_a_backbone_are_left_over(tmp_path):
    drawn = {f"encoder.{name}": array for name, array in draw_weights(tiny(num_classes=0)).items()}
    save_file(drawn | {"decoder.a.weight": np.zeros(2, "f4")}, tmp_path / "a.safetensors")
    found = inspect(tmp_path / "a.safetensors")
    assert (found.complaint, found.left_over) == (None, ("decoder.a.weight",))


def test_what_is_no_weights_at_all(tmp_path):
    save_file({"a": np.zeros(2, "f4")}, tmp_path / "a.safetensors")
    found = inspect(tmp_path / "a.safetensors")
    assert (found.dialect, found.network) == (None, None)
    assert found.complaint
    (tmp_path / "b.safetensors").write_bytes(b"nothing")
    with pytest.raises(ValueError, match=r"b\.safetensors: it claims a header"):
        inspect(tmp_path / "b.safetensors")
    with pytest.raises(FileNotFoundError, match="there is no weight file"):
        inspect(tmp_path / "c.safetensors")
