"""Our backbone in OpenMMLab's configs: `custom_imports = dict(imports=["resnest.openmmlab"])`.

Then `backbone=dict(type="resnest.ResNeSt", name="resnest101", output_stride=8)` builds it, in
mmsegmentation and every other toolbox that stands on mmengine.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from torch import Tensor, nn

from resnest.specs.arguments import closest
from resnest.specs.published import get_spec
from resnest.specs.resnest import ResNeStSpec
from resnest.specs.with_backbone import STEM
from resnest.torch.layers.basic import BatchNorm
from resnest.torch.networks.resnest import ResNeStFeatures
from resnest.torch.weights import load_weights
from resnest.weights import load
from resnest.weights.published.pretrained import download

try:
    from mmengine.model import BaseModule, initialize
    from mmengine.registry import MODELS as MMENGINE_MODELS
    from mmengine.registry import Registry
except ModuleNotFoundError as error:
    raise ImportError(f"resnest.openmmlab needs mmengine, and {error.name} is not installed") from error

MODELS = Registry("model", parent=MMENGINE_MODELS, scope="resnest", locations=["resnest.openmmlab"])

_NORMS: dict[str, Callable[..., nn.Module]] = {
    "BN": BatchNorm,
    "BN2d": BatchNorm,
    "SyncBN": partial(nn.SyncBatchNorm, **BatchNorm.keywords),
    "GN": lambda channels, **options: nn.GroupNorm(num_channels=channels, **options),
}

PUBLISHED = "open-mmlab://"
"""Before the name of a network, this asks for its published weights."""


@MODELS.register_module()
class ResNeSt(ResNeStFeatures, BaseModule):
    """A ResNeSt backbone: (N, in_channels, H, W) -> a tuple of the feature maps of `out_indices`, 0 to 3 the stages.

    `weights` is a file that `resnest.weights.load` opens, or its arrays; `init_cfg` of type `Pretrained` names
    a file too, or published weights (`open-mmlab://resnest50`), and of any other type is mmengine's. `which` of a
    trainer's file is taken, "ema" its running average or "model", goes as in `resnest.weights.load`. `norm_cfg`,
    `frozen_stages` (0 the stem, 1 to 4 the stages up to that one) and `norm_eval` are as in
    OpenMMLab's backbones; `changes` are fields of `resnest.ResNeStSpec`. A dilated stage pools as
    in OpenMMLab's ResNeSt unless `dilated_pooling="authors"` is asked for. Checkpoints with
    OpenMMLab's own names load as they are.
    """

    weights: str | Mapping[str, Any] | None = None

    def __init__(
        self,
        name: str = "resnest101",
        out_indices: Sequence[int] = (0, 1, 2, 3),
        weights: str | Mapping[str, Any] | None = None,
        which: str | None = None,
        norm_cfg: Mapping[str, Any] | None = None,
        frozen_stages: int = -1,
        norm_eval: bool = False,
        pretrained: str | None = None,
        init_cfg: Any = None,
        **changes: Any,
    ):
        spec = get_spec(name, **{"dilated_pooling": "openmmlab"} | changes)
        norm_cfg = dict(norm_cfg or {"type": "BN"})
        super().__init__(spec, out_indices=[index + 1 for index in out_indices], norm_layer=_norm_layer(norm_cfg))
        self.init_cfg = init_cfg
        self.weights = weights if pretrained is None else pretrained
        self.which = which
        self.frozen_stages = frozen_stages
        self.norm_eval = norm_eval
        if not norm_cfg.get("requires_grad", True):
            for name, scale in self.named_parameters():
                if isinstance(
                    self.get_submodule(name.rpartition(".")[0]), (nn.modules.batchnorm._BatchNorm, nn.GroupNorm)
                ):
                    scale.requires_grad_(False)
        for part in self.frozen():
            part.requires_grad_(False)
        if self.weights is not None:
            self.init_weights()
        self._register_load_state_dict_pre_hook(_rename_stem)

    def init_weights(self, last_gamma: bool | None = None) -> None:
        """Draw fresh weights, or load what `weights` or `init_cfg` names: what mmengine calls before training."""
        super().init_weights(last_gamma)
        if self.weights is not None:
            load_weights(self, _arrays(self.weights, self.which))
        for step in [self.init_cfg] if isinstance(self.init_cfg, Mapping) else self.init_cfg or []:
            if step["type"] == "Pretrained":
                load_weights(self, _arrays(step["checkpoint"], self.which))
            else:
                initialize(self, step)

    @classmethod
    def from_spec(cls, spec: ResNeStSpec, **options: Any) -> ResNeSt:
        return cls(**options | dataclasses.asdict(spec))

    def rebuilt(self, spec: ResNeStSpec) -> ResNeSt:
        return self.from_spec(spec, out_indices=[index - 1 for index in self.out_indices])

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:  # type: ignore[override]  # as OpenMMLab's backbones do
        return tuple(super().forward(x))

    def norms(self) -> list[nn.Module]:
        """The batch norms, also those that mmengine put in the place of synchronised ones."""
        return [module for module in self.modules() if isinstance(module, nn.modules.batchnorm._BatchNorm)]

    def frozen(self) -> list[nn.Module]:
        """The parts that do not learn."""
        if self.frozen_stages < 0:
            return []
        return [self.conv1, self.bn1, *(getattr(self, f"layer{stage}") for stage in range(1, self.frozen_stages + 1))]

    def train(self, mode: bool = True) -> ResNeSt:
        super().train(mode)
        if mode and hasattr(self, "norm_eval"):
            for module in [*self.frozen(), *(self.norms() if self.norm_eval else [])]:
                module.eval()
        return self


def _norm_layer(norm_cfg: Mapping[str, Any]) -> Any:
    options = {word: value for word, value in norm_cfg.items() if word not in ("type", "requires_grad")}
    if norm_cfg["type"] not in _NORMS:
        raise ValueError(f"there is no norm {norm_cfg['type']!r} for ResNeSt; {closest(norm_cfg['type'], _NORMS)}")
    return partial(_NORMS[norm_cfg["type"]], **options)


def _arrays(weights: str | Mapping[str, Any], which: str | None) -> Mapping[str, Any]:
    """The arrays of published weights, of `which` of a file's networks, or those that were given."""
    if not isinstance(weights, str):
        return weights
    path = download(weights.removeprefix(PUBLISHED)) if weights.startswith(PUBLISHED) else weights
    return load(path, backbone=True, which=which)


def _rename_stem(state: dict[str, Tensor], prefix: str, *rest: Any) -> None:
    """OpenMMLab's names of the stem become ours, in a state dict on its way in."""
    theirs = {f"{prefix}{module}": f"{prefix}{ours}" for ours, module in STEM.items()}
    for name in list(state):
        module, _, tensor = name.rpartition(".")
        if module in theirs:
            state[f"{theirs[module]}.{tensor}"] = state.pop(name)
