"""MATLAB's version 5 files (`.mat`), read without SciPy: numbers, texts, cells and structs.

A file is a header of 128 bytes and elements: uint32 type, uint32 bytes, then those bytes, filled up to a multiple of 8.
One of at most 4 bytes has all in 8: uint16 type, uint16 bytes, content. A matrix is an element of elements: flags,
dimensions and name, then what its class asks for.
Source: MathWorks, "MAT-File Format" (matfile_format.pdf), chapter 1.
"""

from __future__ import annotations

import struct
import zlib
from typing import Any

import numpy as np

_NUMBERS = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8", 12: "i8", 13: "u8"}
_TEXTS = {1: "latin-1", 2: "latin-1", 4: "utf-16", 16: "utf-8", 17: "utf-16", 18: "utf-32"}
_MATRIX, _COMPRESSED = 14, 15

_CELL, _STRUCT, _TEXT, _FIRST_NUMBER, _LAST_NUMBER = 1, 2, 4, 6, 15

LARGEST = 1 << 28
"""Bytes that a compressed element may unfold to."""


def read_matlab(content: bytes) -> dict[str, Any]:
    """The variables in a file's `content`.

    Numbers are arrays of their shape, a text is one, a cell array a list and a struct array a list of dicts, the first
    dimension running fastest. Raises ValueError for another version and for what is broken.
    """
    try:
        return _variables(content)
    except (ValueError, LookupError, struct.error, zlib.error) as error:
        raise ValueError(f"no MATLAB file of version 5 that can be read: {error}") from None


def _variables(content: bytes) -> dict[str, Any]:
    order = {b"IM": "<", b"MI": ">"}.get(content[126:128])
    if order is None:
        raise ValueError("it does not begin like one")
    elements = _Elements(content[128:], order)
    variables = {}
    while elements.left:
        kind, part = elements.next()
        if kind == _COMPRESSED:
            unfold = zlib.decompressobj()
            whole = unfold.decompress(part, LARGEST)
            if unfold.unconsumed_tail:
                raise ValueError(f"a variable of more than {LARGEST} bytes")
            kind, part = _Elements(whole, order).next()
        if kind == _MATRIX:
            name, value = _matrix(part, order)
            variables[name] = value
    return variables


class _Elements:
    """The elements in `content`, one after the other."""

    def __init__(self, content: bytes, order: str):
        self.content, self.order, self.place = content, order, 0

    @property
    def left(self) -> bool:
        return self.place < len(self.content)

    def next(self) -> tuple[int, bytes]:
        """Type and content."""
        kind, size = struct.unpack_from(f"{self.order}II", self.content, self.place)
        start = self.place + 8
        if kind >> 16:  # a small one
            kind, size, start = kind & 0xFFFF, kind >> 16, start - 4
        # The content of a compressed one is not filled up.
        self.place = start + size if kind == _COMPRESSED else self.place + 8 * -((self.place - start - size) // 8)
        if start + size > len(self.content):
            raise ValueError("it ends too early")
        return kind, self.content[start : start + size]

    def numbers(self) -> np.ndarray:
        kind, content = self.next()
        return np.frombuffer(content, f"{self.order}{_NUMBERS[kind]}")

    def text(self) -> str:
        kind, content = self.next()
        wide = _TEXTS[kind] in ("utf-16", "utf-32")
        return content.decode(_TEXTS[kind] + ({"<": "-le", ">": "-be"}[self.order] if wide else ""))

    def matrix(self) -> Any:
        _, content = self.next()
        return _matrix(content, self.order)[1] if content else np.empty((0, 0))


def _matrix(content: bytes, order: str) -> tuple[str, Any]:
    """The name and the value of a matrix."""
    elements = _Elements(content, order)
    kind = int(elements.numbers()[0]) & 0xFF
    shape = tuple(map(int, elements.numbers()))
    count = int(np.prod(shape))
    name = elements.text()
    if count > len(content):
        raise ValueError(f"{name or 'a part'} ends too early")
    if kind == _TEXT and shape[0] <= 1:
        return name, elements.text() if elements.left else ""
    if kind == _CELL:
        return name, [elements.matrix() for _ in range(count)]
    if kind == _STRUCT:
        length = int(elements.numbers()[0])
        names = elements.text()
        fields = [names[start : start + length].rstrip("\0") for start in range(0, len(names), length)]
        return name, [{field: elements.matrix() for field in fields} for _ in range(count)]
    if _FIRST_NUMBER <= kind <= _LAST_NUMBER:
        return name, elements.numbers().reshape(shape, order="F")
    raise ValueError(f"{name or 'a part'} of shape {shape} is of class {kind}, which is not read here")
