"""One reader and one writer per file format, each taking one tensor at a time.

A reader knows every tensor's shape before it reads any data and a writer asks for one tensor
after the other, so a conversion never holds a whole network in memory.
"""

from __future__ import annotations

import contextlib
import json
import os
import struct
import zipfile
from collections.abc import Callable, Iterator, Mapping
from math import prod
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import safetensors

from resnest.weights import mxnet_params, torch_pickle
from resnest.weights.tensors import Header, Tensors


@contextlib.contextmanager
def open_file(path: str | os.PathLike) -> Iterator[Tensors]:
    """Open the weight file at `path`; its suffix says in which format it is.

    Raises FileNotFoundError, or ValueError naming the file for a suffix nobody knows and for
    content that is cut off or of another kind.
    """
    path = Path(path)
    reader = _FORMATS[suffix(path)][0]
    if not path.is_file():
        raise FileNotFoundError(f"there is no weight file {path}")
    try:
        with reader(path) as tensors:
            yield tensors
    except (safetensors.SafetensorError, zipfile.BadZipFile, EOFError, struct.error) as error:
        raise ValueError(f"{path} cannot be read as {path.suffix}: {error}") from error


def write_file(path: str | os.PathLike, arrays: Mapping[str, np.ndarray]) -> None:
    """Write `arrays` to `path`, in the format that its suffix says.

    The file appears under its name when it is complete; where something fails on the way,
    what stood there before is untouched.
    """
    path = Path(path)
    writer = _FORMATS[suffix(path)][1]
    if not path.parent.is_dir():
        raise FileNotFoundError(f"there is no folder {path.parent} to write {path.name} into")
    unfinished = path.with_name(f".{path.name}.{os.getpid()}.unfinished")
    try:
        with open(unfinished, "x+b") as file:
            writer(file, Tensors.of(arrays))
        os.replace(unfinished, path)
    finally:
        unfinished.unlink(missing_ok=True)


def suffix(path: str | os.PathLike) -> str:
    """The path's suffix; ValueError where no format goes by it."""
    found = Path(path).suffix.lower()
    if found not in _FORMATS:
        raise ValueError(f"{path} has no suffix of a weight file; known are {', '.join(_FORMATS)}")
    return found


_SAFETENSORS_DTYPES = {
    "BOOL": "?", "U8": "u1", "I8": "i1", "U16": "<u2", "I16": "<i2", "U32": "<u4", "I32": "<i4",
    "U64": "<u8", "I64": "<i8", "F16": "<f2", "F32": "<f4", "F64": "<f8",
}  # fmt: skip  # one line a size reads better than one a dtype
_SAFETENSORS_NAMES = {np.dtype(code): name for name, code in _SAFETENSORS_DTYPES.items()}


@contextlib.contextmanager
def _read_safetensors(path: Path) -> Iterator[Tensors]:
    # Not mapped into memory: mapped pages that were read once would count as ours until the end.
    with safetensors.safe_open(path, framework="np", backend="pread") as file:
        headers = {}
        for name in file.offset_keys():
            view = file.get_slice(name)
            if view.get_dtype() not in _SAFETENSORS_DTYPES:
                raise ValueError(f"{path}: {name} has dtype {view.get_dtype()}, which NumPy does not have")
            headers[name] = Header(tuple(view.get_shape()), np.dtype(_SAFETENSORS_DTYPES[view.get_dtype()]))
        yield Tensors(headers, file.get_tensor)


def _write_safetensors(file: BinaryIO, arrays: Tensors) -> None:
    # The library's own writer wants all tensors in memory at once. The format is the length of a
    # JSON header, the header, then the data: https://github.com/huggingface/safetensors#format
    entries: dict[str, Any] = {}
    end = 0
    for name, (shape, dtype) in arrays.headers.items():
        kind = _SAFETENSORS_NAMES.get(dtype.newbyteorder("<"))
        if kind is None:
            raise ValueError(f"safetensors files have no dtype {dtype}, which {name} has")
        start, end = end, end + prod(shape) * dtype.itemsize
        entries[name] = {"dtype": kind, "shape": shape, "data_offsets": (start, end)}
    header = json.dumps(entries, separators=(",", ":")).encode()
    header += b" " * (-len(header) % 8)  # the data is aligned
    file.write(struct.pack("<Q", len(header)) + header)
    for name in arrays:
        array = arrays[name]
        file.write(np.ascontiguousarray(array, array.dtype.newbyteorder("<")).data)


@contextlib.contextmanager
def _read_npz(path: Path) -> Iterator[Tensors]:
    with zipfile.ZipFile(path) as archive:
        members = {info.filename.removesuffix(".npy"): info for info in archive.infolist()}
        headers = {}
        for name, info in members.items():
            with archive.open(info) as file:
                headers[name] = _npy_header(file, f"{path}: {name}")

        def read(name: str) -> np.ndarray:
            with archive.open(members[name]) as file:
                return np.lib.format.read_array(file, allow_pickle=False)

        yield Tensors(headers, read)


def _npy_header(file: Any, what: str) -> Header:
    version = np.lib.format.read_magic(file)
    read_header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, _, dtype = read_header(file)
    if dtype.hasobject:
        raise ValueError(f"{what} is a pickle, not numbers; a pickle can run code, so it stays closed")
    return Header(shape, dtype)


def _write_npz(file: BinaryIO, arrays: Tensors) -> None:
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        for name in arrays:
            with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                np.lib.format.write_array(member, arrays[name], allow_pickle=False)


@contextlib.contextmanager
def _read_params(path: Path) -> Iterator[Tensors]:
    with open(path, "rb") as file:
        try:
            index = mxnet_params.read_index(file)
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from None
        headers = {name: Header(entry.shape, entry.dtype) for name, entry in index.items()}
        yield Tensors(headers, lambda name: mxnet_params.read_array(file, index[name]))


@contextlib.contextmanager
def _read_pth(path: Path) -> Iterator[Tensors]:
    yield torch_pickle.read(path)


_FORMATS: dict[str, tuple[Callable[[Path], Any], Callable[[BinaryIO, Tensors], None]]] = {
    ".safetensors": (_read_safetensors, _write_safetensors),
    ".npz": (_read_npz, _write_npz),
    ".pth": (_read_pth, torch_pickle.write),
    ".pt": (_read_pth, torch_pickle.write),
    ".params": (_read_params, mxnet_params.write),
}
