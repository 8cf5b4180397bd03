"""Values that arguments and options take, and values that they refuse, by their types."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import click

from resnest.cli.paths import Input, Output
from resnest.cli.values import Device, Key, NetworkName, Number, Setting, Size, Word, Words

Values = Callable[[Path], object]
"""From a folder of a test's own, as `furnish` leaves it, to a value."""


def furnish(folder: Path) -> None:
    """Put into a folder what is needed to be given: a file, a folder, and an empty one of each."""
    (folder / "file").write_text("content")
    (folder / "folder").mkdir()
    (folder / "folder" / "inside").write_text("content")
    (folder / "nothing").write_text("")
    (folder / "hollow").mkdir()


def taken(param: click.Parameter, folder: Path) -> object:
    """A value that `param` takes; None for a flag."""
    kind: Any = param.type
    if isinstance(kind, Input):
        return folder / ("file" if kind.file_okay else "folder")
    if isinstance(kind, Output):
        return folder / f"{param.name}.new{next(iter(kind.suffixes), '')}"
    if isinstance(kind, NetworkName):
        return kind.known[0]
    if isinstance(kind, (Word, Words)):
        return kind.choices[-1]
    if isinstance(kind, (Device, Setting, Key)):
        return "cpu" if isinstance(kind, Device) else "batch=64" if isinstance(kind, Setting) else "ema"
    return "64x96" if isinstance(kind, Size) else getattr(kind, "min", None)


def refused_values(param: click.Parameter) -> Iterator[tuple[str, Values, str]]:
    """What is wrong with a value, the value, and words that the sentence about it has to have."""
    kind: Any = param.type
    if isinstance(kind, Input):
        yield from _unread(kind)
    elif isinstance(kind, Output):
        yield from _unwritten(kind)
    elif isinstance(kind, NetworkName):
        yield from _words(kind.known)
    elif isinstance(kind, (Word, Words)):
        yield from _words(kind.choices)
    elif isinstance(kind, Device):
        for word in ("nonsense", "meta", "cuda:x", "cuda:-1", "cpu:", "cuda:1:2", "gpu(0", ""):
            yield word, _always(word), "did you mean" if word[:3] in ("cud", "cpu", "gpu") else "known are cpu, cuda"
        yield "no such GPU", _always("cuda:999"), "cannot compute on 'cuda:999' here"
        yield "no such context", _always("gpu(999)"), "cannot compute on 'gpu:999' here"
    elif isinstance(kind, (click.IntRange, Number)):
        yield from _numbers(kind)
    elif isinstance(kind, Setting):
        for word in ("batch", "=64", "", "a b=1"):
            yield f"no setting: {word!r}", _always(word), "is no KEY=VALUE"
    elif isinstance(kind, Size):
        for word in ("64", "64x", "0x64", "64x99999", "a\x1b[2J", ""):
            yield f"no size: {word!r}", _always(word), "is no height and width"
    elif isinstance(kind, Key):
        for word in ("", "a\x1b[2J"):
            yield f"no key: {word!r}", _always(word), f"is no {kind.name}"


def is_narrow(param: click.Parameter) -> bool:
    """Whether the type of `param` refuses what makes no sense; a flag has nothing to refuse."""
    kind: Any = param.type
    if isinstance(kind, (click.IntRange, Number)):
        return kind.min is not None and kind.max is not None
    return isinstance(kind, (Input, Output, NetworkName, Word, Words, Device, Setting, Key, Size, type(click.BOOL)))


def _always(value: object) -> Values:
    return lambda folder: value


def _unread(kind: Input) -> Iterator[tuple[str, Values, str]]:
    yield "missing", lambda folder: folder / "nowhere", f"there is no {kind.what}"
    yield "missing in a missing folder", lambda folder: folder / "no" / "where", f"there is no {kind.what}"
    yield "below a file", lambda folder: folder / "file" / "below", f"there is no {kind.what}"
    yield "too long a name", lambda folder: folder / ("a" * 300), "cannot be read"
    if not kind.dir_okay:
        yield "a folder", lambda folder: folder / "folder", "is a folder"
    if not kind.file_okay:
        yield "a file", lambda folder: folder / "file", "is no folder"
    if kind.file_okay:
        yield "an empty file", lambda folder: folder / "nothing", "is empty"
    if kind.dir_okay:
        yield "an empty folder", lambda folder: folder / "hollow", "is empty"


def _unwritten(kind: Output) -> Iterator[tuple[str, Values, str]]:
    end = next(iter(kind.suffixes), "")
    yield "below a file", lambda folder: folder / "file" / f"a{end}", ""
    yield "too long a name", lambda folder: folder / ("a" * 300 + end), "cannot be written"
    if not kind.dir_okay:
        yield "in a missing folder", lambda folder: folder / "no" / f"a{end}", "there is no folder"
        yield "a folder", lambda folder: folder / "folder", "is a folder"
    if not kind.file_okay:
        yield "a file", lambda folder: folder / "file", "is no folder"
    if kind.suffixes:
        yield "another suffix", lambda folder: folder / "a.odd", f"no suffix of a {kind.what}"


def _words(known: Any) -> Iterator[tuple[str, Values, str]]:
    yield "a typing error", _always(f"{known[0]}_"), f"did you mean {known[0]}"
    yield "another word", _always("§"), "known are"


def _numbers(kind: Any) -> Iterator[tuple[str, Values, str]]:
    if kind.min is not None:
        yield "too small", _always(kind.min - 1), "is not in the range"
    if kind.max is not None:
        yield "too large", _always(kind.max + 1), "is not in the range"
    yield "far too large", _always(10**30), "is not in the range"
    for word in ("nan", "inf", "x", ""):
        yield f"the number {word!r}", _always(word), ""
