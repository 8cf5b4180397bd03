"""Pickles of strangers: nothing that one names is imported, called or changed.

A pickle is a program for a small machine with a stack (https://docs.python.org/3/library/pickletools.html). This is
that machine without its arms: what a program calls is only noted, as an `Inert` object, unless it is one of the few
plain things that the reader of a format says how to build. So a pickle can hold what it likes; what is plain is read.
"""

from __future__ import annotations

import pickletools
import sys
from collections.abc import Callable, Iterator, Mapping
from typing import IO, Any

LONGEST = 16 << 20
"""Bytes of the longest text or number; mmengine keeps histories of a million numbers."""
LONGEST_KEPT = 4096
"""Characters of the longest text that is kept: names are shorter, and nothing else is asked for."""
LONGEST_LINE = 1 << 16
LONGEST_NAME = 200

COST = 100
"""Bytes that Python takes for what one instruction may make, beside the instruction's own argument."""


_LONG = (list, tuple, dict, str, bytes, bytearray)


class Inert:
    """What stands for an object that was not built: its class or function by name, and what it was given."""

    __slots__ = ("name", "state")

    def __init__(self, name: str, state: Any = None):
        self.name = name
        self.state = state


class Global(Inert):
    """A class or function that a pickle names."""

    __slots__ = ()


class _Mark:
    """Where on the stack a collection begins."""


_MARK = _Mark()

Build = Callable[..., Any]


class Reader:
    """Reads the pickles in `file`, one a call of `read`.

    `build` says what a function or class, by its full name, makes of its arguments; `load` what a persistent id
    stands for. Both may raise ValueError. `spend` is told how many bytes of memory may have been taken. `unknown`
    holds, in the order in which they came, the names that `build` and `known` do not have.
    """

    def __init__(
        self,
        file: IO[bytes],
        build: Mapping[str, Build],
        known: Callable[[str], bool],
        load: Callable[[Any], Any],
        spend: Callable[[int], None],
    ):
        self.stream = _Stream(file)
        self.build = build
        self.known = known
        self.load = load
        self.spend = spend
        self.unknown: dict[str, None] = {}
        self.stack: list[Any] = []
        self.memo: dict[int, Any] = {}

    def read(self) -> Any:
        """What the next pickle holds; ValueError, in half a sentence, for one that is broken."""
        self.stack, self.memo = [], {}
        try:
            for opcode, argument in self._instructions():
                self.spend(COST + sys.getsizeof(argument))
                if opcode.name == "STOP":
                    return self._pop()
                if opcode.name not in _STEPS:
                    raise ValueError(f"its pickle has a {opcode.name} in it, which no file of weights has")
                _STEPS[opcode.name](self, argument)
        except (IndexError, KeyError, TypeError, AttributeError, UnicodeError, OverflowError) as error:
            raise ValueError(f"its pickle is broken: {error}") from None
        raise ValueError("its pickle has no end")

    def _instructions(self) -> Iterator[tuple[pickletools.OpcodeInfo, Any]]:
        try:
            for opcode, argument, _ in pickletools.genops(self.stream):  # type: ignore[arg-type]  # it asks for no more
                yield opcode, argument
        except ValueError as error:
            raise ValueError(f"its pickle is broken: {error}") from None

    def _pop(self) -> Any:
        value = self.stack.pop()
        if value is _MARK:
            raise ValueError("its pickle is broken: a collection ends twice")
        return value

    def _since_mark(self) -> list[Any]:
        place = len(self.stack) - 1
        while self.stack[place] is not _MARK:
            place -= 1
            if place < 0:
                raise ValueError("its pickle is broken: a collection has no beginning")
        values = self.stack[place + 1 :]
        del self.stack[place:]
        return values

    def _drop_to_mark(self) -> None:
        self._since_mark()

    def _push(self, value: Any) -> None:
        if isinstance(value, (str, bytes, bytearray)) and len(value) > LONGEST_KEPT:
            value = Inert("str")
        self.stack.append(value)

    def _push_collection(self, make: Callable[[list[Any]], Any]) -> None:
        self.stack.append(make(self._since_mark()))

    def _push_tuple(self, length: int) -> None:
        values = [self._pop() for _ in range(length)]
        self.stack.append(tuple(reversed(values)))

    def _append(self, values: list[Any]) -> None:
        into = self.stack[-1]
        if isinstance(into, list):
            into.extend(values)

    def _set_items(self, values: list[Any]) -> None:
        into = self.stack[-1]
        if isinstance(into, dict):
            into.update(_with_names(zip(values[::2], values[1::2])))

    def _remember(self, place: int) -> None:
        self.memo[place] = self.stack[-1]

    def _recall(self, place: int) -> None:
        self.stack.append(self.memo[place])

    def _name(self, module: Any, name: Any) -> None:
        named = isinstance(module, str) and isinstance(name, str)
        full = f"{module[:LONGEST_NAME]}.{name[:LONGEST_NAME]}" if named else "?"
        self.spend(sys.getsizeof(full))
        if full not in self.build and not self.known(full):
            self.unknown[full] = None
        self.stack.append(Global(full))

    def _name_from_stack(self) -> None:
        name, module = self._pop(), self._pop()
        self._name(module, name)

    def _call(self, function: Any, arguments: Any) -> None:
        name = function.name if isinstance(function, Global) else "?"
        build = self.build.get(name)
        if build is not None and isinstance(arguments, tuple):
            # The same long argument may be given again and again.
            self.spend(COST * sum(len(one) for one in arguments if isinstance(one, _LONG)))
            self.stack.append(build(*arguments))
        else:
            self.stack.append(Inert(name))

    def _call_from_stack(self, size: int) -> None:
        """Of `size` things on the stack the first is called with the second; keywords come third."""
        function, arguments, *_ = reversed([self._pop() for _ in range(size)])
        self._call(function, arguments)

    def _call_from_mark(self) -> None:
        function, *arguments = self._since_mark()
        self._call(function, tuple(arguments))

    def _call_named(self, name: str) -> None:
        arguments = self._since_mark()
        self._name(*name.split(" ", 1))
        self._call(self._pop(), tuple(arguments))

    def _set_state(self) -> None:
        state, of = self._pop(), self.stack[-1]
        if type(of) is Inert:
            of.state = state


