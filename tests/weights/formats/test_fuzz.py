"""Thousands of broken weight files: each is read or refused in a sentence, in little memory and in place."""

import argparse
import io
import json
import random
import resource
import struct
import tracemalloc
import zipfile

import numpy as np
import pytest
import safetensors.numpy
import torch

from resnest import weights
from resnest.weights.formats import archive, files, mxnet_params, safetensors_file
from resnest.weights.formats.tensors import ALLOWANCE

MUTANTS = {".params": 7_000, ".zip": 7_000, ".safetensors": 7_000, ".npz": 7_000, ".pth": 3_000, ".pt": 2_000}
"""Of each kind of file; pickles take longer than the others."""

NUMBERS = (0, 1, 2, 7, 0x7F, 0xFF, 0x7FFF, 0xFFFF, 1 << 16, 1 << 31, (1 << 32) - 1, 1 << 40, 1 << 62, (1 << 63) - 1, -1)

ARRAYS = {
    "conv1.0.weight": np.arange(12, dtype="f4").reshape(2, 3, 2),
    "bn1.running_var": np.ones(3, "f2"),
    "arg:fc.bias": np.arange(3),
}


def as_params(chance):
    entries = b"".join(one_array(array, chance) for array in ARRAYS.values())
    names = b"".join(struct.pack("<Q", len(name)) + name.encode() for name in ARRAYS)
    return struct.pack("<QQQ", 0x112, 0, len(ARRAYS)) + entries + struct.pack("<Q", len(ARRAYS)) + names


def one_array(array, chance):
    """The array in one of the four layouts that MXNet has had."""
    flag = struct.pack("<iii", 1, 0, mxnet_params.FLAGS[array.dtype]) + array.tobytes()
    layout = chance.choice([None, mxnet_params.VERSION_1, mxnet_params.VERSION_2, mxnet_params.VERSION_3])
    if layout is None:
        return struct.pack(f"<I{array.ndim}I", array.ndim, *array.shape) + flag
    storage = b"" if layout == mxnet_params.VERSION_1 else struct.pack("<i", 0)
    return struct.pack("<I", layout) + storage + struct.pack(f"<I{array.ndim}q", array.ndim, *array.shape) + flag


def as_zip(chance):
    """A zip that is sound and holds a mutant, or one that is not sound itself."""
    inner = mutate(as_params(chance), chance) if chance.random() < 0.5 else as_params(chance)
    name = chance.choice(["a.params", "b/a.params", "../a.params", "/a.params", "..\\a.params", "C:a.params"])
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", chance.choice([zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])) as made:
        made.writestr(name, inner)
        if chance.random() < 0.2:
            made.writestr("c.params" if chance.random() < 0.5 else "bomb", bytes(chance.choice([0, 100_000])))
    return file.getvalue()


def as_npz(chance):
    file = io.BytesIO()
    chance.choice([np.savez, np.savez_compressed])(file, **ARRAYS)
    return file.getvalue()


def as_safetensors(chance):
    whole = safetensors.numpy.save(ARRAYS)
    if chance.random() < 0.5:
        return whole
    length = int.from_bytes(whole[:8], "little")  # a header that is sound JSON, but wrong
    header = json.loads(whole[8 : 8 + length])
    entry = chance.choice(list(header.values()))
    entry[chance.choice(["dtype", "shape", "data_offsets"])] = chance.choice(
        [
            "F32",
            "BF16",
            "F8_E4M3",
            [],
            [0],
            [-1],
            [1 << 40],
            [1 << 62, 1 << 62],
            [0, 1 << 60],
            [8, 0],
            None,
            {},
            "x" * 99,
        ]
    )
    changed = json.dumps(header).encode()
    return len(changed).to_bytes(8, "little") + changed + whole[8 + length :]


def mutate(content, chance):
    content = bytearray(content)
    for _ in range(chance.choice([1, 1, 1, 2, 4, 8])):
        if not content:
            break
        where = chance.randrange(len(content))
        change = chance.randrange(7)
        if change == 0:
            content[where] ^= 1 << chance.randrange(8)
        elif change == 1:
            content[where] = chance.randrange(256)
        elif change == 2:
            size = chance.choice([1, 2, 4, 8])
            value = chance.choice(NUMBERS) % (1 << 8 * size)
            content[where : where + size] = value.to_bytes(size, "little")
        elif change == 3:
            del content[where:]
        elif change == 4:
            del content[where : where + chance.randrange(1, 40)]
        elif change == 5:
            content[where:where] = content[where : where + chance.randrange(1, 40)] * chance.choice([1, 2, 50])
        else:
            content[where:where] = chance.randbytes(chance.randrange(1, 20))
    return bytes(content)


def as_row_of_pickles(chance):
    """What PyTorch wrote before 1.6."""
    return chance.choice(ROWS)


def as_pth(chance):
    """A zip like PyTorch's whose pickle is a mutant, or one that is not sound itself."""
    content = chance.choice(PICKLES)
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as made:
        made.writestr("a/data.pkl", mutate(content, chance) if chance.random() < 0.9 else content)
        for number, array in enumerate(ARRAYS.values()):
            made.writestr(f"a/data/{number}", array.tobytes())
    return file.getvalue() if chance.random() < 0.9 else mutate(file.getvalue(), chance)


