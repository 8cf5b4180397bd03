"""PyTorch's files: what it writes in any of its ways is read to the bit, what claims more than it has is refused."""

import collections
import pickle
import struct
import tracemalloc
import zipfile

import numpy as np
import pytest
import torch

from resnest import weights
from resnest.weights.formats import tensors
from resnest.weights.formats.files import open_file
from resnest.weights.seeded import draw_weights
from tests.support.specs import tiny
from tests.support.without import run_without

BASE = torch.arange(24, dtype=torch.float32)

STATE = {
    "whole": BASE.reshape(2, 3, 4),
    "turned": BASE.reshape(2, 3, 4).permute(2, 0, 1),
    "part": BASE[5:17:3],
    "repeated": torch.ones(1).expand(2, 3),
    "scalar": torch.tensor(2.5),
    "empty": torch.empty(0, 3),
    "parameter": torch.nn.Parameter(torch.ones(2)),
    "bfloat16": torch.tensor([1.0, -2.5, 3e38, 1e-40, float("inf")]).bfloat16(),
    "turned bfloat16": torch.arange(6).reshape(2, 3).bfloat16().T,
    **{
        str(dtype): torch.ones(3).to(dtype)
        for dtype in (
            *(torch.float16, torch.float64, torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8),
            *(torch.bool, torch.uint16, torch.uint32, torch.uint64, torch.complex64),
        )
    },
}


def as_numpy(tensor):
    tensor = tensor.detach()
    return (tensor.float() if tensor.dtype == torch.bfloat16 else tensor).numpy()


def read(path, which=None):
    with open_file(path, which) as opened:
        assert {name: header.dtype for name, header in opened.headers.items()} == {
            name: array.dtype for name, array in opened.items()
        }
        return dict(opened)


@pytest.mark.parametrize("old", [False, True], ids=["zip", "before 1.6"])
@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_every_dtype_and_view_is_read_to_the_bit(old, protocol, tmp_path):
    # Before 1.6 there were no unsigned dtypes but one.
    state = {name: tensor for name, tensor in STATE.items() if not (old and "uint" in name and name != "torch.uint8")}
    path = tmp_path / "a.pth"
    torch.save(state, path, pickle_protocol=protocol, _use_new_zipfile_serialization=not old)
    found = read(path)
    assert list(found) == list(state)
    for name, tensor in state.items():
        assert found[name].dtype == as_numpy(tensor).dtype
        assert found[name].shape == tuple(tensor.shape)
        assert np.array_equal(found[name], as_numpy(tensor)), name
        assert found[name].flags.c_contiguous
        assert found[name].flags.writeable


def test_a_tensor_with_attributes_is_read_as_one_without(tmp_path):
    tensor = torch.nn.Parameter(torch.ones(2))
    tensor.no_weight_decay = True
    torch.save({"a": tensor}, tmp_path / "a.pth")
    assert np.array_equal(read(tmp_path / "a.pth")["a"], np.ones(2))


def test_files_without_checksums_are_read_and_wrong_checksums_refused(tmp_path, monkeypatch):
    torch.serialization.set_crc32_options(False)
    try:
        torch.save({"a": BASE}, tmp_path / "a.pth")
    finally:
        torch.serialization.set_crc32_options(True)
    assert np.array_equal(read(tmp_path / "a.pth")["a"], BASE)
    torch.save({"a": BASE}, tmp_path / "b.pth")
    whole = bytearray((tmp_path / "b.pth").read_bytes())
    whole[whole.index(BASE.numpy().tobytes()) + 9] ^= 1
    (tmp_path / "b.pth").write_bytes(whole)
    with pytest.raises(ValueError, match=r"b\.pth is broken .* Bad CRC-32"):
        read(tmp_path / "b.pth")


def rezipped(source, target, change, compression=zipfile.ZIP_STORED):
    with zipfile.ZipFile(source) as before, zipfile.ZipFile(target, "w", compression) as after:
        for name in before.namelist():
            content = change(name.partition("/")[2], before.read(name))
            if content is not None:
                after.writestr(name, content)


