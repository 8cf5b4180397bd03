"""Every format gives back what went in, and takes no more memory, code or disk than it should."""

import io
import itertools
import pickle
import tracemalloc
import zipfile

import numpy as np
import pytest
import safetensors.numpy
import torch

from resnest import weights
from resnest.specs.resnest import ResNeStSpec
from resnest.weights.formats import archive, files
from resnest.weights.names.backbone import DIALECTS
from resnest.weights.seeded import make_weight

TINY = ResNeStSpec("tiny", (1, 2, 1, 1), bottleneck_width=2, stem_width=2, num_classes=3)
SUFFIXES = (".safetensors", ".npz", ".pth", ".params")
DRAWN = {name: make_weight(name, shape) for name, shape in TINY.tensors().items()}


def same(left, right):
    return list(left) == list(right) and all(
        left[name].dtype == right[name].dtype and np.array_equal(left[name], right[name]) for name in right
    )


def zipped(path, **members):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


def params_bytes(tmp_path):
    weights.save(DRAWN, tmp_path / "made.params")
    return (tmp_path / "made.params").read_bytes()


def peak_of(function, *arguments):
    tracemalloc.start()
    try:
        function(*arguments)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_a_walk_through_every_dialect_in_every_format_changes_no_bit(tmp_path):
    here = tmp_path / "start.npz"
    weights.save(DRAWN, here)
    for number, (dialect, suffix) in enumerate(itertools.product(DIALECTS, SUFFIXES)):
        there = tmp_path / f"{number}{suffix}"
        weights.convert(here, there, dialect=dialect)
        assert weights.dialect_of(there) == dialect
        here = there
    assert same(weights.load(here), DRAWN)


@pytest.mark.parametrize("source", SUFFIXES)
@pytest.mark.parametrize("target", SUFFIXES)
def test_every_format_becomes_every_other_bit_for_bit(source, target, tmp_path):
    weights.save(DRAWN, tmp_path / f"a{source}")
    weights.convert(tmp_path / f"a{source}", tmp_path / f"b{target}")
    assert same(weights.load(tmp_path / f"b{target}"), DRAWN)


@pytest.mark.parametrize("source", DIALECTS)
def test_every_dialect_becomes_every_other_bit_for_bit(source, tmp_path):
    weights.save(DRAWN, tmp_path / "a.safetensors", dialect=source)
    for target in DIALECTS:
        weights.convert(tmp_path / "a.safetensors", tmp_path / "b.safetensors", dialect=target)
        assert same(weights.load(tmp_path / "b.safetensors"), DRAWN)


def test_files_of_the_formats_own_libraries_are_read(tmp_path):
    np.savez(tmp_path / "a.npz", **DRAWN)
    np.savez_compressed(tmp_path / "b.npz", **{name: np.asfortranarray(array) for name, array in DRAWN.items()})
    safetensors.numpy.save_file(DRAWN, tmp_path / "c.safetensors", metadata={"format": "pt"})
    state = {name: torch.from_numpy(array) for name, array in DRAWN.items()}
    torch.save(state, tmp_path / "d.pth")
    torch.save(state, tmp_path / "e.pt", _use_new_zipfile_serialization=False)  # as before PyTorch 1.6
    for path in tmp_path.iterdir():
        assert same(weights.load(path), DRAWN), path


def test_a_zip_or_bytes_around_params_are_read(tmp_path):
    content = params_bytes(tmp_path)
    zipped(tmp_path / "a.zip", **{"resnest50-bcfefe1d.params": content, "__MACOSX/._a.params": b"junk", "README": b""})
    assert same(weights.load(tmp_path / "a.zip"), DRAWN)
    assert same(weights.load(content), DRAWN)
    assert same(weights.load((tmp_path / "a.zip").read_bytes()), DRAWN)
    with pytest.raises(ValueError, match=r"these 9 bytes are neither a \.params nor a \.zip file"):
        weights.load(b"neither..")
    with pytest.raises(ValueError, match=r"b\.zip has no suffix of a weight file; known are .*\.params$"):
        weights.save(DRAWN, tmp_path / "b.zip")


@pytest.mark.parametrize(
    "name", ["../a.params", "/a.params", "x/../../a.params", "..\\a.params", "C:\\a.params", "C:a.params"]
)
def test_nothing_is_unpacked_under_an_entrys_name(tmp_path, name):
    inner = tmp_path / "deep" / "inner"
    inner.mkdir(parents=True)
    zipped(inner / "inner.zip", **{name: params_bytes(tmp_path)})
    before = sorted(tmp_path.rglob("*"))
    assert same(weights.load(inner / "inner.zip"), DRAWN)
    assert sorted(tmp_path.rglob("*")) == before


