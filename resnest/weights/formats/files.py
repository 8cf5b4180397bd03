"""One reader and one writer per file format, each taking one tensor at a time.

A reader knows every tensor's shape before it reads any data and a writer asks for one tensor
after the other, so a conversion never holds a whole network in memory.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import struct
import zipfile
import zlib
from collections.abc import Callable, Collection, Iterator, Mapping
from math import prod
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import safetensors

from resnest.weights.formats import mxnet_params, torch_pickle
from resnest.weights.formats.archive import open_archive, read_npy, read_npy_header, unpack_one
from resnest.weights.formats.atomic import replacing
from resnest.weights.formats.tensors import Header, Tensors

Source = str | os.PathLike | bytes

MAX_HEADER = 8 << 20
"""Bytes that the header of a safetensors file may take: many times what the largest ResNeSt needs."""


@contextlib.contextmanager
def open_file(source: Source) -> Iterator[Tensors]:
    """Open the weight file `source`; its suffix says in which format it is.

    `bytes` are the content of a `.params` or `.zip` file. Raises FileNotFoundError, or
    ValueError naming the file for a suffix nobody knows and for content that is cut off, unsafe
    or of another kind.
    """
    kind = _sniff(source) if isinstance(source, bytes) else _known_suffix(source, _READERS)
    if not isinstance(source, bytes):
        source = Path(source)
        if not source.is_file():
            raise FileNotFoundError(f"there is no weight file {source}")
    with contextlib.ExitStack() as stack:
        with _naming(source):
            opened = stack.enter_context(_READERS[kind](source))

        def read(name: str) -> np.ndarray:
            with _naming(source):
                return opened[name]

        yield Tensors(opened.headers, read)


def write_file(path: str | os.PathLike, arrays: Mapping[str, np.ndarray]) -> None:
    """Write `arrays` to `path`, in the format that its suffix says.

    It appears under its name when it is complete (`resnest.weights.formats.atomic`); where something fails on the way,
    what stood there before is untouched.
    """
    writer = _WRITERS[writable_suffix(path)]
    with replacing(path) as file:
        writer(file, Tensors.of(arrays))


def writable_suffix(path: str | os.PathLike) -> str:
    """The path's suffix; ValueError where no format that can be written goes by it."""
    return _known_suffix(path, _WRITERS)


def describe(source: Source) -> str:
    """What to call `source` in a sentence."""
    return f"these {len(source)} bytes" if isinstance(source, bytes) else str(source)


def _known_suffix(path: str | os.PathLike, formats: Collection[str]) -> str:
    found = Path(path).suffix.lower()
    if found in (".pkl", ".pickle"):
        raise ValueError(
            f"{path} is a pickle, and reading one can run code in it: open it where you trust it"
            " and save its arrays as .npz or its tensors as .pth"
        )
    if found not in formats:
        raise ValueError(f"{path} has no suffix of a weight file; known are {', '.join(formats)}")
    return found


def _sniff(content: bytes) -> str:
    if content.startswith(mxnet_params.LIST_MAGIC.to_bytes(8, "little")):
        return ".params"
    if content.startswith(b"PK"):
        return ".zip"
    raise ValueError(f"{describe(content)} are neither a .params nor a .zip file")


_BROKEN = (safetensors.SafetensorError, zipfile.BadZipFile, zlib.error, EOFError, struct.error, NotImplementedError)
"""What the libraries beneath raise for a file that is not what it should be."""


@contextlib.contextmanager
def _naming(source: Source) -> Iterator[None]:
    """Put the name of `source` in front of what a reader has to say about it."""
    try:
        yield
    except _BROKEN as error:
        raise ValueError(f"{describe(source)} is broken or no such file: {error}") from error
    except ValueError as error:
        raise ValueError(f"{describe(source)}: {error}") from None


def _opened(source: Source) -> BinaryIO:
    return io.BytesIO(source) if isinstance(source, bytes) else open(source, "rb")  # callers close it


_SAFETENSORS_DTYPES = {
    "BOOL": "?", "U8": "u1", "I8": "i1", "U16": "<u2", "I16": "<i2", "U32": "<u4", "I32": "<i4",
    "U64": "<u8", "I64": "<i8", "F16": "<f2", "F32": "<f4", "F64": "<f8",
}  # fmt: skip  # one line a size reads better than one a dtype
_SAFETENSORS_NAMES = {np.dtype(code): name for name, code in _SAFETENSORS_DTYPES.items()}


@contextlib.contextmanager
def _read_safetensors(path: Path) -> Iterator[Tensors]:
    # Not mapped into memory: mapped pages that were read once would count as ours until the end.
    _check_safetensors_header(path)
    with safetensors.safe_open(path, framework="np", backend="pread") as file:
        headers = {}
        for name in file.offset_keys():
            view = file.get_slice(name)
            if view.get_dtype() not in _SAFETENSORS_DTYPES:
                raise ValueError(f"{name} in it has dtype {view.get_dtype()}, which NumPy does not have")
            headers[name] = Header(tuple(view.get_shape()), np.dtype(_SAFETENSORS_DTYPES[view.get_dtype()]))
        yield Tensors(headers, file.get_tensor)


def _check_safetensors_header(path: Path) -> None:
    with open(path, "rb") as file:
        length = int.from_bytes(file.read(8), "little")
    if length > MAX_HEADER:
        raise ValueError(f"it claims a header of {length} bytes, more than any network needs")


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
    with _opened(path) as source, open_archive(source) as archive:
        members = {info.filename.removesuffix(".npy"): info for info in archive.infolist()}
        headers = {}
        for name, info in members.items():
            with archive.open(info) as file:
                headers[name] = read_npy_header(file, info.file_size, name)[0]

        def read(name: str) -> np.ndarray:
            with archive.open(members[name]) as file:
                return read_npy(file, members[name].file_size, name)

        yield Tensors(headers, read)


def _write_npz(file: BinaryIO, arrays: Tensors) -> None:
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        for name in arrays:
            with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                np.lib.format.write_array(member, arrays[name], allow_pickle=False)


@contextlib.contextmanager
def _read_params(source: Source) -> Iterator[Tensors]:
    with _opened(source) as file:
        yield _params_in(file)


@contextlib.contextmanager
def _read_zip(source: Source) -> Iterator[Tensors]:
    with _opened(source) as file, open_archive(file) as archive, unpack_one(archive, ".params") as unpacked:
        yield _params_in(unpacked)


def _params_in(file: BinaryIO) -> Tensors:
    index = mxnet_params.read_index(file)
    headers = {name: Header(entry.shape, entry.dtype) for name, entry in index.items()}
    return Tensors(headers, lambda name: mxnet_params.read_array(file, index[name]))


@contextlib.contextmanager
def _read_pth(path: Path) -> Iterator[Tensors]:
    yield torch_pickle.read(path)


_READERS: dict[str, Callable[[Any], Any]] = {
    ".safetensors": _read_safetensors,
    ".npz": _read_npz,
    ".pth": _read_pth,
    ".pt": _read_pth,
    ".params": _read_params,
    ".zip": _read_zip,
}

_WRITERS: dict[str, Callable[[BinaryIO, Tensors], None]] = {
    ".safetensors": _write_safetensors,
    ".npz": _write_npz,
    ".pth": torch_pickle.write,
    ".pt": torch_pickle.write,
    ".params": mxnet_params.write,
}
