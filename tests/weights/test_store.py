"""Loading, saving, converting and recognising weights, without any framework but for `.pth`."""

import itertools
import os
import subprocess
import sys

import numpy as np
import pytest

from resnest import get_spec, weights
from resnest.weights.seeded import draw_weights
from tests.support.specs import tiny

SUFFIXES = (".safetensors", ".npz", ".pth", ".params")
"""Variants that differ from another only in where they pool."""


def same(a, b):
    return list(a) == list(b) and all(a[name].dtype == b[name].dtype and (a[name] == b[name]).all() for name in a)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_what_is_saved_is_loaded_bit_for_bit(suffix, tmp_path):
    drawn = draw_weights(tiny())
    weights.save(drawn, tmp_path / f"a{suffix}")
    assert same(weights.load(tmp_path / f"a{suffix}"), drawn)


@pytest.mark.parametrize(("source", "target"), list(itertools.product(SUFFIXES, SUFFIXES)))
def test_conversion_between_any_two_formats_keeps_every_bit(source, target, tmp_path):
    drawn = draw_weights(tiny())
    weights.save(drawn, tmp_path / f"a{source}")
    spec = weights.convert(tmp_path / f"a{source}", tmp_path / f"b{target}")
    assert spec.tensors() == tiny().tensors()
    assert same(weights.load(tmp_path / f"b{target}"), drawn)


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("dtype", ["float16", "float64"])
def test_dtypes_stay_as_they_are(suffix, dtype, tmp_path):
    drawn = {name: array.astype(dtype) for name, array in draw_weights(tiny()).items()}
    weights.save(drawn, tmp_path / f"a{suffix}")
    weights.convert(tmp_path / f"a{suffix}", tmp_path / f"b{suffix}")
    assert same(weights.load(tmp_path / f"b{suffix}"), drawn)


@pytest.mark.parametrize(
    ("suffix", "dialect", "written"),
    [(".params", None, "gluon"), (".npz", None, "torch"), (".npz", "gluon", "gluon"), (".params", "torch", "torch")],
)
def test_the_suffix_chooses_the_dialect_unless_one_is_asked_for(suffix, dialect, written, tmp_path):
    weights.save(draw_weights(tiny()), tmp_path / f"a{suffix}", dialect=dialect)
    assert weights.dialect_of(tmp_path / f"a{suffix}") == written
    assert same(weights.load(tmp_path / f"a{suffix}"), draw_weights(tiny()))


def test_a_conversion_onto_itself_works(tmp_path):
    path = tmp_path / "a.params"
    weights.save(draw_weights(tiny()), path)
    weights.convert(path, path, dialect="torch")
    assert weights.dialect_of(path) == "torch"
    assert same(weights.load(path), draw_weights(tiny()))


def test_safetensors_files_are_read_by_the_library_itself(tmp_path):
    from safetensors.numpy import load_file

    weights.save(draw_weights(tiny()), tmp_path / "a.safetensors")
    theirs = load_file(tmp_path / "a.safetensors")
    assert all((theirs[name] == array).all() for name, array in draw_weights(tiny()).items())


@pytest.mark.parametrize("mmap", [False, True])
def test_pth_files_are_read_by_pytorch_itself(mmap, tmp_path):
    import zipfile

    import torch

    weights.save(draw_weights(tiny()), tmp_path / "a.pth")
    theirs = torch.load(tmp_path / "a.pth", weights_only=True, mmap=mmap)
    assert all((theirs[name].numpy() == array).all() for name, array in draw_weights(tiny()).items())
    assert zipfile.ZipFile(tmp_path / "a.pth").testzip() is None


def test_pytorchs_counter_of_training_steps_is_no_weight(tmp_path):
    import torch

    import resnest.torch

    model = resnest.torch.ResNeSt(tiny())
    torch.save(model.state_dict(), tmp_path / "a.pth")
    assert same(weights.load(tmp_path / "a.pth"), resnest.torch.get_weights(model))


def test_a_pth_of_bfloat16_becomes_float32(tmp_path):
    import torch

    torch.save({name: torch.from_numpy(a).bfloat16() for name, a in draw_weights(tiny()).items()}, tmp_path / "a.pth")
    loaded = weights.load(tmp_path / "a.pth")
    assert {array.dtype for array in loaded.values()} == {np.dtype("float32")}


def broken(spec):
    drawn = draw_weights(spec)
    drawn["layer1.0.conv9.weight"] = drawn.pop("layer1.0.conv3.weight")
    drawn["fc.bias"] = drawn["fc.bias"][:-1]
    return drawn


def test_saving_tensors_that_make_no_network_lists_them_and_writes_nothing(tmp_path):
    with pytest.raises(ValueError, match=r"unknown: layer1.0.conv9.weight; missing: layer1.0.conv3.weight; misshaped"):
        weights.save(broken(tiny()), tmp_path / "a.npz")
    assert list(tmp_path.iterdir()) == []


