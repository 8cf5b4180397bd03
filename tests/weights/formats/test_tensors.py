"""Arrays of every kind into and out of every format, and into networks: byte orders, layouts, bfloat16, shards."""

import json
import struct
from itertools import product

import ml_dtypes
import numpy as np
import pytest
import safetensors.torch
import torch

from resnest import weights
from resnest.weights.formats import mxnet_params
from resnest.weights.formats.files import open_file, write_file
from resnest.weights.names.backbone import DIALECTS
from resnest.weights.seeded import draw_weights
from tests.support.specs import tiny

SUFFIXES = (".safetensors", ".npz", ".pth", ".params")
SPEC = tiny(bottleneck_width=2, stem_width=2)
DRAWN = draw_weights(SPEC)


def read_only(array):
    array = array.copy()
    array.flags.writeable = False
    return array


KINDS = {
    "big-endian": lambda array: array.astype(array.dtype.newbyteorder(">")),
    "Fortran-ordered": np.asfortranarray,
    "big-endian in Fortran's order": lambda array: np.asfortranarray(array.astype(">f8")),
    "read-only": read_only,
    "strided": lambda array: np.repeat(array, 2, axis=0)[::2],
    "backwards": lambda array: array[::-1].copy()[::-1],
    "misaligned": lambda array: np.frombuffer(b"x" + array.tobytes(), array.dtype, offset=1).reshape(array.shape),
}


def same(found, expected):
    return list(found) == list(expected) and all(np.array_equal(found[name], expected[name]) for name in expected)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("suffix", SUFFIXES)
def test_arrays_of_any_layout_are_saved_and_come_back_plain(suffix, kind, tmp_path):
    weights.save({name: KINDS[kind](array) for name, array in DRAWN.items()}, tmp_path / f"a{suffix}")
    found = weights.load(tmp_path / f"a{suffix}")
    assert same(found, DRAWN)
    assert all(array.dtype.isnative and array.flags.writeable for array in found.values())


@pytest.mark.parametrize("kind", KINDS)
def test_arrays_of_any_layout_are_loaded_into_a_network(kind, backend):
    model = backend.networks[type(SPEC)](SPEC)
    backend.module.load_weights(model, {name: KINDS[kind](array) for name, array in DRAWN.items()})
    assert same(backend.module.get_weights(model), DRAWN)


def test_other_libraries_big_endian_files_are_loaded(tmp_path):
    np.savez(tmp_path / "a.npz", **{name: array.astype(">f4") for name, array in DRAWN.items()})
    found = weights.load(tmp_path / "a.npz")
    assert same(found, DRAWN)
    assert {array.dtype for array in found.values()} == {np.dtype("f4")}


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_arrays_without_dimensions_are_kept_or_refused_by_name(suffix, tmp_path):
    path = tmp_path / f"a{suffix}"
    if suffix == ".params":
        with pytest.raises(ValueError, match=r"no place for x, an array without dimensions"):
            write_file(path, {"x": np.array(2.5)})
    else:
        write_file(path, {"x": np.array(2.5)})
        with open_file(path) as opened:
            assert (opened["x"].shape, opened["x"].item()) == ((), 2.5)
    with pytest.raises(ValueError, match=r"misshaped: fc.bias is \(\) instead of \(5,\)"):
        weights.save({**DRAWN, "fc.bias": np.array(1.0)}, path)


@pytest.mark.parametrize(
    ("dtype", "suffix"),
    [
        *product(["complex64", "U3", "O", "M8[s]"], SUFFIXES),
        *product(["longdouble"], sorted({*SUFFIXES} - {".npz"})),  # NumPy's own format has it
    ],
)
def test_dtypes_that_a_format_does_not_have_are_named_and_nothing_is_written(dtype, suffix, tmp_path):
    bad = {**DRAWN, "fc.bias": np.zeros(5).astype(dtype)}
    with pytest.raises(ValueError, match=r"no dtype .*, which fc\.bias has"):
        weights.save(bad, tmp_path / f"a{suffix}")
    assert list(tmp_path.iterdir()) == []


