"""MXNet's `.params` files: the same arrays whoever writes and whoever reads, and a sentence for anything else."""

import io
import struct
import tracemalloc

import numpy as np
import pytest

from resnest.weights.formats import mxnet_params
from resnest.weights.formats.mxnet_params import BFLOAT16, DTYPES, FLAGS, VERSION_1, VERSION_2, VERSION_3

SHAPES = [(3,), (2, 3), (4, 2, 3, 3), (1,)]
LAYOUTS = {"legacy": None, "1": VERSION_1, "2": VERSION_2, "3": VERSION_3}


def arrays_of(dtype):
    random = np.random.default_rng(0)
    return {
        f"a{len(shape)}.{number}": random.integers(0, 2, shape).astype(dtype) for number, shape in enumerate(SHAPES)
    }


def lay_out(version, shape, flag, data):
    """One array, as the MXNet of that version wrote it."""
    if version is None:
        head = struct.pack(f"<I{len(shape)}I", len(shape), *shape)
    elif version == VERSION_1:
        head = struct.pack(f"<II{len(shape)}q", version, len(shape), *shape)
    else:
        head = struct.pack(f"<IiI{len(shape)}q", version, 0, len(shape), *shape)
    return head + struct.pack("<iii", 1, 0, flag) + data


def lay_out_file(entries, names=None):
    names = [f"a{number}".encode() for number in range(len(entries))] if names is None else names
    listed = b"".join(struct.pack("<Q", len(name)) + name for name in names)
    return struct.pack("<QQQ", 0x112, 0, len(entries)) + b"".join(entries) + struct.pack("<Q", len(names)) + listed


def read(content):
    file = io.BytesIO(content)
    return {name: mxnet_params.read_array(file, entry) for name, entry in mxnet_params.read_index(file).items()}


def same(left, right):
    return left.dtype == right.dtype and left.shape == right.shape and left.tobytes() == right.tobytes()


@pytest.fixture
def mx():
    from resnest.gluon._mxnet import mx

    return mx


@pytest.mark.gluon
@pytest.mark.parametrize("dtype", [str(dtype) for dtype in FLAGS])
def test_mxnet_reads_what_is_written_and_writes_what_is_read(mx, dtype, tmp_path):
    arrays = arrays_of(dtype)
    with open(tmp_path / "ours.params", "w+b") as file:
        mxnet_params.write(file, arrays)
    theirs = mx.nd.load(str(tmp_path / "ours.params"))
    mx.nd.save(str(tmp_path / "theirs.params"), theirs)
    assert list(theirs) == list(arrays)
    assert all(same(theirs[name].asnumpy(), array) for name, array in arrays.items())
    ours = read((tmp_path / "theirs.params").read_bytes())
    assert list(ours) == list(arrays)
    assert all(same(ours[name], array) for name, array in arrays.items())


@pytest.mark.gluon
def test_what_mxnet_saves_of_one_kind_is_what_is_written_to_the_byte(mx, tmp_path):
    arrays = arrays_of("float32")
    mx.nd.save(str(tmp_path / "theirs.params"), {name: mx.nd.array(array) for name, array in arrays.items()})
    with open(tmp_path / "ours.params", "w+b") as file:
        mxnet_params.write(file, arrays)
    assert (tmp_path / "ours.params").read_bytes() == (tmp_path / "theirs.params").read_bytes()


@pytest.mark.gluon
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", ["float32", "float16", "int64"])
def test_every_layout_reads_as_mxnet_reads_it(mx, layout, dtype, tmp_path):
    if layout == "legacy" and dtype == "int64":
        dtype = "uint8"  # MXNet had no int64 when it wrote that layout
    array = np.arange(24).reshape(2, 3, 4).astype(dtype)
    content = lay_out_file([lay_out(LAYOUTS[layout], array.shape, FLAGS[array.dtype], array.tobytes())])
    (tmp_path / "a.params").write_bytes(content)
    with mx.util.np_shape(layout == "3"):
        theirs = mx.nd.load(str(tmp_path / "a.params"))["a0"].asnumpy()
    assert same(read(content)["a0"], theirs)
    assert same(theirs, array)


@pytest.mark.gluon
def test_version_3_holds_scalars(mx, tmp_path):
    with mx.util.np_shape(True):
        mx.nd.save(str(tmp_path / "a.params"), {"a": mx.nd.array(np.float32(7)).reshape(())})
    scalar = read((tmp_path / "a.params").read_bytes())["a"]
    assert same(scalar, np.array(7, "float32"))