def saved_by_pytorch(*, zipped):
    state = {name: torch.from_numpy(array) for name, array in ARRAYS.items()}
    for protocol in (2, 4):
        for content in (state, {"state_dict": state, "args": argparse.Namespace(lr=0.1), "epoch": 3}):
            file = io.BytesIO()
            torch.save(content, file, pickle_protocol=protocol, _use_new_zipfile_serialization=zipped)
            yield file


ROWS = [file.getvalue() for file in saved_by_pytorch(zipped=False)]
PICKLES = [zipfile.ZipFile(file).read("archive/data.pkl") for file in saved_by_pytorch(zipped=True)]

KINDS = {
    ".pth": as_pth,
    ".pt": as_row_of_pickles,
    ".params": as_params,
    ".zip": as_zip,
    ".safetensors": as_safetensors,
    ".npz": as_npz,
}


def read_all(source):
    with files.open_file(source) as opened:
        for name in opened:
            assert opened[name].shape == opened.headers[name].shape
            assert opened[name].dtype == opened.headers[name].dtype


@pytest.mark.parametrize("kind", KINDS)
def test_no_mutant_crashes_takes_much_memory_or_writes(kind, tmp_path, monkeypatch):
    inside = tmp_path / "outer" / "inside"
    inside.mkdir(parents=True)
    monkeypatch.chdir(inside)
    chance = random.Random(kind)
    path = inside / f"mutant{kind}"
    mutant = open(path, "wb", buffering=0)  # noqa: SIM115  # kept open: to open it for each takes longer than to read it
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    outcomes = {"read": 0, "refused": 0}
    tracemalloc.start()
    for number in range(MUTANTS[kind]):
        content = KINDS[kind](chance)
        if number % 10 and kind != ".pth":  # a mutant already, whose checksums would hide what its pickle does
            content = mutate(content, chance)
        mutant.seek(0)
        mutant.write(content)
        mutant.truncate()
        tracemalloc.reset_peak()
        resting = tracemalloc.get_traced_memory()[0]
        complaint = None
        try:
            read_all(path)
        except (ValueError, OSError) as error:
            complaint = str(error)
        outcomes["read" if complaint is None else "refused"] += 1
        assert complaint is None or (complaint.startswith(str(path)) and "\n" not in complaint), content
        assert tracemalloc.get_traced_memory()[1] - resting <= 2 * len(content) + ALLOWANCE, content
    tracemalloc.stop()
    mutant.close()
    assert min(outcomes.values()) > 100, outcomes
    # What libraries take beneath Python is not traced.
    assert (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) << 10 <= ALLOWANCE
    assert [found.name for found in tmp_path.rglob("*")] == ["outer", "inside", path.name]


def test_bytes_are_read_or_refused_as_files_are(tmp_path):
    chance = random.Random(0)
    for _ in range(300):
        content = mutate(KINDS[chance.choice([".params", ".zip"])](chance), chance)
        kind = ".zip" if content.startswith(b"PK") else ".params"
        (tmp_path / f"a{kind}").write_bytes(content)
        outcomes = []
        for source in (content, tmp_path / f"a{kind}"):
            try:
                read_all(source)
                outcomes.append("read")
            except ValueError:
                outcomes.append("refused")
        assert outcomes[0] == outcomes[1], content


def test_names_and_shapes_of_any_kind_are_refused_in_a_sentence(tmp_path):
    """Sound files, whose tensors are those of no network."""
    chance = random.Random(0)
    words = [
        "layer1",
        "0",
        "conv2",
        "bn",
        "bn0",
        "conv",
        "weight",
        "gamma",
        "stem",
        "downsample",
        "module",
        "²",
        "",
        "1",
    ]
    signs = ["layer1.0.conv2.conv.weight", "layer1.0.conv2.bn.gamma", "stem.0.weight", "layers1_conv0_weight"]
    known = ["layer1.0.conv1.weight", "conv1.0.weight", "conv1.weight", "layer1.0.downsample.1.weight", "fc.weight"]
    for _ in range(1000):
        made = [".".join(chance.choices(words, k=chance.randrange(1, 6))) for _ in range(5)]
        names = {chance.choice(signs), *chance.sample(known, chance.randrange(6)), *made}
        shapes = [tuple(chance.choices([0, 1, 2, 3, 8], k=chance.randrange(1, 5))) for _ in names]
        arrays = {name: np.zeros(shape, "f4") for name, shape in zip(names, shapes)}
        files.write_file(tmp_path / "a.params", arrays)
        with pytest.raises(ValueError, match=r"a\.params: "):
            weights.load(tmp_path / "a.params")


def test_a_header_of_nested_brackets_stops_nothing(tmp_path):
    for header in (b"[" * 1_000_000, b'{"a":' * 200_000):
        (tmp_path / "a.safetensors").write_bytes(len(header).to_bytes(8, "little") + header)
        with pytest.raises(ValueError, match=r"a\.safetensors"):
            read_all(tmp_path / "a.safetensors")
    assert archive.MAX_DIRECTORY < safetensors_file.MAX_HEADER < ALLOWANCE
