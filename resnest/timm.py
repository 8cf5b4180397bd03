"""Our networks in timm's registry: importing this module registers them under our names.

`timm.create_model("resnest50", pretrained=True)` then gives ours, as do timm's training scripts, smp's `tu-` encoders
and whatever else takes a name of timm's (`features_only=True` gives timm's own feature wrapper, index 0 at stride
2). Behind a dot stands whose weights are meant: `resnest50.authors-torch`, `resnest50.timm`,
`resnest50.authors-gluon`; without one the first of these that there is.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from resnest.backends.contract import default_cfg
from resnest.specs.published import get_spec, list_models
from resnest.specs.resnest import check_out_indices
from resnest.torch.builders import create_model
from resnest.weights.published.pretrained import CHECKPOINTS, Checkpoint

try:
    from timm.layers import get_norm_layer
    from timm.models import build_model_with_cfg, generate_default_cfgs, register_model
except ModuleNotFoundError as error:
    raise ImportError(f"resnest.timm needs timm, and {error.name} is not installed: pip install timm") from error

SOURCE_KEYS = ("url", "file", "state_dict", "hf_hub_id")
"""With one of these in its `pretrained_cfg` a user brings weights that timm itself is to load."""


def published_cfg(row: Checkpoint) -> dict[str, Any]:
    """timm's description of a published file, and how its photos were prepared."""
    cfg = default_cfg(get_spec(row.variant))
    prepared = row.preparation
    cfg |= {"crop_pct": round(prepared.share, 4), "interpolation": prepared.resampling.rpartition("-")[-1]}
    where = {"hf_hub_id": f"timm/{row.name}"} if row.source == "timm" else {"url": row.address}
    return cfg | where | {"paper_ids": "arXiv:2004.08955", "origin_url": "https://github.com/zhanghang1989/ResNeSt"}


default_cfgs = generate_default_cfgs({f"{row.variant}.{row.source}": published_cfg(row) for row in CHECKPOINTS})
"""What timm's registry reads: every published checkpoint."""


def build(
    variant: str,
    pretrained: bool = False,
    pretrained_cfg: Any = None,
    pretrained_cfg_overlay: dict[str, Any] | None = None,
    cache_dir: Any = None,
    device: Any = None,
    dtype: Any = None,
    **options: Any,
) -> Any:
    """timm's way to build `variant`: published weights are downloaded and checked as everywhere in this package."""
    given = pretrained_cfg if isinstance(pretrained_cfg, dict) else {}
    brought = any((given | (pretrained_cfg_overlay or {})).get(key) for key in SOURCE_KEYS)
    source = pretrained_cfg if isinstance(pretrained_cfg, str) and pretrained_cfg else True

    if options.get("features_only") and options.get("out_indices") is not None:  # timm's end is an IndexError
        options["out_indices"] = check_out_indices(options["out_indices"])
    if isinstance(options.get("norm_layer"), str):
        options["norm_layer"] = get_norm_layer(options["norm_layer"])

    def network(**options: Any) -> Any:
        wanted = source if pretrained and not brought else False
        return create_model(variant, pretrained=wanted, root=cache_dir, **options).to(device=device, dtype=dtype)

    return build_model_with_cfg(
        network,
        variant,
        pretrained and brought,
        pretrained_cfg=pretrained_cfg,
        pretrained_cfg_overlay=pretrained_cfg_overlay,
        cache_dir=cache_dir,
        **options,
    )


def entry(variant: str) -> Callable[..., Any]:
    """The function under whose name timm's registry has `variant`."""

    def function(pretrained: bool = False, **options: Any) -> Any:
        return build(variant, pretrained, **options)

    function.__name__ = function.__qualname__ = variant
    function.__doc__ = f"{variant}, as `resnest.torch.create_model` builds it, for timm's `create_model`."
    return function


for name in list_models():
    register_model(entry(name))
