"""Paths that commands are given: what is read must be there, and what is written must have a place of its own.

All of it is looked at before a command begins, and again by the command for paths that nobody gave it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import click


class Input(click.Path):
    """A file that is read, a folder, or either; `what` is its name in a sentence."""

    def __init__(self, what: str, *, file: bool = True, folder: bool = False):
        super().__init__(path_type=Path, file_okay=file, dir_okay=folder)
        self.what = what

    def convert(self, value: Any, param: click.Parameter | None, context: click.Context | None) -> Any:
        try:
            check_named(value)
            check_input(Path(value), self.what, file=self.file_okay, folder=self.dir_okay)
        except (ValueError, OSError) as error:
            self.fail(str(error), param, context)
        return Path(value)


class Weights(Input):
    """A weight file, or the folder of a network that `resnest train` or `save_pretrained` wrote: the file in there."""

    def __init__(self) -> None:
        super().__init__("weight file", folder=True)

    def convert(self, value: Any, param: click.Parameter | None, context: click.Context | None) -> Any:
        path = super().convert(value, param, context)
        if not path.is_dir():
            return path
        from resnest.weights.saved import weights_in  # needs NumPy, which only this does

        try:
            return weights_in(path)
        except OSError as error:
            self.fail(str(error), param, context)


class Output(click.Path):
    """A file that is written, a folder, or either; `what` is its name in a sentence.

    `suffixes` are those that the file's name may have, where it matters.
    """

    def __init__(self, what: str, *, suffixes: Sequence[str] = (), file: bool = True, folder: bool = False):
        super().__init__(path_type=Path, file_okay=file, dir_okay=folder)
        self.what, self.suffixes = what, tuple(suffixes)

    def convert(self, value: Any, param: click.Parameter | None, context: click.Context | None) -> Any:
        path = Path(value)
        try:
            check_named(value)
            if self.dir_okay:
                check_folder(path, file=self.file_okay)
            else:
                check_output(path, f"a {self.what}")
        except (ValueError, OSError) as error:
            self.fail(str(error), param, context)
        is_folder = self.dir_okay and (path.is_dir() or not path.suffix)
        if self.suffixes and not is_folder and not path.name.lower().endswith(self.suffixes):
            known = ", ".join(self.suffixes)
            self.fail(f"{path} has no suffix of a {self.what} that can be written; known are {known}", param, context)
        return path


def check_named(value: str | os.PathLike) -> None:
    """ValueError for the empty word that a variable without a value leaves: it would be the folder one is in."""
    if not os.fspath(value):
        raise ValueError("an empty word is no path: is a variable in it empty?")


def check_input(path: Path, what: str, *, file: bool = True, folder: bool = False) -> None:
    """ValueError, or an OSError, where there is nothing at `path` that can be read."""
    try:
        is_folder = path.is_dir()
        size = path.stat().st_size
    except (FileNotFoundError, NotADirectoryError):
        raise FileNotFoundError(f"there is no {what} {path}") from None
    except OSError as error:
        raise OSError(f"{path} cannot be read: {error.strerror}") from None
    if is_folder and not folder:
        raise ValueError(f"{path} is a folder, and a {what} is a file")
    if not is_folder and not file:
        raise ValueError(f"{path} is no folder, as a {what} is")
    if not os.access(path, os.R_OK | (os.X_OK if is_folder else 0)):
        raise PermissionError(f"{path} may not be read")
    if (path.is_file() and size == 0) or (is_folder and next(os.scandir(path), None) is None):
        raise ValueError(f"{path} is empty, and no {what}")


def check_output(path: Path, name: str) -> None:
    """ValueError, or an OSError, where a file, called `name` in the sentence, could not be written to `path`."""
    if _seen(path, path.is_dir):
        raise ValueError(f"{path} is a folder, and {name} is a file: give it a name in there")
    if not path.parent.is_dir():
        raise FileNotFoundError(f"there is no folder {path.parent} to write {path.name} into")
    if path.exists() and not os.access(path, os.W_OK):
        raise PermissionError(f"{path} may not be written")
    if path.exists() and not path.is_file():  # a device, which is written to as it is
        return
    if not os.access(path.parent, os.W_OK | os.X_OK):
        raise PermissionError(f"nothing may be written into the folder {path.parent}")


def check_folder(path: Path, *, file: bool = False) -> None:
    """ValueError, or an OSError, where no folder is at `path` and none can be made; `file` lets a file be there."""
    if not _seen(path, path.is_dir) and path.exists() and file:
        check_output(path, "what is written")
        return
    nearest = next(place for place in (path, *path.absolute().parents) if place.exists())
    if not nearest.is_dir():
        raise ValueError(f"{nearest} is no folder to write into")
    if not os.access(nearest, os.W_OK | os.X_OK):
        raise PermissionError(f"nothing may be written into the folder {nearest}")


def _seen(path: Path, look: Callable[[], bool]) -> bool:
    """What `look` says of the path; an OSError of one sentence where it cannot be looked at."""
    try:
        return look()
    except OSError as error:  # a name too long, a folder that may not be looked into
        raise OSError(f"{path} cannot be written: {error.strerror}") from None


def check_outputs(outputs: Mapping[str, Path], inputs: Mapping[str, Path]) -> None:
    """What is going to be written, and what is read, by what each is called in a sentence.

    Raises ValueError where a file would take the place of one that is read, or of another one that is written, and
    where it has no folder to be in.
    """
    check_distinct(outputs.items(), inputs.items())
    for name, path in outputs.items():
        check_output(path, name)


def check_given(command: click.Command, values: Mapping[str, Any]) -> None:
    """ValueError where of the paths that a command was given one would be written over another."""
    given: dict[type, list[tuple[str, Path]]] = {Input: [], Output: []}
    for param in command.params:
        kind = next((kind for kind in given if isinstance(param.type, kind)), None)
        if kind is not None:
            value = values.get(param.name or "")
            called = param.opts[-1] if isinstance(param, click.Option) else param.human_readable_name
            paths = value if isinstance(value, tuple) else (value,)
            given[kind] += [(called, path) for path in paths if path is not None and not path.is_dir()]
    check_distinct(given[Output], given[Input])


def check_distinct(outputs: Iterable[tuple[str, Path]], inputs: Iterable[tuple[str, Path]]) -> None:
    """ValueError where a file would take the place of one that is read, or of another one that is written."""
    taken = {key: (name, path) for name, path in inputs for key in _places(path)}
    for name, path in outputs:
        for key in _places(path):
            if key in taken:
                other, place = taken[key]
                raise ValueError(f"{name} would take the place of {other}, {place}: give it another name")
        taken |= dict.fromkeys(_places(path), (name, path))


def _places(path: Path) -> list[object]:
    """What two paths have in common that lead to one file, whatever links and spellings are on the way."""
    found: list[object] = [path.resolve()]
    if path.is_file():
        status = path.stat()
        found.append((status.st_dev, status.st_ino))
    return found