def test_what_is_no_array_is_named(tmp_path):
    with pytest.raises(TypeError, match=r"fc\.bias is a Tensor, where weights are NumPy arrays"):
        weights.save({**DRAWN, "fc.bias": torch.zeros(5)}, tmp_path / "a.npz")


HALVES = {name: array.astype(ml_dtypes.bfloat16) for name, array in DRAWN.items()}
WIDENED = {name: array.astype("f4") for name, array in HALVES.items()}


def bfloat16_params(path):
    """MXNet's format with its dtype flag 12."""
    with open(path, "wb") as file:
        file.write(struct.pack("<QQQ", mxnet_params.LIST_MAGIC, 0, len(HALVES)))
        for array in HALVES.values():
            file.write(struct.pack(f"<IiI{array.ndim}q", mxnet_params.VERSION_2, 0, array.ndim, *array.shape))
            file.write(struct.pack("<iii", 1, 0, mxnet_params.BFLOAT16) + array.tobytes())
        file.write(struct.pack("<Q", len(HALVES)))
        for name in HALVES:
            file.write(struct.pack("<Q", len(name)) + name.encode())


def as_torch():
    return {name: torch.from_numpy(array).bfloat16() for name, array in DRAWN.items()}


BFLOAT16 = {
    ".safetensors": lambda path: safetensors.torch.save_file(as_torch(), path),
    ".pth": lambda path: torch.save(as_torch(), path),
    ".npz": lambda path: np.savez(path, **HALVES),
    ".params": bfloat16_params,
}


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("target", SUFFIXES)
def test_bfloat16_becomes_float32_without_losing_a_digit(suffix, target, tmp_path):
    BFLOAT16[suffix](tmp_path / f"a{suffix}")
    weights.convert(tmp_path / f"a{suffix}", tmp_path / f"b{target}")
    for path in (tmp_path / f"a{suffix}", tmp_path / f"b{target}"):
        found = weights.load(path)
        assert same(found, WIDENED)
        assert {array.dtype for array in found.values()} == {np.dtype("f4")}


def as_read_by_torch(path):
    if path.suffix == ".safetensors":
        return safetensors.torch.load_file(path)
    if path.suffix == ".npz":
        arrays = dict(np.load(path))
        halves = {name: array.view("i2") for name, array in arrays.items() if array.dtype.kind == "V"}
        plain = {name: torch.from_numpy(array) for name, array in arrays.items() if name not in halves}
        halves = {name: torch.from_numpy(array).view(torch.bfloat16) for name, array in halves.items()}
        return {name: (plain | halves)[name] for name in arrays}
    return torch.load(path, weights_only=True)


@pytest.mark.parametrize("suffix", [".safetensors", ".npz", ".pth", ".pt"])
@pytest.mark.parametrize("dialect", ["torch", "gluon"])
def test_weights_are_rounded_to_bfloat16_as_pytorch_rounds_them(suffix, dialect, tmp_path):
    odd = [1 + 2**-8, 1 + 3 * 2**-8, -(1 + 2**-8), 1 + 2**-8 + 2**-23, 3.38e38, 1e-40, np.inf, -np.inf, np.nan, -0.0]
    drawn = {**DRAWN, "conv1.0.weight": DRAWN["conv1.0.weight"].copy()}
    drawn["conv1.0.weight"].flat[: len(odd)] = odd
    weights.save(drawn, tmp_path / "a.npz", dialect=dialect)
    weights.convert(tmp_path / "a.npz", tmp_path / f"b{suffix}", dtype="bfloat16")
    found = as_read_by_torch(tmp_path / f"b{suffix}")
    assert list(found) == list(drawn)
    for name, array in drawn.items():
        expected = torch.from_numpy(array)
        expected = expected.bfloat16() if expected.is_floating_point() else expected
        assert found[name].dtype == expected.dtype
        assert torch.equal(torch.nan_to_num(found[name]), torch.nan_to_num(expected)), name
        assert torch.equal(found[name].isnan(), expected.isnan())
    assert (tmp_path / f"b{suffix}").stat().st_size < 0.8 * (tmp_path / "a.npz").stat().st_size


