"""Are the tensors of a network all there, and no others?"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np

Shapes = Mapping[str, tuple[int, ...]]

MOST_NAMED = 8
"""So many tensors of a kind are named in an error."""


def check(shapes: Shapes, expected: Shapes, what: str) -> None:
    """Raise ValueError, listing them, for tensors that `what` does not have, lacks, or has in another shape."""
    unknown = [name for name in shapes if name not in expected]
    missing = [name for name in expected if name not in shapes]
    misshaped = [
        f"{name} is {tuple(shapes[name])} instead of {tuple(shape)}"
        for name, shape in expected.items()
        if name in shapes and tuple(shapes[name]) != tuple(shape)
    ]
    complaints = [
        f"{kind}: {', '.join(names[:MOST_NAMED])}{f' and {len(names) - MOST_NAMED} more' * (len(names) > MOST_NAMED)}"
        for kind, names in (("unknown", unknown), ("missing", missing), ("misshaped", misshaped))
        if names
    ]
    if complaints:
        raise ValueError(f"these tensors are not those of {what}; {'; '.join(complaints)}")


def check_real(dtypes: Iterable[tuple[str, np.dtype]]) -> None:
    """Raise ValueError for a tensor, given by its name and dtype, that holds anything but real numbers."""
    for name, dtype in dtypes:
        if dtype.kind not in "biuf":
            raise ValueError(f"{name} in it has dtype {dtype}, and weights are real numbers")
