"""The published segmentation networks by name."""

from __future__ import annotations

from typing import Any

from resnest.specs.arguments import closest, with_changes
from resnest.specs.segmentation.network import SegmentationSpec

CLASSES = {"cityscapes": 19, "ade20k": 150, "voc": 21}
"""The data sets, and how many classes each has."""

_HEADS_OF = {"fcn": "fcn", "pspnet": "psp", "deeplabv3": "aspp", "deeplabv3plus": "aspp_sep"}


def _mmsegmentation(method: str, dataset: str) -> SegmentationSpec:
    name = f"{method}_resnest101_{dataset}"
    return SegmentationSpec(name, _HEADS_OF[method], CLASSES[dataset], dataset=dataset)


def _sssegmentation(method: str, dataset: str) -> SegmentationSpec:
    # Only mmsegmentation published the other two data sets' networks without a toolbox in the name.
    name = f"{method}_resnest101_{dataset}{'' if dataset == 'voc' else '_ssseg'}"
    return SegmentationSpec(
        name,
        _HEADS_OF[method],
        CLASSES[dataset],
        auxiliary_channels=512,
        joins_input=False,
        pooled_first=False,
        dataset=dataset,
    )


SEGMENTATION_VARIANTS: dict[str, SegmentationSpec] = {
    spec.name: spec
    for spec in (
        *(_mmsegmentation(method, dataset) for dataset in ("cityscapes", "ade20k") for method in _HEADS_OF),
        *(_sssegmentation(method, dataset) for dataset in ("voc", "ade20k", "cityscapes") for method in _HEADS_OF),
    )
}
"""The published segmentation networks, by name."""


def list_segmentation_models() -> list[str]:
    """Names of the published segmentation networks."""
    return list(SEGMENTATION_VARIANTS)


def get_segmentation_spec(name: str, **changes: Any) -> SegmentationSpec:
    """The segmentation spec called `name`, with the fields in `changes` replaced.

    Raises ValueError for a name nobody published or for values that make no network, and
    TypeError for a field that a spec does not have; each names the closest right word.
    """
    spec = SEGMENTATION_VARIANTS.get(name)
    if spec is None:
        raise ValueError(f"there is no segmentation model called {name!r}; {closest(name, SEGMENTATION_VARIANTS)}")
    return with_changes(spec, name, changes)