@pytest.mark.gluon
def test_mxnet_reads_weights_that_were_rounded_to_bfloat16(tmp_path):
    import mxnet as mx

    weights.save(DRAWN, tmp_path / "a.params")
    weights.convert(tmp_path / "a.params", tmp_path / "b.params", dtype="bfloat16")
    exact, found = mx.nd.load(str(tmp_path / "a.params")), mx.nd.load(str(tmp_path / "b.params"))
    assert list(found) == list(exact)
    for name, array in exact.items():
        expected = array.asnumpy().astype(ml_dtypes.bfloat16).astype("f4") if array.dtype == np.float32 else array
        assert np.array_equal(found[name].astype(array.dtype).asnumpy(), np.asarray(expected)), name


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_arrays_of_bfloat16_are_saved_as_float32(suffix, tmp_path):
    weights.save(HALVES, tmp_path / f"a{suffix}")
    assert same(weights.load(tmp_path / f"a{suffix}"), WIDENED)


def test_arrays_of_bfloat16_are_loaded_into_a_network(backend):
    model = backend.networks[type(SPEC)](SPEC)
    backend.module.load_weights(model, HALVES)
    assert same(backend.module.get_weights(model), WIDENED)


def sharded(folder, suffix):
    """The weights as Hugging Face's libraries cut them up, in the names of another library."""
    names = DIALECTS["openmmlab"].from_canonical(SPEC)
    tensors = {names[name]: torch.from_numpy(array.copy()) for name, array in DRAWN.items()}
    places = {name: f"model-0000{number % 3 + 1}-of-00003{suffix}" for number, name in enumerate(tensors)}
    for shard in dict.fromkeys(places.values()):
        part = {name: tensor for name, tensor in tensors.items() if places[name] == shard}
        save = safetensors.torch.save_file if suffix == ".safetensors" else torch.save
        save(part, folder / shard)
    return write_index(folder, places, suffix)


def write_index(folder, places, suffix=".safetensors"):
    path = folder / f"model{suffix}.index.json"
    path.write_text(json.dumps({"metadata": {"total_size": 1}, "weight_map": places}))
    return path


@pytest.mark.parametrize("suffix", [".safetensors", ".bin"])
def test_weights_in_shards_are_read_through_their_index(suffix, tmp_path):
    path = sharded(tmp_path, suffix)
    assert same(weights.load(path), DRAWN)
    assert weights.dialect_of(path) == "openmmlab"
    weights.convert(path, tmp_path / "whole.params")
    assert same(weights.load(tmp_path / "whole.params"), DRAWN)


def test_an_index_that_is_broken_or_leads_elsewhere_is_refused(tmp_path):
    path = sharded(tmp_path, ".safetensors")
    places = json.loads(path.read_text())["weight_map"]
    first = next(iter(places))
    elsewhere = ("../model.safetensors", "/etc/passwd", "a/b.bin", "..", "", "model.json", path.name, "a\\b.bin")
    for shard in (*elsewhere, "\x1b[31m.bin", "a\0.bin"):  # and a terminal is told nothing
        write_index(tmp_path, {**places, first: shard})
        with pytest.raises(ValueError, match=r"its shard .* is no .safetensors or .bin file beside it"):
            weights.load(path)
    write_index(tmp_path, {**places, "nowhere": places[first]})
    with pytest.raises(ValueError, match=r"nowhere is not in its shard model-00001"):
        weights.load(path)
    write_index(tmp_path, {**places, first: "gone.safetensors"})
    with pytest.raises(FileNotFoundError, match=r"no weight file .*gone\.safetensors"):
        weights.load(path)
    for content in ("[]", "{}", '{"weight_map": 3}', '{"weight_map": {"a": 3}}', "{", "[" * 100_000, "\udcff"):
        path.write_bytes(content.encode("utf8", "surrogatepass"))
        with pytest.raises(ValueError, match=r"index\.json: it is no"):
            weights.load(path)
    path.write_bytes(b"[" + b"[]," * 1_000_000)  # would take 100 MB and more
    with pytest.raises(ValueError, match=r"it has 3000001 bytes, more than any network's index needs"):
        weights.load(path)
    with pytest.raises(ValueError, match="has no suffix of a weight file"):
        weights.save(DRAWN, path)
