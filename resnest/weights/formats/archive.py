"""Zip archives from anywhere: everything that one claims is checked before any of it is unpacked."""

from __future__ import annotations

import os
import re
import shutil
import struct
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from math import prod
from typing import IO, BinaryIO

import numpy as np

from resnest.weights.formats.tensors import Header, check_claim, read_bfloat16, read_into

MAX_DIRECTORY = 2 << 20
"""Bytes that a zip's table of contents may take: several times what the largest ResNeSt needs."""

_END, _END64, _LOCATOR64 = b"PK\x05\x06", b"PK\x06\x06", b"PK\x06\x07"
_END_SIZE, _LOCATOR64_SIZE, _MAX_COMMENT = 22, 20, 0xFFFF

_NPY_MAGIC = b"\x93NUMPY"
_MAX_NPY_HEADER = 10_000
_NPY_HEADER = re.compile(
    r"\{'descr': ?'([<>|=](?:[biuf]\d{1,2}|V2))', ?'fortran_order': ?(True|False), ?'shape': ?\(([\d, ]*)\),? ?\}\s*"
)


@contextmanager
def open_archive(file: BinaryIO) -> Iterator[zipfile.ZipFile]:
    """Open the zip `file`.

    Raises ValueError, in half a sentence that goes behind the file's name, for one that is
    broken, encrypted or a bomb. What its entries are called is not asked: nothing is unpacked under their names.
    """
    size = file.seek(0, os.SEEK_END)
    _check_directory(file, size)
    with zipfile.ZipFile(file) as archive:
        members = archive.infolist()
        for member in members:
            _check_member(member, size)
        if len({member.filename for member in members}) < len(members):
            raise ValueError("it holds two files of one name")
        check_claim(sum(member.file_size for member in members), size)
        yield archive


@contextmanager
def unpack_one(archive: zipfile.ZipFile, suffix: str) -> Iterator[BinaryIO]:
    """The content of the only file in the archive that ends in `suffix`, in a nameless temporary file."""
    found = [member for member in archive.infolist() if member.filename.endswith(suffix) and not _is_mac(member)]
    if len(found) != 1:
        raise ValueError(f"it holds {len(found) or 'no'} {suffix} file{'s' * (len(found) > 1)}, and one is needed")
    with tempfile.TemporaryFile() as unpacked:
        with archive.open(found[0]) as member:
            shutil.copyfileobj(member, unpacked)
        yield unpacked


def read_npy_header(file: IO[bytes], size: int, what: str) -> tuple[Header, bool]:
    """The header of the `.npy` file `what` of `size` bytes, and whether its data is in Fortran's order.

    `file` is left where the data begins. Only what NumPy writes for plain numbers is read, and two bytes of no dtype,
    as which it writes the bfloat16 of ml_dtypes.
    """
    start = file.read(8)
    if len(start) < 8 or start[:6] != _NPY_MAGIC:
        raise ValueError(f"{what} in it is no .npy array")
    layout = "<H" if start[6] == 1 else "<I"
    (length,) = struct.unpack(layout, file.read(struct.calcsize(layout)))
    header = file.read(min(length, _MAX_NPY_HEADER)).decode("latin-1")
    if "'|O'" in header:
        raise ValueError(f"{what} is a pickle, not numbers; a pickle can run code, so it stays closed")
    match = _NPY_HEADER.fullmatch(header)
    if match is None or length > _MAX_NPY_HEADER:
        raise ValueError(f"{what} in it has no header that NumPy writes for plain numbers")
    descr, fortran, dims = match.groups()
    try:
        shape, dtype = tuple(int(length) for length in dims.replace(" ", "").split(",") if length), np.dtype(descr)
    except TypeError:
        raise ValueError(f"{what} in it has dtype {descr}, which NumPy does not have") from None
    expected = 8 + struct.calcsize(layout) + length + prod(shape) * dtype.itemsize
    if expected != size:
        raise ValueError(f"{what} in it should have {expected} bytes for its shape {shape} and has {size}")
    return Header(shape, dtype), fortran == "True"


def read_npy(file: IO[bytes], size: int, what: str) -> np.ndarray:
    """The array in the `.npy` file `what` of `size` bytes."""
    (shape, dtype), fortran = read_npy_header(file, size, what)
    shape = shape[::-1] if fortran else shape
    if dtype.kind == "V":
        array = np.empty(shape, "f4")
        read_bfloat16(file, array)
    else:
        array = np.empty(shape, dtype)
        read_into(file, array)
    return array.T if fortran else array


def _check_directory(file: BinaryIO, size: int) -> None:
    """Raise ValueError for a table of contents too large to be read into memory."""
    tail_size = min(size, _END_SIZE + _MAX_COMMENT + _LOCATOR64_SIZE)
    file.seek(size - tail_size)
    tail = file.read(tail_size)
    end = tail.rfind(_END)
    if end < 0 or end + _END_SIZE > len(tail):
        raise ValueError("it is no zip file, or it is cut off")
    (length,) = struct.unpack_from("<I", tail, end + 12)
    locator = end - _LOCATOR64_SIZE
    if locator >= 0 and tail[locator : locator + 4] == _LOCATOR64:
        # Python finds the 64-bit record right before its locator or where the locator says.
        (place,) = struct.unpack_from("<Q", tail, locator + 8)
        for position in (place, size - tail_size + locator - 56):
            if 0 <= position <= size - 56:
                file.seek(position)
                record = file.read(56)
                if record[:4] == _END64:
                    length = max(length % 0xFFFFFFFF, struct.unpack_from("<Q", record, 40)[0])
    if length > MAX_DIRECTORY:
        raise ValueError(f"it claims a table of contents of {length} bytes, more than any network needs")


def _check_member(member: zipfile.ZipInfo, size: int) -> None:
    if not 0 <= member.header_offset < size:
        raise ValueError(f"its entry {member.filename!r} does not lie in the file")
    if member.flag_bits & 0x1:
        raise ValueError(f"its entry {member.filename!r} is encrypted")
    if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise ValueError(f"its entry {member.filename!r} is compressed in a way other than zip's usual one")


def _is_mac(member: zipfile.ZipInfo) -> bool:
    return member.filename.startswith("__MACOSX/")  # macOS puts its own notes beside every file