def test_files_of_big_endian_machines_and_packed_ones_are_read(tmp_path):
    torch.save({"a": BASE, "part": BASE[2:5], "b": BASE.bfloat16()}, tmp_path / "a.pth")

    def turned(name, content):
        if name == "byteorder":
            return b"big"
        size = 4 if len(content) == 96 else 2
        return (
            np.frombuffer(content, f"<u{size}").astype(f">u{size}").tobytes() if name.startswith("data/") else content
        )

    rezipped(tmp_path / "a.pth", tmp_path / "b.pth", turned)
    rezipped(tmp_path / "a.pth", tmp_path / "c.pth", lambda name, content: content, zipfile.ZIP_DEFLATED)
    for name in ("b.pth", "c.pth"):
        found = read(tmp_path / name)
        assert np.array_equal(found["a"], BASE)
        assert np.array_equal(found["part"], BASE[2:5])
        assert np.array_equal(found["b"], BASE)
        assert all(array.dtype.isnative for array in found.values())


def test_storages_that_are_gone_short_or_misnamed_are_refused(tmp_path):
    torch.save({"a\x1b[2J": BASE}, tmp_path / "a.pth")
    changes = {
        r"storage 0 is not there": lambda name, content: None if name == "data/0" else content,
        r"a\\x1b\[2J in it ends at byte 96 of a storage that has 95": lambda name, content: (
            content[:95] if name == "data/0" else content
        ),
        r"no data\.pkl in it": lambda name, content: None if name == "data.pkl" else content,
    }
    for number, (complaint, change) in enumerate(changes.items()):
        rezipped(tmp_path / "a.pth", tmp_path / f"{number}.pth", change)
        with pytest.raises(ValueError, match=complaint):
            read(tmp_path / f"{number}.pth")


class FakeTensor:
    """Pickled as a tensor that says whatever it is told to."""

    def __init__(self, offset=0, shape=(2,), strides=(1,), kind=torch.FloatStorage, key="0", length=2):
        self.stored = "storage", kind, key, "cpu", length
        self.arguments = offset, shape, strides, False, collections.OrderedDict()


class Storage:
    def __init__(self, stored):
        self.stored = stored


def fake_pth(path, tensor, size=8):
    """A zip like PyTorch's around one fake tensor and a storage of `size` bytes."""

    class Pickler(pickle.Pickler):
        def persistent_id(self, value):
            return value.stored if isinstance(value, Storage) else None

        def reducer_override(self, value):
            if isinstance(value, FakeTensor):
                return torch._utils._rebuild_tensor_v2, (Storage(value.stored), *value.arguments)
            return NotImplemented

    with zipfile.ZipFile(path, "w") as archive:
        with archive.open("a/data.pkl", "w") as file:
            Pickler(file, 2).dump({"x": tensor})
        archive.writestr("a/data/0", bytes(size))
    return path


def test_the_fake_is_read_where_it_is_sound(tmp_path):
    assert np.array_equal(read(fake_pth(tmp_path / "a.pth", FakeTensor()))["x"], [0, 0])


