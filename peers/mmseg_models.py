"""mmsegmentation's networks by its own configs, with its backbone or with ours."""

from pathlib import Path

import mmseg
from mmengine.config import Config, ConfigDict
from mmengine.registry import init_default_scope
from mmseg.registry import MODELS

CONFIGS = Path(mmseg.__file__).parent / ".mim" / "configs" / "resnest"


def config(method, dataset):
    (path,) = CONFIGS.glob(f"resnest_s101-d8_{method}_*_{dataset}*.py")
    model = Config.fromfile(path).model
    model.pretrained = None
    for part in (model.backbone, model.decode_head, model.auxiliary_head):
        part.norm_cfg = ConfigDict(type="BN", requires_grad=True)
    model.data_preprocessor = None
    return model


def build(model):
    init_default_scope("mmseg")
    return MODELS.build(model)


def our_backbone(**changes):
    model = config("fcn", "cityscapes")
    model.backbone = ConfigDict(
        {
            "type": "resnest.ResNeSt",
            "name": "resnest14",
            "output_stride": 8,
            "norm_cfg": {"type": "BN", "requires_grad": True},
        }
        | changes
    )
    return model
