"""Sentences for a word that is not known: which one it was, and which one was probably meant."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping


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