def test_zips_that_are_not_what_they_should_be_are_refused(tmp_path):
    content = b"content"
    cases = {
        "no .params file": zipped(tmp_path / "a.zip", **{"a.txt": b""}),
        "2 .params files": zipped(tmp_path / "b.zip", **{"a.params": content, "b.params": content}),
        r"no MXNet \.params file": zipped(tmp_path / "c.zip", **{"a.params": b"junk"}),
    }
    (tmp_path / "d.zip").write_bytes(b"PK not really")
    cases["no zip file"] = tmp_path / "d.zip"
    with zipfile.ZipFile(tmp_path / "e.zip", "w", zipfile.ZIP_LZMA) as file:
        file.writestr("a.params", content)
    cases["compressed in a way"] = tmp_path / "e.zip"
    whole = bytearray(zipped(tmp_path / "f.zip", **{"a.params": content}).read_bytes())
    whole[whole.index(b"PK\x01\x02") + 8] |= 1
    (tmp_path / "f.zip").write_bytes(whole)
    cases["encrypted"] = tmp_path / "f.zip"
    for complaint, path in cases.items():
        with pytest.raises(ValueError, match=rf"{path.name}: .*{complaint}"):
            weights.load(path)


def test_a_zip_bomb_is_refused_before_it_is_unpacked(tmp_path):
    zipped(tmp_path / "bomb.zip", **{"a.params": bytes(100 << 20)})
    np.savez_compressed(tmp_path / "bomb.npz", a=np.zeros(100 << 18, "f4"))
    for name in ("bomb.zip", "bomb.npz"):

        def load(path=tmp_path / name):
            with pytest.raises(ValueError, match="taken for a bomb"):
                weights.load(path)

        assert peak_of(load) < 4 << 20


def test_a_tensor_that_repeats_a_few_bytes_without_end_is_refused(tmp_path):
    torch.save({"conv1.0.weight": torch.ones(1).expand(1 << 20, 1 << 20)}, tmp_path / "a.pth")
    torch.save({str(number): tensor for number, tensor in enumerate([torch.ones(1 << 12)] * 5000)}, tmp_path / "b.pth")
    for name in ("a.pth", "b.pth"):
        with pytest.raises(ValueError, match=rf"{name}: .*taken for a bomb"):
            weights.load(tmp_path / name)


def test_a_zip_of_countless_files_is_refused_before_they_are_listed(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as file:
        for number in range(40_000):
            file.writestr(f"{number:020}", b"")

    def load():
        with pytest.raises(ValueError, match="claims a table of contents"):
            weights.load(tmp_path / "a.zip")

    assert peak_of(load) < 4 << 20


def npy(header, data=b"", version=1):
    header = header.encode()
    length = len(header).to_bytes(2 if version == 1 else 4, "little")
    return b"\x93NUMPY" + bytes([version, 0]) + length + header + data


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b"junk", r"conv1\.0\.weight in it is no \.npy array"),
        (npy("{'descr': '<f4', 'fortran_order': False, 'shape': (1000000000000,), }\n"), "should have 4000000000"),
        (npy("{'descr': '<f4', 'fortran_order': False, 'shape': (2,), }\n", bytes(9)), "should have"),
        (npy("{'descr': '|O', 'fortran_order': False, 'shape': (2,), }\n", pickle.dumps([1, 2])), "is a pickle"),
        (npy("{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (2,), }\n", bytes(8)), "no header that NumPy"),
        (npy("{'descr': '<f3', 'fortran_order': False, 'shape': (2,), }\n", bytes(6)), "dtype <f3"),
        (npy(" " * 20_000, version=2), "no header that NumPy"),
        (npy("(" * 9_000), "no header that NumPy"),
    ],
    ids=range(8),
)
def test_what_is_wrong_with_a_member_of_an_npz_is_said(tmp_path, content, complaint):
    path = zipped(tmp_path / "a.npz", **{"conv1.0.weight.npy": content})
    with pytest.raises(ValueError, match=rf"a\.npz: .*{complaint}"):
        weights.load(path)