def test_converting_a_file_that_holds_no_network_lists_its_tensors_and_leaves_the_target(tmp_path):
    np.savez(tmp_path / "a.npz", **broken(tiny()))
    (tmp_path / "b.params").write_bytes(b"what was there")
    with pytest.raises(ValueError, match=r"a\.npz: these tensors are not those of .*unknown.*missing.*misshaped"):
        weights.convert(tmp_path / "a.npz", tmp_path / "b.params")
    assert (tmp_path / "b.params").read_bytes() == b"what was there"
    assert len(list(tmp_path.iterdir())) == 2


def test_a_foreign_file_is_refused_with_what_it_holds(tmp_path):
    np.savez(tmp_path / "a.npz", encoder=np.zeros(3), decoder=np.zeros(3))
    with pytest.raises(ValueError, match=r"a\.npz: its 2 tensors \(encoder, decoder\) are no ResNeSt's"):
        weights.load(tmp_path / "a.npz")


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_truncated_file_is_refused_at_any_length(suffix, tmp_path):
    weights.save(draw_weights(tiny()), tmp_path / f"a{suffix}")
    whole = (tmp_path / f"a{suffix}").read_bytes()
    for share in (0, 1e-5, 0.001, 0.1, 0.5, 0.99, 1 - 1 / len(whole)):
        (tmp_path / f"b{suffix}").write_bytes(whole[: int(len(whole) * share)])
        with pytest.raises(ValueError, match=rf"b\{suffix}") as error:
            weights.load(tmp_path / f"b{suffix}")
        assert "\n" not in str(error.value)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_file_of_another_kind_is_refused(suffix, tmp_path):
    (tmp_path / f"a{suffix}").write_bytes(b"<!DOCTYPE html><html>Not found</html>" * 50)
    with pytest.raises(ValueError, match=rf"a\{suffix}"):
        weights.load(tmp_path / f"a{suffix}")


def test_a_missing_file_and_an_unknown_suffix_are_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no weight file .*nowhere\.npz"):
        weights.load(tmp_path / "nowhere.npz")
    with pytest.raises(ValueError, match=r"a\.txt has no suffix of a weight file; known are \.safetensors"):
        weights.load(tmp_path / "a.txt")
    with pytest.raises(FileNotFoundError, match="no folder"):
        weights.save(draw_weights(tiny()), tmp_path / "nowhere" / "a.npz")


def test_an_unknown_dialect_is_named(tmp_path):
    with pytest.raises(ValueError, match="no dialect 'klingon'; known are"):
        weights.save(draw_weights(tiny()), tmp_path / "a.npz", dialect="klingon")
    assert list(tmp_path.iterdir()) == []


def test_a_pickle_that_would_run_code_stays_closed(tmp_path):
    import torch

    class Evil:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "ran"),)

    torch.save({"conv1.0.weight": Evil()}, tmp_path / "a.pth")
    np.savez(tmp_path / "a.npz", **{"conv1.0.weight": np.array([Evil()], dtype=object)})
    with pytest.raises(ValueError, match=r"a\.pth: it holds a dict whose conv1\.0\.weight is a \w+\.mkdir"):
        weights.load(tmp_path / "a.pth")
    with pytest.raises(ValueError, match=r"a\.npz: conv1\.0\.weight is a pickle"):
        weights.load(tmp_path / "a.npz")
    assert not (tmp_path / "ran").exists()


def test_a_write_that_fails_leaves_what_was_there_and_nothing_half_written(tmp_path, monkeypatch):
    weights.save(draw_weights(tiny()), tmp_path / "a.params")
    before = (tmp_path / "a.params").read_bytes()
    bad = draw_weights(tiny())
    bad["fc.bias"] = bad["fc.bias"].astype(np.complex64)  # a dtype that no format has
    for name in ("a.params", "a.safetensors"):
        with pytest.raises(ValueError, match="no dtype complex64"):
            weights.save(bad, tmp_path / name)
    assert (tmp_path / "a.params").read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["a.params"]


PEAK = """
import sys
from resnest import weights
weights.convert(*sys.argv[1:])
print(next(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM")))
"""


@pytest.mark.torch
@pytest.mark.skipif(not os.path.exists("/proc/self/status"), reason="peak memory is read from Linux's /proc")
def test_converting_resnest269_takes_less_memory_than_one_and_a_half_files(tmp_path):
    weights.save(draw_weights(get_spec("resnest269")), tmp_path / "0.safetensors")
    size = (tmp_path / "0.safetensors").stat().st_size
    source = tmp_path / "0.safetensors"
    for number, suffix in enumerate((".params", ".npz", ".pth", ".pth", ".safetensors"), start=1):
        target = tmp_path / f"{number}{suffix}"
        run = subprocess.run([sys.executable, "-c", PEAK, source, target], capture_output=True, text=True, check=True)
        files = 2.5 if suffix == ".pth" else 1.5  # PyTorch takes as much as one itself, and writes from memory
        assert int(run.stdout) * 1024 < files * size + 200e6, (source.name, target.name)
        source.unlink()
        source = target
    assert same(weights.load(source), draw_weights(get_spec("resnest269")))