class _Stream:
    """A file that gives only so much at once."""

    def __init__(self, file: IO[bytes]):
        self.file = file

    def read(self, size: int) -> bytes:
        if size > LONGEST:
            raise ValueError(f"it claims a text of {size} bytes, more than any network needs")
        return self.file.read(size)

    def readline(self) -> bytes:
        return self.file.readline(LONGEST_LINE)


def _with_names(pairs: Any) -> dict[str, Any]:
    """The pairs that are called by a text: nobody asks for others, and to hash those could take for ever."""
    return {name: value for name, value in pairs if isinstance(name, str)}


def plain_dict(pairs: Any = ()) -> dict[str, Any]:
    """What an ordered dict is built from: pairs, or nothing."""
    return _with_names(pair for pair in pairs if isinstance(pair, (list, tuple)) and len(pair) == 2)


_VALUES = (
    "INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT", "UNICODE", "SHORT_BINUNICODE",
    "BINUNICODE", "BINUNICODE8", "STRING", "BINSTRING", "SHORT_BINSTRING", "BINBYTES", "SHORT_BINBYTES", "BINBYTES8",
    "BYTEARRAY8",
)  # fmt: skip  # instructions that push their own argument

_STEPS: dict[str, Callable[[Reader, Any], None]] = {
    **dict.fromkeys(_VALUES, Reader._push),
    "PROTO": lambda self, _: None,
    "FRAME": lambda self, _: None,
    "MARK": lambda self, _: self.stack.append(_MARK),
    "NONE": lambda self, _: self.stack.append(None),
    "NEWTRUE": lambda self, _: self.stack.append(True),
    "NEWFALSE": lambda self, _: self.stack.append(False),
    "EMPTY_LIST": lambda self, _: self.stack.append([]),
    "EMPTY_DICT": lambda self, _: self.stack.append({}),
    "EMPTY_TUPLE": lambda self, _: self.stack.append(()),
    "EMPTY_SET": lambda self, _: self.stack.append(Inert("builtins.set")),
    "LIST": lambda self, _: self._push_collection(list),
    "TUPLE": lambda self, _: self._push_collection(tuple),
    "TUPLE1": lambda self, _: self._push_tuple(1),
    "TUPLE2": lambda self, _: self._push_tuple(2),
    "TUPLE3": lambda self, _: self._push_tuple(3),
    "DICT": lambda self, _: self._push_collection(lambda values: _with_names(zip(values[::2], values[1::2]))),
    "FROZENSET": lambda self, _: self._push_collection(lambda values: Inert("builtins.frozenset")),
    "APPEND": lambda self, _: self._append([self._pop()]),
    "APPENDS": lambda self, _: self._append(self._since_mark()),
    "ADDITEMS": lambda self, _: self._append(self._since_mark()),
    "SETITEM": lambda self, _: self._set_items([self._pop(), self._pop()][::-1]),
    "SETITEMS": lambda self, _: self._set_items(self._since_mark()),
    "POP": lambda self, _: self.stack.pop(),
    "POP_MARK": lambda self, _: self._drop_to_mark(),
    "DUP": lambda self, _: self.stack.append(self.stack[-1]),
    **dict.fromkeys(("PUT", "BINPUT", "LONG_BINPUT"), Reader._remember),
    "MEMOIZE": lambda self, _: self._remember(len(self.memo)),
    **dict.fromkeys(("GET", "BINGET", "LONG_BINGET"), Reader._recall),
    "GLOBAL": lambda self, name: self._name(*name.split(" ", 1)),
    "STACK_GLOBAL": lambda self, _: self._name_from_stack(),
    "REDUCE": lambda self, _: self._call_from_stack(2),
    "NEWOBJ": lambda self, _: self._call_from_stack(2),
    "NEWOBJ_EX": lambda self, _: self._call_from_stack(3),
    "OBJ": lambda self, _: self._call_from_mark(),
    "INST": lambda self, name: self._call_named(name),
    "BUILD": lambda self, _: self._set_state(),
    "PERSID": lambda self, name: self.stack.append(self.load(name)),
    "BINPERSID": lambda self, _: self.stack.append(self.load(self._pop())),
}
"""What the machine does at each of a pickle's instructions."""