def test_an_npz_is_called_cut_off_wherever_its_end_is_cut(tmp_path):
    path = tmp_path / "a.npz"
    weights.save(DRAWN, path)
    whole = path.read_bytes()
    for left in [*range(len(whole) - 22, len(whole)), len(whole) // 2, 30, 1, 0]:
        path.write_bytes(whole[:left])
        with pytest.raises(ValueError, match=r"a\.npz: it is no zip file, or it is cut off"):
            weights.load(path)


def test_an_array_may_have_more_bytes_than_a_zip_without_64_bits_holds(tmp_path, monkeypatch):
    monkeypatch.setattr(zipfile, "ZIP64_LIMIT", 1000)
    array = np.arange(500, dtype="f4")
    files.write_file(tmp_path / "a.npz", {"a": array})
    assert np.array_equal(np.load(tmp_path / "a.npz")["a"], array)


def test_arrays_come_back_from_npz_as_numpy_reads_them(tmp_path):
    arrays = {
        "fortran": np.asfortranarray(np.arange(24.0).reshape(2, 3, 4)),
        "big_endian": np.arange(5, dtype=">i4"),
        "scalar": np.array(2.5),
        "empty": np.empty((0, 3), "f2"),
        "bool": np.array([True, False]),
        "strided": np.arange(20)[::3],
    }
    np.savez(tmp_path / "a.npz", **arrays)
    with files.open_file(tmp_path / "a.npz") as opened:
        for name, array in arrays.items():
            assert opened[name].dtype == array.dtype
            assert opened[name].shape == array.shape
            assert np.array_equal(opened[name], array)


@pytest.mark.parametrize("name", ["model_final.pkl", "a.pickle"])
def test_a_pickle_is_refused_with_what_to_do(tmp_path, name):
    (tmp_path / name).write_bytes(pickle.dumps({"model": {}}))
    with pytest.raises(ValueError, match=r"is a pickle, and reading one can run code in it: .* save its arrays as"):
        weights.load(tmp_path / name)


def test_a_checkpoint_with_more_than_tensors_is_refused_with_what_to_do(tmp_path):
    torch.save({"weights": {"a": torch.ones(1)}, "epoch": 3}, tmp_path / "a.pth")
    with pytest.raises(ValueError, match=r'a\.pth: it holds a dict .*\(which="weights" takes one; .* no state dict'):
        weights.load(tmp_path / "a.pth")
    torch.save([torch.ones(1)], tmp_path / "b.pth")
    with pytest.raises(ValueError, match=r"b\.pth: it holds a list that is no state dict"):
        weights.load(tmp_path / "b.pth")
    torch.save({"a": torch.ones(2, 2).to_sparse()}, tmp_path / "c.pth")
    with pytest.raises(ValueError, match=r"c\.pth: .* no state dict \(a dict of dense tensors by name\)"):
        weights.load(tmp_path / "c.pth")


def test_a_safetensors_header_larger_than_any_networks_is_refused(tmp_path):
    (tmp_path / "a.safetensors").write_bytes((90 << 20).to_bytes(8, "little") + bytes(100))
    with pytest.raises(ValueError, match=r"a\.safetensors: it claims a header of 94371840 bytes"):
        weights.load(tmp_path / "a.safetensors")


def test_the_64_bit_directory_that_pytorch_writes_is_checked_too(tmp_path):
    torch.save({"a": torch.ones(1)}, tmp_path / "a.pth")
    whole = bytearray((tmp_path / "a.pth").read_bytes())
    with archive.open_archive(io.BytesIO(whole)) as opened:
        assert opened.namelist()
    record = whole.index(b"PK\x06\x06")
    whole[record + 40 : record + 48] = (1 << 40).to_bytes(8, "little")
    with pytest.raises(ValueError, match="claims a table of contents of"), archive.open_archive(io.BytesIO(whole)):
        pass


@pytest.mark.parametrize("suffix", [*SUFFIXES, ".zip"])
def test_loading_takes_no_more_memory_than_twice_the_file(tmp_path, suffix):
    spec = ResNeStSpec("wide", (1, 1, 1, 1), num_classes=10)
    path = tmp_path / f"a{suffix}"
    arrays = {name: make_weight(name, shape) for name, shape in spec.tensors().items()}
    if suffix == ".zip":
        weights.save(arrays, tmp_path / "a.params")
        zipped(path, **{"a.params": (tmp_path / "a.params").read_bytes()})
    else:
        weights.save(arrays, path)
    assert peak_of(weights.load, path) <= 1.3 * path.stat().st_size
