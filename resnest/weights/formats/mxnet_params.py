"""MXNet's `.params` files (a saved list of NDArrays), read and written without MXNet.

All numbers are little endian. A file is `uint64 0x112, uint64 0, uint64 n`, n arrays,
`uint64 n`, n names (`uint64` length, bytes). Four layouts of an array exist; their writers are
`NDArray::Save` of MXNet 0.8 (legacy), 0.11 (1), 1.0 (2) and 1.6 with NumPy shapes (3):
https://github.com/apache/mxnet/blob/1.9.1/src/ndarray/ndarray.cc
"""

from __future__ import annotations

import os
import struct
from collections.abc import Mapping
from math import prod
from typing import BinaryIO, NamedTuple

import numpy as np

from resnest.weights.formats.tensors import IN_TWO_BYTES, bfloat16_bits, read_bfloat16, read_into

LIST_MAGIC = 0x112
VERSION_1, VERSION_2, VERSION_3 = 0xF993FAC8, 0xF993FAC9, 0xF993FACA
MAX_DIMS = 32
MAX_ARRAYS = 1 << 16
MAX_NAME = 1 << 12
DENSE = 0
CPU = 1

DTYPES: dict[int, np.dtype] = {
    0: np.dtype("<f4"),
    1: np.dtype("<f8"),
    2: np.dtype("<f2"),
    3: np.dtype("u1"),
    4: np.dtype("<i4"),
    5: np.dtype("i1"),
    6: np.dtype("<i8"),
    7: np.dtype("?"),
}
FLAGS = {dtype: flag for flag, dtype in DTYPES.items()}
BFLOAT16 = 12
"""The upper half of a float32; NumPy has no such type, so it is read as float32."""


class Entry(NamedTuple):
    """Where one array's data lies in the file. `flag` is MXNet's number of its dtype."""

    shape: tuple[int, ...]
    flag: int
    offset: int

    @property
    def dtype(self) -> np.dtype:
        """The dtype in memory."""
        return IN_TWO_BYTES if self.flag == BFLOAT16 else DTYPES[self.flag]


class _Cursor:
    """Reads numbers from a file whose size is known, and never past its end."""

    def __init__(self, file: BinaryIO):
        self.file = file
        self.size = file.seek(0, os.SEEK_END)
        self.position = 0

    def take(self, layout: str) -> tuple[int, ...]:
        self.file.seek(self.position)
        count = struct.calcsize(layout)
        self.skip(count)
        return struct.unpack(layout, self.file.read(count))

    def one(self, layout: str) -> int:
        return self.take("<" + layout)[0]

    def skip(self, count: int) -> None:
        if count > self.size - self.position:
            raise ValueError(
                f"it is cut off: {count} bytes should follow byte {self.position}, and the file has {self.size}"
            )
        self.position += count


def read_index(file: BinaryIO) -> dict[str, Entry]:
    """Name -> place of every array in a `.params` file, in file order.

    Reads no array data. Raises ValueError, in half a sentence that goes behind the file's
    name, for anything that is not such a file, for one that is cut off, and for sparse arrays.
    """
    cursor = _Cursor(file)
    if cursor.size < 24 or cursor.one("Q") != LIST_MAGIC:
        raise ValueError("it is no MXNet .params file: it does not begin with the bytes of one")
    cursor.one("Q")  # reserved
    entries = [_read_array(cursor, number) for number in range(_count(cursor, 4))]
    names = [_read_name(cursor) for _ in range(_count(cursor, 8))]
    if len(names) != len(entries):
        raise ValueError(f"it holds {len(entries)} arrays and {len(names)} names, so the arrays cannot be told apart")
    index: dict[str, Entry] = {}
    for name, entry in zip(names, entries):
        if name in index:
            raise ValueError(f"it holds two arrays called {name!r}")
        index[name] = entry
    return index


def read_array(file: BinaryIO, entry: Entry) -> np.ndarray:
    """The array at `entry`, in a fresh buffer."""
    file.seek(entry.offset)
    array = np.empty(entry.shape, entry.dtype)
    if entry.flag == BFLOAT16:
        read_bfloat16(file, array)
    else:
        read_into(file, array)
    return array


