"""Named arrays that are read when they are asked for."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import IO, NamedTuple

import numpy as np

CHUNK = 1 << 20

MOST_LISTED = 8
LONGEST_LISTED = 100
"""So many of a stranger's names, and letters of one, stand in a message."""

ALLOWANCE = 64 << 20
"""What a file holds may take twice the file's size and this many bytes; weights hardly shrink, so more is a bomb."""


BFLOAT16 = "bfloat16"

REAL = ("float16", BFLOAT16, "float32", "float64")
"""What real numbers may be rounded to."""


IN_TWO_BYTES = np.dtype("f4", metadata={"stored": BFLOAT16})
"""float32 in memory, as NumPy has no other, of numbers that a file holds in bfloat16."""


class Header(NamedTuple):
    """What is known of an array before its data is read."""

    shape: tuple[int, ...]
    dtype: np.dtype


class Tensors(Mapping[str, np.ndarray]):
    """A mapping from name to array that knows every array's header and reads the data on demand."""

    def __init__(self, headers: Mapping[str, Header], read: Callable[[str], np.ndarray]):
        self.headers = dict(headers)
        self._read = read

    @classmethod
    def of(cls, arrays: Mapping[str, np.ndarray]) -> Tensors:
        """The same view of arrays that are in memory already."""
        if isinstance(arrays, cls):
            return arrays
        for name, array in arrays.items():
            if not isinstance(array, np.ndarray):
                raise TypeError(f"{name} is a {type(array).__name__}, where weights are NumPy arrays")
        headers = {name: Header(array.shape, array.dtype) for name, array in arrays.items()}
        return cls(headers, arrays.__getitem__)

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        return {name: header.shape for name, header in self.headers.items()}

    def plain(self) -> Tensors:
        """These arrays as every framework takes them: in the machine's own byte order, bfloat16 as float32."""
        headers = {name: Header(shape, plain_dtype(dtype)) for name, (shape, dtype) in self.headers.items()}
        return Tensors(headers, lambda name: plain(self._read(name)))

    def cast(self, dtype: str) -> Tensors:
        """These arrays with their real numbers rounded to `dtype`, one of `REAL`; whole ones stay.

        Those of bfloat16 are in float32, as NumPy has no other. Reading one raises ValueError, naming it, where
        `dtype` has no number as large.
        """
        if dtype not in REAL:
            raise ValueError(f"weights are not cast to {dtype!r}, but to {', '.join(REAL)}")

        held = "f4" if dtype == BFLOAT16 else dtype
        plain = self.plain()
        headers = {
            name: Header(known.shape, np.dtype(held) if known.dtype.kind == "f" else known.dtype)
            for name, known in plain.headers.items()
        }

        def read(name: str) -> np.ndarray:
            array = plain[name]
            with np.errstate(over="ignore"):
                rounded = array.astype(headers[name].dtype, copy=False)
            if dtype == BFLOAT16 and rounded.dtype.kind == "f":
                rounded = rounded_to_bfloat16(rounded)
            if (np.isinf(rounded) & np.isfinite(array)).any():
                raise ValueError(f"{name} holds {np.abs(array).max():.3g}, and {dtype} has no number as large")
            return rounded

        return Tensors(headers, read)

    def renamed(self, names: Mapping[str, str]) -> Tensors:
        """Some of these arrays under other names: `names` is new name -> old, in the order wanted."""
        headers = {new: self.headers[old] for new, old in names.items()}
        return Tensors(headers, lambda new: self._read(names[new]))

    def turned(self, turn: Callable[[np.ndarray], np.ndarray]) -> Tensors:
        """These arrays with their axes in another order; `turn` gives a view."""

        def header(known: Header) -> Header:
            nothing = np.lib.stride_tricks.as_strided(np.empty(1, known.dtype), known.shape, [0] * len(known.shape))
            return Header(turn(nothing).shape, known.dtype)

        headers = {name: header(known) for name, known in self.headers.items()}
        return Tensors(headers, lambda name: turn(self._read(name)))

    def __getitem__(self, name: str) -> np.ndarray:
        if name not in self.headers:
            raise KeyError(name)
        return self._read(name)

    def __iter__(self) -> Iterator[str]:
        return iter(self.headers)

    def __len__(self) -> int:
        return len(self.headers)


def stored(dtype: np.dtype) -> str:
    """What a file holds that is read as `dtype`: `dtype` itself, or bfloat16."""
    return BFLOAT16 if dtype.metadata == IN_TWO_BYTES.metadata else dtype.name


def plain_dtype(dtype: np.dtype) -> np.dtype:
    """The dtype in the machine's own byte order; float32 for the bfloat16 of ml_dtypes, which few libraries know."""
    return np.dtype("f4") if dtype.name == "bfloat16" else dtype.newbyteorder("=")


def plain(array: np.ndarray) -> np.ndarray:
    """The array in its `plain_dtype`, which loses no digit."""
    array = np.asarray(array)
    return array.astype(plain_dtype(array.dtype), copy=False)


def read_into(file: IO[bytes], array: np.ndarray) -> None:
    """Fill the C-contiguous `array` with the bytes that come next; ValueError where the file ends before."""
    if not array.nbytes:
        return
    view = array.reshape(-1).view("u1").data
    while len(view):
        # Some files (a member of a zip) read into a copy first, so they are asked for a little at a time.
        count = file.readinto(view[:CHUNK])  # type: ignore[attr-defined]  # every binary file here has it
        if not count:
            raise ValueError("it was cut off while it was read")
        view = view[count:]


def read_bfloat16(file: IO[bytes], array: np.ndarray, order: str = "<") -> None:
    """Fill the C-contiguous float32 `array` with the bfloat16 numbers that come next.

    NumPy has no bfloat16, which is the upper half of a float32: no digit is lost.
    """
    numbers = array.reshape(-1).view("u4")
    for start in range(0, numbers.size, CHUNK // 4):
        part = numbers[start : start + CHUNK // 4]
        upper = np.empty(part.size, f"{order}u2")
        read_into(file, upper)
        part[:] = upper
        part <<= 16


def rounded_to_bfloat16(array: np.ndarray) -> np.ndarray:
    """The float32 `array` rounded to the nearest bfloat16 numbers, of two as near to the even one, still in float32."""
    bits = np.asarray(array, order="C").view("u4")
    upper = (bits + 0x7FFF + (bits >> 16 & 1)) & 0xFFFF0000
    return np.where(np.isnan(array), array, upper.astype("u4").view("f4"))


def bfloat16_bits(array: np.ndarray) -> np.ndarray:
    """The float32 `array` of bfloat16 numbers in two bytes each, little-endian: their upper halves."""
    return (np.asarray(array, "<f4", order="C").view("<u4") >> 16).astype("<u2")


def printable(text: str) -> str:
    """The text of a stranger for a message: what a terminal would obey is written out."""
    return "".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in text)


def listed(names: Collection[str]) -> str:
    """Some of a stranger's names for a message, and how many more there are."""
    more = f" and {len(names) - MOST_LISTED} more" if len(names) > MOST_LISTED else ""
    return ", ".join(printable(name[:LONGEST_LISTED]) for name in itertools.islice(names, MOST_LISTED)) + more


def check_claim(claimed: int, size: int) -> None:
    """Raise ValueError where a file of `size` bytes says that what it holds takes `claimed`, far more than it has."""
    if claimed > 2 * size + ALLOWANCE:
        raise ValueError(f"it has {size} bytes and would unpack to {claimed}, so it is taken for a bomb")
