"""MXNet's RecordIO files of images (`.rec` with its `.idx`, as im2rec makes them), read without MXNet.

A record is two little-endian uint32 (a magic number; 3 bits that say which part of a record follows and 29 of
length), then that many bytes, filled up to a multiple of 4. A record whose bytes hold the magic number is cut there,
into parts that leave it out. In a record of an image stand a header (uint32 flag, float32 label, two uint64
numbers), `flag` more float32 labels, and the image's file.
Source: dmlc-core, include/dmlc/recordio.h, and mxnet.recordio.
"""

from __future__ import annotations

import io
import os
import struct
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, UnidentifiedImageError

from resnest.data.photos import open_photo

MAGIC = 0xCED7230A

_HEADER = struct.Struct("<IfQQ")

_WHOLE, _FIRST, _MIDDLE, _LAST = range(4)


class RecordFile:
    """The images of a `.rec` file in the order of its `.idx`; labels are whole numbers, and no class has a name.

    Processes and threads may share one. Raises FileNotFoundError where one of the two files is missing, and
    ValueError for an index that is none.
    """

    classes = None

    def __init__(self, path: str | os.PathLike):
        self.path = Path(path)
        index = self.path.with_suffix(".idx")
        for file in (self.path, index):
            if not file.is_file():
                raise FileNotFoundError(f"there is no file {file}: a record file is a .rec with its .idx beside it")
        try:
            rows = [line.split() for line in index.read_text().splitlines()]
            self.positions = np.array([int(position) for _, position in rows], np.int64)
        except ValueError:
            raise ValueError(f"{index} is no index: each line of one holds a number and a position") from None
        if not len(self.positions):
            raise ValueError(f"{index} is empty: {self.path} holds no image")
        self.file = open(self.path, "rb")  # noqa: SIM115 - open for as long as this is

    def __getstate__(self) -> dict[str, Any]:
        return {"path": self.path}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(state["path"])  # type: ignore[misc]  # another process opens the file anew

    def __len__(self) -> int:
        return len(self.positions)

    def name(self, index: int) -> str:
        """What to call the image in a message."""
        return f"record {index} of {self.path}"

    def __getitem__(self, index: int) -> tuple[Image.Image, int]:
        """The image in RGB, as it is stored, and its label; ValueError that names it where it cannot be read."""
        try:
            label, content = unpacked(self.record(int(self.positions[index])))
        except (ValueError, OSError, struct.error) as error:
            raise ValueError(f"{self.name(index)} cannot be read: {error}") from None
        try:
            return open_photo(io.BytesIO(content), upright=False), label  # type: ignore[arg-type]  # Pillow reads both
        except ValueError as error:
            unknown = isinstance(error.__context__, UnidentifiedImageError)
            reason = "it has no format that is known" if unknown else str(error.__context__ or error)
            raise ValueError(f"{self.name(index)} is no photo that can be read: {reason}") from None

    def record(self, position: int) -> bytes:
        """The record that starts at `position` in the file; ValueError where none does."""
        parts: list[bytes] = []
        while True:
            magic, kind_and_length = struct.unpack("<II", self._read(position, 8))
            kind, length = kind_and_length >> 29, kind_and_length & (1 << 29) - 1
            if magic != MAGIC or (kind in (_WHOLE, _FIRST)) == bool(parts):
                raise ValueError(f"no record starts at byte {position}")
            parts.append(self._read(position + 8, length))
            if kind in (_WHOLE, _LAST):
                return struct.pack("<I", MAGIC).join(parts)
            position += 8 + (length + 3) // 4 * 4

    def _read(self, position: int, length: int) -> bytes:
        # pread has no position that processes and threads would share.
        found = os.pread(self.file.fileno(), length, position)
        if len(found) < length:
            raise ValueError(f"the file ends before byte {position + length}")
        return found


def unpacked(record: bytes) -> tuple[int, bytes]:
    """The label and the image's file in a record; ValueError for a label that is no whole number."""
    flag, label, _, _ = _HEADER.unpack_from(record)
    labels = np.frombuffer(record, "<f4", flag, _HEADER.size) if flag else np.array([label])
    if len(labels) != 1 or labels[0] < 0 or labels[0] != int(labels[0]):
        raise ValueError(f"its label {labels.tolist()} is no class's number")
    return int(labels[0]), record[_HEADER.size + 4 * flag :]
