"""Rows that pair one module name with another, for every stage and block at once.

`("layer{stage}.{block}.bn1", "res{stage+1}.{block}.conv1.norm")` pairs `layer1.0.bn1` with
`res2.0.conv1.norm`, and so on. A word in braces stands for one part of a name, the same on
both sides; with `+` or `*` it is a number, which stands there times or plus another, and with `...`
all parts from there on.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from functools import cache

Rows = tuple[tuple[str, str], ...]

_PART = re.compile(r"\{(?:(\d+)\*)?(\w+)(\.\.\.)?(?:\+(\d+))?\}")


def rename(module: str, rows: Iterable[tuple[str, str]]) -> str:
    """What `module` is called by the first row that knows it; its own name where none does."""
    for source, target in rows:
        parts = _read(source, module)
        if parts is not None:
            return _write(target, parts)
    return module


def _read(pattern: str, module: str) -> dict[str, str] | None:
    """What each word in the pattern stands for in `module`; None where the pattern does not fit."""
    match = _compile(pattern).fullmatch(module)
    if match is None:
        return None
    parts = {}
    for text, (factor, word, _, offset) in zip(match.groups(), _PART.findall(pattern)):
        if factor or offset:
            number, rest = divmod(int(text) - int(offset or 0), int(factor or 1))
            if rest or number < 0:
                return None
            text = str(number)
        parts[word] = text
    return parts


def _write(pattern: str, parts: Mapping[str, str]) -> str:
    def fill(match: re.Match[str]) -> str:
        factor, word, _, offset = match.groups()
        if factor or offset:
            return str(int(factor or 1) * int(parts[word]) + int(offset or 0))
        return parts[word]

    return _PART.sub(fill, pattern)


@cache
def _compile(pattern: str) -> re.Pattern[str]:
    fixed = _PART.split(pattern)[:: _PART.groups + 1]
    words = [
        r"([0-9]{1,6})" if factor or offset else "(.+)" if rest else "([A-Za-z0-9]+)"
        for factor, _, rest, offset in _PART.findall(pattern)
    ]
    return re.compile("".join(re.escape(text) + word for text, word in zip(fixed, [*words, ""])))
