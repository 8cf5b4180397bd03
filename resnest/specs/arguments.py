"""Sentences for a word that is not known: which one it was, and which one was probably meant."""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Iterable, Mapping
from typing import Any, TypeVar

Spec = TypeVar("Spec")


def closest(word: str, known: Iterable[str]) -> str:
    """Say which of the `known` words come closest to `word`."""
    known = list(known)
    near = difflib.get_close_matches(word, known, n=3, cutoff=0.5)
    if near:
        return f"did you mean {' or '.join(near)}?"
    return f"known are {', '.join(known)}"


def unexpected(function: str, word: str, known: Iterable[str], elsewhere: Mapping[str, str] | None = None) -> str:
    """Say that `function` takes no argument `word`.

    `elsewhere` maps words that are right in another framework to what to say here instead.
    """
    if elsewhere and word in elsewhere:
        return f"{function} takes no argument {word!r}: here it is {elsewhere[word]}"
    return f"{function} takes no argument {word!r}; {closest(word, known)}"


def with_changes(spec: Spec, name: str, changes: Mapping[str, Any]) -> Spec:
    """`spec`, which was asked for as `name`, with the fields in `changes` replaced.

    Raises TypeError, with the closest right word, for a field that it does not have.
    """
    fields = [field.name for field in dataclasses.fields(spec)]  # type: ignore[arg-type]  # specs are dataclasses
    for change in changes:
        if change not in fields:
            raise TypeError(unexpected(f"the spec of {name}", change, fields))
    return dataclasses.replace(spec, **changes)  # type: ignore[type-var]
