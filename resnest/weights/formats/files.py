"""One reader and one writer per file format, each taking one tensor at a time.

A reader knows every tensor's shape before it reads any data and a writer asks for one tensor
after the other, so a conversion never holds a whole network in memory.
"""

from __future__ import annotations

import contextlib
import functools
import io
import json
import os
import struct
import zipfile
import zlib
from collections.abc import Callable, Collection, Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import safetensors

from resnest.weights.formats import mxnet_params, safetensors_file, torch_pickle, trainers
from resnest.weights.formats.archive import open_archive, read_npy, read_npy_header, unpack_one
from resnest.weights.formats.atomic import replacing
from resnest.weights.formats.tensors import BFLOAT16, IN_TWO_BYTES, Header, Tensors, bfloat16_bits, printable

Source = str | os.PathLike | bytes

MAX_INDEX = 2 << 20
"""Bytes that an index of shards may take: many times what the largest ResNeSt needs."""


@contextlib.contextmanager
def open_file(source: Source, which: str | None = None) -> Iterator[Tensors]:
    """Open the weight file `source`; its suffix says in which format it is.

    `bytes` are the content of a `.params` or `.zip` file. Of several networks in one file `which` is taken, as
    `resnest.weights.formats.trainers` says. Raises FileNotFoundError, or ValueError naming the file for a suffix nobody
    knows and for content that is cut off, unsafe or of another kind.
    """
    kind = _sniff(source) if isinstance(source, bytes) else _known_suffix(source, _READERS)
    if not isinstance(source, bytes):
        source = Path(source)
        if not source.is_file():
            raise FileNotFoundError(f"there is no weight file {source}")
    with contextlib.ExitStack() as stack:
        with _naming(source):
            opened = _enter(stack, kind, source, which)

        def read(name: str) -> np.ndarray:
            with _naming(source):
                return opened[name]

        yield Tensors(opened.headers, read)


def _enter(stack: contextlib.ExitStack, kind: str, source: Source, which: str | None) -> Tensors:
    if _READERS[kind] is torch_pickle.read:
        return stack.enter_context(torch_pickle.read(Path(source), which))  # type: ignore[arg-type]  # never bytes
    opened = stack.enter_context(_READERS[kind](source))
    return opened if which is None else opened.renamed({name: name for name in trainers.select(opened, which)})


def write_file(path: str | os.PathLike, arrays: Mapping[str, np.ndarray], dtype: str | None = None) -> None:
    """Write `arrays` to `path`, in the format that its suffix says; of a `dtype` bfloat16 those of float32 hold such.

    It appears under its name when it is complete (`resnest.weights.formats.atomic`); where something fails on the way,
    what stood there before is untouched.
    """
    suffix = writable_suffix(path)
    write = functools.partial(_WRITERS[suffix], bfloat16=True) if dtype == BFLOAT16 else _WRITERS[suffix]
    tensors = Tensors.of(arrays).plain()
    for name, header in tensors.headers.items():
        if header.dtype.kind not in "biuf":
            raise ValueError(f"{suffix} files of weights have no dtype {header.dtype}, which {name} has")
    with replacing(path) as file:
        write(file, tensors)


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
        raise ValueError(f"{describe(source)} is broken or no such file: {printable(str(error))}") from error
    except ValueError as error:
        raise ValueError(f"{describe(source)}: {printable(str(error))}") from None


def _opened(source: Source) -> BinaryIO:
    return io.BytesIO(source) if isinstance(source, bytes) else open(source, "rb")  # callers close it


@contextlib.contextmanager
def _read_shards(path: Path) -> Iterator[Tensors]:
    """The tensors of all files that an index names, as Hugging Face's `model.safetensors.index.json` does."""
    if path.stat().st_size > MAX_INDEX:
        raise ValueError(f"it has {path.stat().st_size} bytes, more than any network's index needs")
    try:
        index = json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise ValueError(f"it is no JSON: {error}") from None
    places = index.get("weight_map") if isinstance(index, dict) else None
    if not isinstance(places, dict) or not all(isinstance(name, str) for name in places.values()):
        raise ValueError("it is no index of shards: there is no weight_map in it")
    with contextlib.ExitStack() as stack:
        shards: dict[str, Tensors] = {}
        for shard in dict.fromkeys(places.values()):
            # A stranger's index is not to open what lies elsewhere.
            beside = Path(shard).name == shard and "\\" not in shard and shard.isprintable()
            if not beside or Path(shard).suffix not in (".safetensors", ".bin"):
                raise ValueError(f"its shard {shard!r} is no .safetensors or .bin file beside it")
            shards[shard] = stack.enter_context(open_file(path.with_name(shard)))
        missing = [name for name, shard in places.items() if name not in shards[shard]]
        if missing:
            raise ValueError(f"{missing[0]} is not in its shard {places[missing[0]]}, which is another one's")
        headers = {name: shards[shard].headers[name] for name, shard in places.items()}
        yield Tensors(headers, lambda name: shards[places[name]][name])


@contextlib.contextmanager
def _read_npz(path: Path) -> Iterator[Tensors]:
    with _opened(path) as source, open_archive(source) as archive:
        members = {info.filename.removesuffix(".npy"): info for info in archive.infolist()}
        headers = {}
        for name, info in members.items():
            with archive.open(info) as file:
                shape, dtype = read_npy_header(file, info.file_size, name)[0]
                headers[name] = Header(shape, IN_TWO_BYTES if dtype.kind == "V" else dtype)

        def read(name: str) -> np.ndarray:
            with archive.open(members[name]) as file:
                return read_npy(file, members[name].file_size, name)

        yield Tensors(headers, read)


def _write_npz(file: BinaryIO, arrays: Tensors, bfloat16: bool = False) -> None:
    """bfloat16 as NumPy writes that of ml_dtypes: two bytes of no dtype."""
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        for name in arrays:
            with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                array = arrays[name]
                if bfloat16 and array.dtype == np.float32:
                    array = bfloat16_bits(array).view("V2")
                np.lib.format.write_array(member, array, allow_pickle=False)


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


_READERS: dict[str, Callable[[Any], Any]] = {
    ".safetensors": safetensors_file.read,
    ".npz": _read_npz,
    ".pth": torch_pickle.read,
    ".pt": torch_pickle.read,
    ".ckpt": torch_pickle.read,
    ".bin": torch_pickle.read,
    ".tar": torch_pickle.read,
    ".json": _read_shards,
    ".params": _read_params,
    ".zip": _read_zip,
}

_WRITERS: dict[str, Callable[..., None]] = {
    ".safetensors": safetensors_file.write,
    ".npz": _write_npz,
    ".pth": torch_pickle.write,
    ".pt": torch_pickle.write,
    ".params": mxnet_params.write,
}

WRITABLE = tuple(_WRITERS)
"""What the name of a weight file that is written ends with."""
