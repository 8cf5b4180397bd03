"""PyTorch's files (`.pth`, `.pt`, `.ckpt`, `.bin`, `.pth.tar`), one tensor at a time; only to write them takes PyTorch.

A file is a zip of a pickle and the memory of its tensors, or before PyTorch 1.6 a row of pickles with that memory
behind them: https://github.com/pytorch/pytorch/blob/v2.7.0/torch/serialization.py
"""

from __future__ import annotations

import contextlib
import logging
import os
import struct
import zipfile
from collections.abc import Collection, Iterator, Mapping
from math import prod
from pathlib import Path
from types import ModuleType
from typing import Any, BinaryIO, Literal

import numpy as np

from resnest.weights.formats import trainers
from resnest.weights.formats.archive import open_archive
from resnest.weights.formats.pickles import Inert, Reader
from resnest.weights.formats.tensors import Tensors, check_claim, listed, printable
from resnest.weights.formats.torch_tensors import (
    BUILD,
    Memory,
    StoredTensor,
    bytes_to_read,
    header,
    is_known,
    read_tensor,
    storage_of,
)

logger = logging.getLogger(__name__)

_MAGIC, _PROTOCOL = 0x1950A86A20F9469CFC6C, 1001


@contextlib.contextmanager
def read(path: Path, which: str | None = None) -> Iterator[Tensors]:
    """The tensors of the file at `path`; `which` of them as `resnest.weights.formats.trainers` says.

    Nothing in the file is run: what it holds beside tensors, numbers and texts stays closed, and a warning names it.
    Raises ValueError where the file is broken, claims more than it has, or holds no tensors.
    """
    with open(path, "rb") as file, contextlib.ExitStack() as stack:
        size = os.fstat(file.fileno()).st_size
        if file.read(4) == b"PK\x03\x04":
            content, memory, unknown = _read_zip(stack.enter_context(open_archive(file)), file, size)
        else:
            content, memory, unknown = _read_row(file, size)
        state, left, keys, note = trainers.choose(content, which)
        _check_state(state)
        if left is not None:
            state = {name: state[name] for name in trainers.select(state, left, keys)}
        headers = {name: header(printable(name), tensor, memory) for name, tensor in state.items()}
        # Many tensors, and all elements of one, may be the same few bytes of the file; and to one of two elements that
        # lie far apart, all between them has to be read.
        check_claim(sum(prod(shape) * dtype.itemsize for shape, dtype in headers.values()), size)
        check_claim(sum(bytes_to_read(tensor, memory) for tensor in state.values()), size)
        if unknown:
            _warn_of(path, unknown)
        if note:
            logger.warning("%s: %s", path, note)
        yield Tensors(headers, lambda name: read_tensor(state[name], memory))


def write(file: BinaryIO, arrays: Tensors, bfloat16: bool = False) -> None:
    """Write a state dict that `torch.load(weights_only=True)` reads, float32 as `bfloat16` where told.

    PyTorch has to have all of it in memory at once: the file's size comes on top of PyTorch's own, where
    every other format takes that of one tensor.
    """
    torch = _torch(file.name)
    state = {}
    for name in arrays:
        try:
            state[name] = torch.from_numpy(np.require(arrays[name], requirements=("C", "W")))
        except TypeError:
            raise ValueError(f"PyTorch has no dtype {arrays.headers[name].dtype}, which {name} has") from None
        if bfloat16 and state[name].dtype == torch.float32:
            state[name] = state[name].bfloat16()
    try:
        torch.save(state, file)
    except RuntimeError as error:  # its writer complains of positions where the disk is full
        if isinstance(error.__context__, OSError):
            raise error.__context__ from None
        raise


def _read_zip(archive: zipfile.ZipFile, file: BinaryIO, size: int) -> tuple[Any, Memory, Mapping[str, None]]:
    members = {member.filename: member for member in archive.infolist()}
    pickles = [name for name in members if name.rpartition("/")[2] == "data.pkl" and name.count("/") <= 1]
    if len(pickles) != 1:
        raise ValueError("it is a zip file, but none that PyTorch wrote: there is no data.pkl in it")
    root = pickles[0].removesuffix("data.pkl")
    if f"{root}constants.pkl" in members:
        raise ValueError(
            "it is a program in TorchScript, not a state dict: open it with torch.jit.load where you trust it, and save"
            " its state_dict()"
        )
    for info in members.values():
        if not info.CRC:  # PyTorch can be told to leave it out (torch.serialization.set_crc32_options)
            del info.CRC
    order: Literal["<", ">"] = "<"
    if f"{root}byteorder" in members:
        with archive.open(members[f"{root}byteorder"]) as member:
            order = ">" if member.read(8) == b"big" else "<"
    storages = {name.removeprefix(f"{root}data/"): member for name, member in members.items() if name.startswith(root)}
    with archive.open(members[pickles[0]]) as source:
        reader = _reader(source, size)
        content = reader.read()
    return content, _Zip(archive, file, storages, order), reader.unknown