@pytest.mark.parametrize(
    "claims",
    [
        {"offset": 1}, {"shape": (3,)}, {"strides": (2,)}, {"shape": (1 << 40,)}, {"shape": (1 << 62,)},
        {"shape": (1 << 40,), "strides": (0,)}, {"shape": (1 << 31, 1 << 31), "strides": (0, 0)},
        {"shape": (1 << 100,)}, {"shape": (-1,)}, {"shape": (2.5,)}, {"shape": ("a",)}, {"shape": None}, {"shape": 3},
        {"strides": (-1,)}, {"strides": ()}, {"offset": -1}, {"offset": 1 << 70}, {"offset": None},
        {"shape": (1,) * 40, "strides": (1,) * 40}, {"key": "1"}, {"key": "../data.pkl"}, {"key": 0}, {"key": None},
        {"length": 1 << 80}, {"length": -1}, {"length": None}, {"kind": torch.DoubleStorage}, {"kind": dict},
        {"kind": torch.QInt8Storage},
    ],
    ids=str,
)  # fmt: skip
def test_tensors_that_claim_what_is_not_there_are_refused_before_memory_is_taken(claims, tmp_path):
    path = fake_pth(tmp_path / "a.pth", FakeTensor(**claims))
    tracemalloc.start()
    with pytest.raises(ValueError, match=r"a\.pth: ") as error:
        read(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert "\n" not in str(error.value)
    assert peak < 1 << 20


def pth_of_tensors(path, tensors, size, compression=zipfile.ZIP_STORED):
    """A zip like PyTorch's of tensors (offset, shape, strides) in one storage of `size` bytes."""
    fakes = {str(number): FakeTensor(*claims, length=size // 4) for number, claims in enumerate(tensors)}
    fake_pth(path, fakes, 0)
    with zipfile.ZipFile(path) as archive:
        content = archive.read("a/data.pkl")
    with zipfile.ZipFile(path, "w", compression) as archive:
        archive.writestr("a/data.pkl", content.replace(b"X\x01\x00\x00\x00x", b"X\x0a\x00\x00\x00state_dict"))
        archive.writestr("a/data/0", np.random.default_rng(0).bytes(size))  # nothing that packing makes smaller
    return path


def test_tensors_for_whose_few_elements_much_must_be_read_are_taken_for_a_bomb(tmp_path, monkeypatch):
    monkeypatch.setattr(tensors, "ALLOWANCE", 1 << 20)
    size = 1 << 20
    far_apart = (0, (2,), (size // 4 - 1,))
    path = pth_of_tensors(tmp_path / "a.pth", [far_apart] * 100, size)
    with pytest.raises(ValueError, match="taken for a bomb"):
        read(path)
    assert len(read(pth_of_tensors(tmp_path / "a.pth", [far_apart] * 2, size))) == 2
    at_the_end = (size // 4 - 1, (1,), (1,))
    path = pth_of_tensors(tmp_path / "a.pth", [at_the_end] * 100, size)
    assert len(read(path)) == 100  # nothing before it is read
    path = pth_of_tensors(tmp_path / "a.pth", [at_the_end] * 100, size, zipfile.ZIP_DEFLATED)
    with pytest.raises(ValueError, match="taken for a bomb"):
        read(path)


def test_a_storage_that_claims_more_than_the_file_has_is_refused_before_memory_is_taken(tmp_path):
    size = 16 << 20
    path = pth_of_tensors(tmp_path / "a.pth", [(0, (size // 4,), (1,))], size)
    whole = path.read_bytes()
    path.write_bytes(whole.replace(struct.pack("<II", size, size), struct.pack("<II", size, 60 * size)))
    tracemalloc.start()
    with pytest.raises(ValueError, match="taken for a bomb"):
        read(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1 << 20


def test_a_pickle_of_countless_things_is_taken_for_a_bomb(tmp_path, monkeypatch):
    monkeypatch.setattr(tensors, "ALLOWANCE", 1 << 20)
    for name, compression in (("a.pth", zipfile.ZIP_STORED), ("b.pth", zipfile.ZIP_DEFLATED)):
        with zipfile.ZipFile(tmp_path / name, "w", compression) as archive:
            archive.writestr("a/data.pkl", b"\x80\x02(" + b"}" * 200_000 + b"t.")
        with pytest.raises(ValueError, match=rf"{name}: it has .* taken for a bomb"):
            read(tmp_path / name)


@pytest.mark.parametrize("function", [b"ctorch\nSize\n", b"ccollections\nOrderedDict\n"])
def test_a_long_text_is_not_made_a_collection_again_and_again(function, tmp_path, monkeypatch):
    monkeypatch.setattr(tensors, "ALLOWANCE", 1 << 20)
    text = b"X" + struct.pack("<I", 4000) + b"a" * 4000 + b"q\x00"
    with zipfile.ZipFile(tmp_path / "a.pth", "w") as archive:
        archive.writestr("a/data.pkl", b"\x80\x02" + text + function + b"q\x01(" + b"h\x01h\x00\x85R" * 2000 + b"t.")
    tracemalloc.start()
    with pytest.raises(ValueError, match="taken for a bomb"):
        read(tmp_path / "a.pth")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1 << 20


def test_rows_of_pickles_that_are_cut_or_lie_are_refused(tmp_path):
    torch.save({"a": BASE}, tmp_path / "a.pth", _use_new_zipfile_serialization=False)
    whole = (tmp_path / "a.pth").read_bytes()
    for end in range(len(whole)):
        (tmp_path / "b.pth").write_bytes(whole[:end])
        with pytest.raises(ValueError, match=r"b\.pth: it"):
            read(tmp_path / "b.pth")
    place = whole.index(b"K\x18", whole.index(b"FloatStorage"))  # the storage's length, 24
    lie = whole[:place] + b"J" + struct.pack("<i", 1 << 30) + whole[place + 2 :]
    (tmp_path / "b.pth").write_bytes(lie)
    with pytest.raises(ValueError, match="its list of storages does not fit what follows"):
        read(tmp_path / "b.pth")
    (tmp_path / "b.pth").write_bytes(lie[:-104] + struct.pack("<q", 1 << 30) + lie[-96:])
    with pytest.raises(ValueError, match=r"it is cut off: storage .* should end at byte"):
        read(tmp_path / "b.pth")


def test_rows_of_pickles_are_little_endian_whatever_machine_wrote_them(tmp_path):
    torch.save({"a": BASE}, tmp_path / "a.pth", _use_new_zipfile_serialization=False)
    whole = (tmp_path / "a.pth").read_bytes()
    place = whole.index(b"\x88", whole.index(b"little_endian"))
    (tmp_path / "a.pth").write_bytes(whole[:place] + b"\x89" + whole[place + 1 :])
    assert torch.equal(torch.load(tmp_path / "a.pth", weights_only=True)["a"], BASE)
    assert np.array_equal(read(tmp_path / "a.pth")["a"], BASE)


def test_a_storage_that_is_part_of_another_is_refused_and_not_misread(tmp_path):
    torch.save({"a": BASE}, tmp_path / "a.pth", _use_new_zipfile_serialization=False, pickle_protocol=2)
    whole = (tmp_path / "a.pth").read_bytes()
    place = whole.index(b"Nt", whole.index(b"FloatStorage"))  # what would say which part, and the end of the tuple
    part = b"(U\x011K\x08K\x08t"
    (tmp_path / "a.pth").write_bytes(whole[:place] + part + whole[place + 1 :])
    with pytest.raises(ValueError, match="its list of storages does not fit"):
        read(tmp_path / "a.pth")


def test_what_pytorch_never_wrote_or_only_long_ago_is_named(tmp_path):
    import tarfile

    (tmp_path / "content").write_bytes(b"x")
    with tarfile.open(tmp_path / "a.pth.tar", "w") as archive:
        archive.add(tmp_path / "content", "storages")
    (tmp_path / "b.pth").write_bytes(pickle.dumps({"a": 1}))
    torch.jit.script(torch.nn.Linear(1, 1)).save(tmp_path / "c.pt")
    for name, complaint in (("a.pth.tar", "tar archive"), ("b.pth", "no file that PyTorch"), ("c.pt", "TorchScript")):
        with pytest.raises(ValueError, match=complaint):
            read(tmp_path / name)


@pytest.mark.parametrize("name", ["a.pth", "a.pt", "a.ckpt", "pytorch_model.bin", "model_best.pth.tar", "A.PTH.TAR"])
def test_pytorchs_files_go_by_many_suffixes(name, tmp_path):
    drawn = draw_weights(tiny())
    weights.save(drawn, tmp_path / "a.pth")
    (tmp_path / "a.pth").rename(tmp_path / name)
    found = weights.load(tmp_path / name)
    assert all(np.array_equal(found[name], array) for name, array in drawn.items())


def test_reading_takes_no_pytorch(tmp_path):
    weights.save(draw_weights(tiny()), tmp_path / "a.pth")
    run = run_without(
        ["torch"],
        f"from resnest import weights; weights.convert(r'{tmp_path}/a.pth', r'{tmp_path}/b.npz'); print('done')",
    )
    assert run.stdout == "done\n", run.stderr
    run = run_without(
        ["torch"], f"from resnest import weights; weights.convert(r'{tmp_path}/b.npz', r'{tmp_path}/c.pth')"
    )
    assert "to write files of this format takes PyTorch: pip install 'resnest[torch]'" in run.stderr
