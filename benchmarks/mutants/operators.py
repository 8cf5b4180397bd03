"""Mutations that `cosmic-ray` lacks: a call, a keyword or a statement that is left out."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from cosmic_ray.operators.operator import Example, Operator
from parso.python.tree import Name

Positions = Iterator[tuple[tuple[int, int], tuple[int, int]]]


class UnwrapCall(Operator):
    """`f(x, ...)` becomes `x`, but for classes: a layer, an activation or a conversion is gone."""

    def mutation_positions(self, node: Any) -> Positions:
        if node.type == "atom_expr" and first_argument(node.children[-1]) and not node.get_code(False)[0].isupper():
            yield node.start_pos, node.end_pos

    def mutate(self, node: Any, index: int) -> Any:
        argument = first_argument(node.children[-1])
        return replaced(node, f"({argument.get_code(include_prefix=False)})")

    @classmethod
    def examples(cls) -> tuple[Example, ...]:
        return (Example("y = f(x, 2)", "y = (x)"),)


class DropKeyword(Operator):
    """`f(x, y=1)` becomes `f(x)`: what was asked for is left to its default."""

    def mutation_positions(self, node: Any) -> Positions:
        if node.type == "argument" and node.children[1] == "=":
            yield node.start_pos, node.end_pos

    def mutate(self, node: Any, index: int) -> Any:
        return replaced(node, "**{}")

    @classmethod
    def examples(cls) -> tuple[Example, ...]:
        return (Example("f(x, y=1)", "f(x, **{})"),)


class DropStatement(Operator):
    """A statement that calls, raises or adds to something becomes `pass`."""

    def mutation_positions(self, node: Any) -> Positions:
        augments = node.type == "expr_stmt" and node.children[1].type == "operator" and node.children[1] != "="
        if node.parent and node.parent.type == "simple_stmt" and (augments or node.type in ("atom_expr", "raise_stmt")):
            yield node.start_pos, node.end_pos

    def mutate(self, node: Any, index: int) -> Any:
        return replaced(node, "pass")

    @classmethod
    def examples(cls) -> tuple[Example, ...]:
        return (Example("f(x)", "pass"),)


OPERATORS = {kind.__name__: kind for kind in (UnwrapCall, DropKeyword, DropStatement)}


def first_argument(trailer: Any) -> Any:
    """The first argument of a call where it is given by place; None of anything else."""
    if trailer.type != "trailer" or trailer.children[0] != "(" or len(trailer.children) < 3:
        return None
    inside = trailer.children[1]
    first = inside.children[0] if inside.type == "arglist" else inside
    return None if first.type == "argument" else first


def replaced(node: Any, code: str) -> Any:
    """A leaf of `code` in the place of `node`, with the white space in front of it."""
    return Name(code, node.start_pos, prefix=node.get_first_leaf().prefix)
