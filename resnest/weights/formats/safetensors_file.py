"""Safetensors files, read by their own library and written one tensor at a time.

https://github.com/huggingface/safetensors#format
"""

from __future__ import annotations

import contextlib
import json
import struct
from collections.abc import Iterator
from math import prod
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import safetensors

from resnest.weights.formats.tensors import IN_TWO_BYTES, Header, Tensors, bfloat16_bits, read_bfloat16

MAX_HEADER = 8 << 20
"""Bytes that the header of a safetensors file may take: many times what the largest ResNeSt needs."""

BFLOAT16 = "BF16"

_DTYPES = {
    "BOOL": "?", "U8": "u1", "I8": "i1", "U16": "<u2", "I16": "<i2", "U32": "<u4", "I32": "<i4",
    "U64": "<u8", "I64": "<i8", "F16": "<f2", "F32": "<f4", "F64": "<f8",
}  # fmt: skip  # one line a size reads better than one a dtype
_NAMES = {np.dtype(code): name for name, code in _DTYPES.items()}


@contextlib.contextmanager
def read(path: Path) -> Iterator[Tensors]:
    """The tensors of the file at `path`, bfloat16 as float32; ValueError for a dtype that NumPy does not have."""
    # Not mapped into memory: mapped pages that were read once would count as ours until the end.
    _check_header(path)
    with safetensors.safe_open(path, framework="np", backend="pread") as file:
        headers: dict[str, Header] = {}
        wide: set[str] = set()
        for name in file.offset_keys():
            view = file.get_slice(name)
            kind = view.get_dtype()
            if kind not in _DTYPES and kind != BFLOAT16:
                raise ValueError(f"{name} in it has dtype {kind}, which NumPy does not have")
            if kind == BFLOAT16:
                wide.add(name)
            headers[name] = Header(
                tuple(view.get_shape()), IN_TWO_BYTES if kind == BFLOAT16 else np.dtype(_DTYPES[kind])
            )
        places = _places(path) if wide else {}

        def read_one(name: str) -> np.ndarray:
            return _read_wide(path, places[name], headers[name]) if name in wide else file.get_tensor(name)

        yield Tensors(headers, read_one)


def _places(path: Path) -> dict[str, int]:
    """Where the data of each tensor begins in a file that the library has found to be sound."""
    with open(path, "rb") as file:
        length = int.from_bytes(file.read(8), "little")
        entries = json.loads(file.read(length))
    return {name: 8 + length + entry["data_offsets"][0] for name, entry in entries.items() if "data_offsets" in entry}


def _read_wide(path: Path, place: int, header: Header) -> np.ndarray:
    array = np.empty(header.shape, header.dtype)
    with open(path, "rb") as file:
        file.seek(place)
        read_bfloat16(file, array)
    return array


def _check_header(path: Path) -> None:
    with open(path, "rb") as file:
        length = int.from_bytes(file.read(8), "little")
    if length > MAX_HEADER:
        raise ValueError(f"it claims a header of {length} bytes, more than any network needs")


def write(file: BinaryIO, arrays: Tensors, bfloat16: bool = False) -> None:
    """Write `arrays`, float32 as `bfloat16` where told; ValueError for a dtype that the format does not have."""
    # The library's own writer wants all tensors in memory at once. The format is the length of a
    # JSON header, the header, then the data: https://github.com/huggingface/safetensors#format
    entries: dict[str, Any] = {}
    end = 0
    for name, (shape, dtype) in arrays.headers.items():
        kind = _NAMES.get(dtype.newbyteorder("<"))
        narrow = bfloat16 and kind == "F32"
        if kind is None:
            raise ValueError(f"safetensors files have no dtype {dtype}, which {name} has")
        start, end = end, end + prod(shape) * (2 if narrow else dtype.itemsize)
        entries[name] = {"dtype": BFLOAT16 if narrow else kind, "shape": shape, "data_offsets": (start, end)}
    header = json.dumps(entries, separators=(",", ":")).encode()
    header += b" " * (-len(header) % 8)  # the data is aligned
    file.write(struct.pack("<Q", len(header)) + header)
    for name in arrays:
        array = arrays[name]
        if entries[name]["dtype"] == BFLOAT16:
            array = bfloat16_bits(array)
        file.write(np.ascontiguousarray(array, array.dtype.newbyteorder("<")).data)
