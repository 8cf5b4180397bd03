"""Models by name: `create_model`, and one builder for each published variant."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np

from resnest.backends.builders import builders, keywords_of
from resnest.backends.choose import choose
from resnest.backends.vocabulary import feature_options, sort_arguments
from resnest.gluon.networks.detection import create_detector
from resnest.gluon.networks.resnest import ResNeSt, ResNeStFeatures
from resnest.gluon.networks.segmentation import create_segmenter
from resnest.gluon.weights import filled
from resnest.specs.arguments import unexpected
from resnest.specs.detection.network import DetectionSpec
from resnest.specs.networks import find
from resnest.specs.published import get_spec
from resnest.specs.segmentation.network import SegmentationSpec

__all__ = [
    "create_model",
    "get_model",
    "resnest14",
    "resnest26",
    "resnest50",
    "resnest50_fast_1s1x64d",
    "resnest50_fast_1s2x40d",
    "resnest50_fast_1s4x24d",
    "resnest50_fast_2s1x64d",
    "resnest50_fast_2s2x40d",
    "resnest50_fast_4s1x64d",
    "resnest50_fast_4s2x40d",
    "resnest101",
    "resnest200",
    "resnest269",
]

OPTIONS = (
    "norm_layer",
    "norm_kwargs",
    "use_global_stats",
    "final_drop",
    "dropblock_prob",
    "drop_path_prob",
    "last_gamma",
    "split_drop_ratio",
    "dropblock_place",
    "dropblock_mask",
)

ELSEWHERE = {"device": "ctx"}


OTHER_TASKS: dict[type, Callable[..., Any]] = {
    SegmentationSpec: create_segmenter,
    DetectionSpec: create_detector,
}
"""Kind of spec -> the function that builds such a network by name, where that is no classifier."""


def create_model(
    name: str,
    *,
    classes: int | None = None,
    pretrained: bool | str = False,
    root: str | os.PathLike | None = None,
    weights: Mapping[str, np.ndarray] | str | os.PathLike | None = None,
    which: str | None = None,
    features_only: bool = False,
    out_indices: int | Sequence[int] | None = None,
    ctx: Any = None,
    **changes: Any,
) -> ResNeSt:
    """The model called `name`, on the context or contexts `ctx`, with freshly drawn, published or given weights.

    `pretrained` asks for published weights: of one source in `resnest.weights.published.pretrained`, or of
    the first that has them. They are kept in the folder `root`. `weights` are canonical arrays or
    a weight file, `which` of its networks as in `resnest.weights.load`. Either kind is adapted to the
    `in_channels` and `num_classes` that are asked for.

    `features_only` gives a backbone that returns the feature maps of `out_indices` (0 the stem, 1 to
    4 the stages, -1 the last; a number for so many of the last; without it the stages). `changes` are fields of
    `resnest.ResNeStSpec` and options of `ResNeSt`; the authors' `dilated` and `dilation` and timm's words work too.
    `classes` is Gluon's word for `num_classes`.

    The name of a published network of another task gives that, as `create_segmenter` or `create_detector` builds it.

    Raises ValueError for an unknown name, for values that make no network and for weights that
    are not its own, OSError for weights that cannot be downloaded, and TypeError for an unknown word.
    """
    if classes is not None:
        changes["num_classes"] = classes
    other = OTHER_TASKS.get(type(find(name)))
    if other is not None:
        words = {"pretrained": pretrained, "root": root, "features_only": features_only, "out_indices": out_indices}
        words |= {"which": which}
        given = {word: value for word, value in words.items() if value}
        return other(name, weights=weights, ctx=ctx, **changes, **given)
    changes, options = sort_arguments(name, changes, OPTIONS, ELSEWHERE)
    spec = get_spec(name, **changes)
    options |= feature_options(features_only, out_indices)
    arrays = choose(spec, pretrained, weights, root, asked=changes, headless=features_only, which=which)
    network = ResNeStFeatures if features_only else ResNeSt
    model: ResNeSt = filled(partial(network, spec, **options), arrays, ctx=ctx, copy=isinstance(weights, Mapping))
    return model


@keywords_of(create_model)
def get_model(name: str, **kwargs: Any) -> ResNeSt:
    """The model called `name`, as Gluon's model zoo spells it: `create_model` with Gluon's own `classes`."""
    if "num_classes" in kwargs:
        raise TypeError(unexpected(name, "num_classes", (), {"num_classes": "classes"}))
    return create_model(name, **kwargs)


published = builders(get_model)

resnest14 = published("resnest14")
resnest26 = published("resnest26")
resnest50 = published("resnest50")
resnest101 = published("resnest101")
resnest200 = published("resnest200")
resnest269 = published("resnest269")
resnest50_fast_1s1x64d = published("resnest50_fast_1s1x64d")
resnest50_fast_2s1x64d = published("resnest50_fast_2s1x64d")
resnest50_fast_4s1x64d = published("resnest50_fast_4s1x64d")
resnest50_fast_1s2x40d = published("resnest50_fast_1s2x40d")
resnest50_fast_2s2x40d = published("resnest50_fast_2s2x40d")
resnest50_fast_4s2x40d = published("resnest50_fast_4s2x40d")
resnest50_fast_1s4x24d = published("resnest50_fast_1s4x24d")
