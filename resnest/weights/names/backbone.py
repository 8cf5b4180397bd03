"""The dialects in which the weights of ResNeSt backbones and classifiers exist. Canonical is `torch`."""

from __future__ import annotations

from collections.abc import Iterable

from resnest.specs.resnest import ResNeStSpec
from resnest.weights.names.dialect import Dialect, get

_GLUON_NORM = {"weight": "gamma", "bias": "beta"}

_SYMBOL_STEM = (
    ("conv1.0", "conv0"),
    ("conv1.1", "batchnorm0"),
    ("conv1.3", "conv1"),
    ("conv1.4", "batchnorm1"),
    ("conv1.6", "conv2"),
    ("bn1", "batchnorm2"),
)

_OPENMMLAB = (("bn1", "stem.7"), ("conv1.{n}", "stem.{n}"))

DIALECTS: dict[str, Dialect] = {
    dialect.name: dialect
    for dialect in (
        Dialect(
            "gluon",  # structural names: the authors' and GluonCV's `save_parameters`
            signs=("layer1.0.conv2.bn.gamma",),
            modules=(("layer{stage}.{block}.conv2.bn0", "layer{stage}.{block}.conv2.bn"),),
            norm=_GLUON_NORM,
            any_form=True,
        ),
        Dialect(
            "symbol",  # what `export` writes for a network of `resnest.gluon`
            signs=("layer1_0_splitattention0_conv0_weight",),
            prefix="resnest0_",
            modules=(
                *_SYMBOL_STEM,
                ("layer{stage}.{block}.conv1", "layer{stage}_{block}_conv0"),
                ("layer{stage}.{block}.bn1", "layer{stage}_{block}_batchnorm0"),
                ("layer{stage}.{block}.conv2.conv", "layer{stage}_{block}_splitattention0_conv0"),
                ("layer{stage}.{block}.conv2.bn0", "layer{stage}_{block}_splitattention0_batchnorm0"),
                ("layer{stage}.{block}.conv2.fc1", "layer{stage}_{block}_splitattention0_conv1"),
                ("layer{stage}.{block}.conv2.bn1", "layer{stage}_{block}_splitattention0_batchnorm1"),
                ("layer{stage}.{block}.conv2.fc2", "layer{stage}_{block}_splitattention0_conv2"),
                ("layer{stage}.{block}.conv3", "layer{stage}_{block}_conv1"),
                ("layer{stage}.{block}.bn3", "layer{stage}_{block}_batchnorm1"),
                ("layer{stage}.{block}.downsample.1", "layer{stage}_{block}_conv2"),
                ("layer{stage}.{block}.downsample.2", "layer{stage}_{block}_batchnorm2"),
                ("fc", "dense0"),
            ),
            norm=_GLUON_NORM,
            symbol=True,
        ),
        Dialect(
            "gluoncv_symbol",  # what it writes for one of the authors' and GluonCV's, which count through a stage
            signs=("layers1_conv0_weight",),
            prefix="resnest_",
            modules=(
                *_SYMBOL_STEM,
                ("layer{stage}.{block}.conv1", "layers{stage}_conv{5*block}"),
                ("layer{stage}.{block}.bn1", "layers{stage}_batchnorm{4*block}"),
                ("layer{stage}.{block}.conv2.conv", "layers{stage}_conv{5*block+1}"),
                ("layer{stage}.{block}.conv2.bn0", "layers{stage}_batchnorm{4*block+1}"),
                ("layer{stage}.{block}.conv2.fc1", "layers{stage}_conv{5*block+2}"),
                ("layer{stage}.{block}.conv2.bn1", "layers{stage}_batchnorm{4*block+2}"),
                ("layer{stage}.{block}.conv2.fc2", "layers{stage}_conv{5*block+3}"),
                ("layer{stage}.{block}.conv3", "layers{stage}_conv{5*block+4}"),
                ("layer{stage}.{block}.bn3", "layers{stage}_batchnorm{4*block+3}"),
                ("layer{stage}.0.downsample.1", "down{stage}_conv0"),
                ("layer{stage}.0.downsample.2", "down{stage}_batchnorm0"),
                ("fc", "dense0"),
            ),
            norm=_GLUON_NORM,
            symbol=True,
        ),
        Dialect(
            "detectron2",  # the authors' fork of it
            signs=("stem.conv1_1.weight",),
            modules=(
                ("conv1.0", "stem.conv1_1"),
                ("conv1.1", "stem.conv1_1.norm"),
                ("conv1.3", "stem.conv1_2"),
                ("conv1.4", "stem.conv1_2.norm"),
                ("conv1.6", "stem.conv1_3"),
                ("bn1", "stem.conv1_3.norm"),
                ("layer{stage}.{block}.conv1", "res{stage+1}.{block}.conv1"),
                ("layer{stage}.{block}.bn1", "res{stage+1}.{block}.conv1.norm"),
                ("layer{stage}.{block}.conv2.{part}", "res{stage+1}.{block}.conv2.{part}"),
                ("layer{stage}.{block}.conv3", "res{stage+1}.{block}.conv3"),
                ("layer{stage}.{block}.bn3", "res{stage+1}.{block}.conv3.norm"),
                ("layer{stage}.{block}.downsample.1", "res{stage+1}.{block}.shortcut"),
                ("layer{stage}.{block}.downsample.2", "res{stage+1}.{block}.shortcut.norm"),
                ("fc", "linear"),
            ),
        ),
        Dialect(
            "mmpretrain",
            signs=("stem.0.conv.weight",),
            prefix="backbone.",
            modules=(
                ("conv1.0", "stem.0.conv"),
                ("conv1.1", "stem.0.bn"),
                ("conv1.3", "stem.1.conv"),
                ("conv1.4", "stem.1.bn"),
                ("conv1.6", "stem.2.conv"),
                ("bn1", "stem.2.bn"),
            ),
            outside={"fc": "head.fc"},
            bare_shortcuts=True,
        ),
        Dialect("sssegmentation", signs=("backbone_net.stem.0.weight",), prefix="backbone_net.", modules=_OPENMMLAB),
        Dialect(
            "openmmlab",  # mmdetection and mmsegmentation
            signs=("stem.0.weight",),
            prefix="backbone.",
            modules=_OPENMMLAB,
            outside={"fc": "head.fc"},
        ),
        Dialect(
            "smp_timm",  # segmentation-models-pytorch where its encoder is timm's, as it always is since 0.5
            signs=("encoder.model.layer1.0.conv2.conv.weight",),
            prefix="encoder.model.",
            any_form=True,
        ),
        Dialect(
            "smp",  # and before
            signs=("encoder.layer1.0.conv2.conv.weight",),
            prefix="encoder.",
            any_form=True,
        ),
        Dialect("torch", signs=("layer1.0.conv2.conv.weight",), any_form=True),
    )
}
"""Every dialect, in the order in which their signs are looked for."""

CANONICAL = "torch"
"""The dialect whose names are the canonical ones."""

ALIASES = {"timm": "torch", "mmdetection": "openmmlab", "mmsegmentation": "openmmlab"}
"""Libraries whose names are those of another dialect, to the letter."""


def get_dialect(name: str, spec: ResNeStSpec | None = None) -> Dialect:
    """The dialect called `name`; ValueError for one that does not exist. It is the same for every `spec`."""
    dialect = get(DIALECTS.values(), ALIASES, name)
    if dialect is None:
        raise ValueError(f"there is no dialect {name!r}; known are {', '.join([*DIALECTS, *ALIASES])}")
    return dialect


def detect_dialect(names: Iterable[str]) -> Dialect:
    """The dialect that `names` are written in; ValueError where no ResNeSt is named like that."""
    names = list(names)
    for dialect in DIALECTS.values():
        if dialect.speaks(names):
            return dialect
    shown = ", ".join(names[:3]) or "none"
    raise ValueError(
        f"its {len(names)} tensors ({shown}{', ...' if len(names) > 3 else ''}) are no ResNeSt's:"
        f" the names fit none of the dialects {', '.join(DIALECTS)}"
    )