@pytest.mark.gluon
@pytest.mark.parametrize("kind", ["row_sparse", "csr"])
def test_sparse_arrays_are_refused_with_what_to_do(mx, kind, tmp_path):
    mx.nd.save(str(tmp_path / "a.params"), {"a": mx.nd.ones((3, 2)).tostype(kind)})
    with pytest.raises(ValueError, match=r"array 0 in it is (row-sparse|CSR); only dense .* \.tostype\('default'\)"):
        read((tmp_path / "a.params").read_bytes())


def test_bfloat16_is_read_as_float32():
    array = np.array([1.0, -2.5, 3e38, 0.0], "<f4")
    halves = (array.view("<u4") >> 16).astype("<u2")
    content = lay_out_file([lay_out(VERSION_2, (4,), BFLOAT16, halves.tobytes())])
    assert same(read(content)["a0"], (halves.astype("<u4") << 16).view("<f4"))


def test_arrays_without_a_shape_are_empty():
    content = lay_out_file([struct.pack("<IiI", VERSION_2, 0, 0), struct.pack("<Iii", VERSION_3, 0, -1)])
    assert [array.shape for array in read(content).values()] == [(0,), (0,)]


GOOD = lay_out(VERSION_2, (2,), 0, bytes(8))


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b"", "no MXNet .params file"),
        (b"PK" + bytes(40), "no MXNet .params file"),
        (lay_out_file([GOOD])[:-1], "cut off"),
        (lay_out_file([GOOD])[:-9], "more than the file has room for"),
        (struct.pack("<QQQ", 0x112, 0, 1 << 60), "entries follow byte 24, more than any network has"),
        (struct.pack("<QQQ", 0x112, 0, 1000), "1000 entries follow byte 24, more than the file has room for"),
        (lay_out_file([lay_out(VERSION_2, (1 << 40, 1 << 40), 0, b"")]), "cut off"),
        (lay_out_file([lay_out(VERSION_2, (-1,), 0, b"")]), r"claims the shape \(-1,\)"),
        (lay_out_file([struct.pack("<IiI", VERSION_2, 0, 33)]), "claims 33 dimensions"),
        (lay_out_file([lay_out(VERSION_2, (2,), 9, bytes(8))]), "dtype flag 9"),
        (lay_out_file([lay_out(VERSION_2, (2,), -1, bytes(8))]), "dtype flag -1"),
        (lay_out_file([GOOD], [b"a", b"b"]), "1 arrays and 2 names"),
        (lay_out_file([GOOD, GOOD], [b"a", b"a"]), "two arrays called 'a'"),
        (lay_out_file([GOOD], [b"\xff"]), "no UTF-8 text"),
        (lay_out_file([GOOD], [b"a" * 5000]), "5000 bytes long"),
    ],
)
def test_what_is_wrong_with_a_file_is_said(content, complaint):
    with pytest.raises(ValueError, match=complaint):
        read(content)


def test_a_file_of_nothing_but_entries_takes_no_more_memory_than_it_may():
    content = lay_out_file([struct.pack("<I", 0)] * 60_000)
    tracemalloc.start()
    assert len(read(content)) == 60_000
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak <= 2 * len(content) + (64 << 20)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_reading_takes_no_more_memory_than_twice_the_file(dtype):
    flag, size = (0, 4) if dtype == "float32" else (BFLOAT16, 2)
    count = 20_000_000
    file = io.BytesIO(lay_out_file([lay_out(VERSION_2, (count,), flag, bytes(count * size))]))
    tracemalloc.start()
    read_back = mxnet_params.read_array(file, mxnet_params.read_index(file)["a0"])
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert read_back.nbytes == 4 * count
    assert peak <= 4 * count + (4 << 20)


def test_every_flag_is_written_as_it_is_read():
    assert {FLAGS[dtype]: dtype for dtype in FLAGS} == DTYPES
    with pytest.raises(ValueError, match="MXNet has no dtype uint32"):
        mxnet_params.write(io.BytesIO(), {"a": np.zeros(2, "u4")})
    with pytest.raises(ValueError, match="no place for a, an array without dimensions"):
        mxnet_params.write(io.BytesIO(), {"a": np.float32(1)})
