"""One builder for each published variant, out of a backend's function that builds a model by name."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, Concatenate, ParamSpec, TypeVar, cast

from resnest.specs.published import get_spec
from resnest.specs.resnest import ResNeStSpec

P = ParamSpec("P")
Model = TypeVar("Model")


def builders(create: Callable[Concatenate[str, P], Model]) -> Callable[[str], Callable[P, Model]]:
    """From a published network's name to the function that builds it, with the keywords of `create`."""
    _, *keywords = inspect.signature(create).parameters.values()

    def published(name: str) -> Callable[P, Model]:
        def build(*args: P.args, **kwargs: P.kwargs) -> Model:
            return create(name, *args, **kwargs)

        build.__name__ = build.__qualname__ = name
        build.__module__ = create.__module__
        build.__doc__ = _describe(get_spec(name), create.__name__)
        return _signed(build, inspect.Signature(keywords))

    return published


def keywords_of(create: Callable[P, Model]) -> Callable[[Callable[..., Model]], Callable[P, Model]]:
    """Give a function that hands all its keywords on to `create` the signature of that."""
    return lambda function: cast(Callable[P, Model], _signed(function, inspect.signature(create)))


def _signed(function: Any, signature: inspect.Signature) -> Any:
    function.__signature__ = signature  # what `inspect` and `help` show
    return function


def _describe(spec: ResNeStSpec, create: str) -> str:
    depths = ", ".join(map(str, spec.stage_depths))
    return (
        f"{spec.name}: stages of {depths} blocks; radix {spec.radix}, cardinality {spec.cardinality},"
        f" bottleneck width {spec.bottleneck_width}; published at {spec.image_size}x{spec.image_size} pixels.\n\n"
        f"It takes the keywords of `{create}`."
    )