def write(file: BinaryIO, arrays: Mapping[str, np.ndarray], bfloat16: bool = False) -> None:
    """Write `arrays` as a version 2 list, the layout that every MXNet since 1.0 reads.

    Those of float32 are written as `bfloat16` where told. Raises ValueError for a dtype that MXNet does not have, and
    for an array without dimensions, which that layout cannot hold.
    """
    file.write(struct.pack("<QQQ", LIST_MAGIC, 0, len(arrays)))
    for name in arrays:
        array = np.ascontiguousarray(arrays[name])
        flag = FLAGS.get(array.dtype.newbyteorder("<"))
        narrow = bfloat16 and array.dtype == np.float32
        if flag is None:
            raise ValueError(f"MXNet has no dtype {array.dtype}, which {name} has")
        if not arrays[name].ndim:
            raise ValueError(f"MXNet's .params format has no place for {name}, an array without dimensions")
        file.write(struct.pack(f"<IiI{array.ndim}q", VERSION_2, DENSE, array.ndim, *array.shape))
        file.write(struct.pack("<iii", CPU, 0, BFLOAT16 if narrow else flag))
        file.write((bfloat16_bits(array) if narrow else array.astype(DTYPES[flag], copy=False)).data)
    file.write(struct.pack("<Q", len(arrays)))
    for name in arrays:
        encoded = name.encode()
        file.write(struct.pack("<Q", len(encoded)) + encoded)


def _count(cursor: _Cursor, least: int) -> int:
    """A number of things that take `least` bytes each at least, checked before any is read."""
    count = cursor.one("Q")
    if count > MAX_ARRAYS:
        raise ValueError(f"it says that {count} entries follow byte {cursor.position}, more than any network has")
    if count > (cursor.size - cursor.position) // least:
        raise ValueError(f"it says that {count} entries follow byte {cursor.position}, more than the file has room for")
    return count


def _read_array(cursor: _Cursor, number: int) -> Entry:
    first = cursor.one("I")
    if first in (VERSION_2, VERSION_3):
        storage = cursor.one("i")
        if storage != DENSE:
            kind = {1: "row-sparse", 2: "CSR"}.get(storage, f"of storage type {storage}")
            raise ValueError(
                f"array {number} in it is {kind}; only dense arrays can be read: save it with .tostype('default')"
            )
    # The first number of a legacy array is its number of dimensions; the others begin with a magic one.
    legacy = first not in (VERSION_1, VERSION_2, VERSION_3)
    dims = first if legacy else cursor.one("i" if first == VERSION_3 else "I")
    if dims == -1 or (dims == 0 and first != VERSION_3):
        return Entry((0,), 0, cursor.position)  # an array that never got a shape has no data
    if not 0 <= dims <= MAX_DIMS:
        raise ValueError(f"array {number} in it claims {dims} dimensions")
    shape = cursor.take(f"<{dims}{'I' if legacy else 'q'}")
    if any(length < 0 for length in shape):
        raise ValueError(f"array {number} in it claims the shape {shape}")
    _, _, flag = cursor.take("<iii")  # device type and number, dtype
    if flag not in DTYPES and flag != BFLOAT16:
        raise ValueError(f"array {number} in it has dtype flag {flag}, which MXNet does not define")
    entry = Entry(shape, flag, cursor.position)
    cursor.skip(prod(shape) * (2 if flag == BFLOAT16 else entry.dtype.itemsize))
    return entry


def _read_name(cursor: _Cursor) -> str:
    length = cursor.one("Q")
    start = cursor.position
    if length > MAX_NAME:
        raise ValueError(f"the name at byte {start} in it is {length} bytes long")
    cursor.skip(length)
    cursor.file.seek(start)
    try:
        return cursor.file.read(length).decode()
    except UnicodeDecodeError as error:
        raise ValueError(f"the name at byte {start} in it is no UTF-8 text") from error