def _read_row(file: BinaryIO, size: int) -> tuple[Any, Memory, Mapping[str, None]]:
    """What a file holds that was written before PyTorch 1.6, or as it was then."""
    file.seek(257)
    if file.read(5) == b"ustar":
        raise ValueError(
            "it is a tar archive, which PyTorch wrote before 0.2: save it anew with a later one, or unpack it"
        )
    file.seek(0)
    reader = _reader(file, size)
    try:
        magic = reader.read()
    except ValueError:
        magic = None
    if magic != _MAGIC:
        raise ValueError("it is no file that PyTorch wrote, or it is cut off")
    if reader.read() != _PROTOCOL:
        raise ValueError("it is of a kind that only PyTorch before 0.2 wrote")
    reader.read()  # about the machine, whose byte order does not count: all wrote little-endian
    lengths: dict[str, tuple[int, int]] = {}
    reader.load = lambda saved: storage_of(saved, lengths)
    content = reader.read()
    keys = reader.read()
    places: dict[str, tuple[int, int]] = {}
    for key in keys if isinstance(keys, list) else []:
        head = file.read(8)
        if not isinstance(key, str) or key not in lengths or head != lengths[key][0].to_bytes(8, "little"):
            raise ValueError("its list of storages does not fit what follows, or it is cut off")
        length = prod(lengths[key])
        start, end = file.tell(), file.tell() + length
        if end > size:
            raise ValueError(f"it is cut off: storage {printable(key)} in it should end at byte {end} of {size}")
        places[key] = start, length
        file.seek(end)
    return content, _Row(file, places), reader.unknown


class _Zip:
    """Storages that are files in a zip."""

    def __init__(
        self, archive: zipfile.ZipFile, file: BinaryIO, members: Mapping[str, zipfile.ZipInfo], order: Literal["<", ">"]
    ):
        self.archive, self.file, self.members, self.order = archive, file, members, order

    def size(self, key: str) -> int:
        if key not in self.members:
            raise ValueError(f"its storage {printable(key)} is not there")
        return self.members[key].file_size

    def before(self, key: str, start: int) -> int:
        return 0 if self.members[key].compress_type == zipfile.ZIP_STORED else start

    @contextlib.contextmanager
    def open(self, key: str, start: int, count: int) -> Iterator[Any]:
        member = self.members[key]
        if count == member.file_size or member.compress_type != zipfile.ZIP_STORED:
            with self.archive.open(member) as file:  # which checks the sum
                if start:
                    file.seek(start)
                yield file
        else:  # many tensors may lie in one storage: none is to read all that is before it
            self.file.seek(member.header_offset + 26)
            names = struct.unpack("<HH", self.file.read(4).ljust(4))
            self.file.seek(member.header_offset + 30 + sum(names) + start)
            yield self.file


class _Row:
    """Storages that follow one another in a file."""

    order: Literal["<", ">"] = "<"

    def __init__(self, file: BinaryIO, places: Mapping[str, tuple[int, int]]):
        self.file, self.places = file, places

    def size(self, key: str) -> int:
        if key not in self.places:
            raise ValueError(f"its storage {printable(key)} is not there")
        return self.places[key][1]

    def before(self, key: str, start: int) -> int:
        return 0

    @contextlib.contextmanager
    def open(self, key: str, start: int, count: int) -> Iterator[Any]:
        self.file.seek(self.places[key][0] + start)
        yield self.file


def _reader(file: Any, size: int) -> Reader:
    """A reader that takes no more memory than the file's size allows."""
    spent = 0

    def spend(more: int) -> None:
        nonlocal spent
        spent += more
        check_claim(spent, size)

    return Reader(file, BUILD, is_known, lambda saved: storage_of(saved, {}), spend)


def _check_state(state: Any) -> None:
    """Raise ValueError for what is no dict of dense tensors by name."""
    kind = _kind_of(state) if state or not isinstance(state, Mapping) else "dict without anything in it"
    if isinstance(state, Mapping):
        odd = next((name for name, value in state.items() if not isinstance(value, StoredTensor)), None)
        if state and odd is None:
            return
        if odd is not None:
            kind += f" whose {listed([odd])} is a {_kind_of(state[odd])},"
        inner = [name for name, value in state.items() if trainers.holds_tensors(value)]
        if inner:
            kind += f' with dicts in it (which="{listed(inner[:1])}" takes one; there are {listed(inner)}),'
    raise ValueError(f"it holds a {kind} that is no state dict (a dict of dense tensors by name)")


def _kind_of(value: Any) -> str:
    if isinstance(value, (StoredTensor, Mapping)):
        return "tensor" if isinstance(value, StoredTensor) else "dict"
    return printable(value.name) if isinstance(value, Inert) else type(value).__name__


def _warn_of(path: Path, unknown: Collection[str]) -> None:
    logger.warning("%s: read its tensors alone; what it says of %s was left closed", path, listed(unknown))


def _torch(path: object) -> ModuleType:
    try:
        import torch
    except ModuleNotFoundError:
        raise ImportError(
            f"{path}: to write files of this format takes PyTorch: pip install 'resnest[torch]'"
        ) from None
    return torch
