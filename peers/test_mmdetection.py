"""Our detectors against mmdetection's own: what they find, what they learn from, what they see of a photo."""

import re
from copy import deepcopy
from pathlib import Path

import mmdet
import numpy as np
import pytest
import torch
from mmdet.models.roi_heads.mask_heads import fcn_mask_head
from mmdet.models.task_modules.samplers import RandomSampler
from mmdet.registry import MODELS, TRANSFORMS
from mmdet.structures import DetDataSample
from mmdet.structures.mask import PolygonMasks
from mmengine.config import Config
from mmengine.dataset import Compose
from mmengine.registry import init_default_scope
from mmengine.runner import save_checkpoint
from mmengine.structures import InstanceData
from PIL import Image

from resnest import list_detection_models
from resnest.data.detection import prepare
from resnest.specs.detection.network import FAMILIES
from resnest.specs.detection.published import get_detection_spec
from resnest.torch import create_detector
from resnest.torch.networks.detection import training
from resnest.torch.weights import canonical_names
from resnest.weights.seeded import make_input, make_weight

CONFIGS = Path(mmdet.__file__).parent / ".mim/configs/resnest"
NARROW = {"channels": 32, "hidden": 64}
FRAMES = [(64, 96), (40, 60)]


def config_of(family, depth=50):
    """The published config, with norms that run on one processor."""
    (path,) = CONFIGS.glob(f"{family.replace('_', '-')}_s{depth}_*")
    config = Config.fromfile(path)
    config.model.backbone.init_cfg = None
    return changed(config, "norm_cfg", lambda norm: norm and {"type": "BN", "requires_grad": True})


def narrow(config):
    """The same with narrower heads."""
    for key in ("in_channels", "feat_channels", "out_channels", "conv_out_channels"):
        changed(config.model, key, lambda number: NARROW["channels"] if number == 256 else number)
    config.model.neck.in_channels = [256, 512, 1024, 2048]
    changed(config.model, "fc_out_channels", lambda number: NARROW["hidden"])
    return config


def changed(config, key, change):
    """The config with `change` made to whatever is called `key` in it."""
    for part in config.values() if isinstance(config, dict) else config:
        if isinstance(part, (dict, list)):
            changed(part, key, change)
    if isinstance(config, dict) and key in config:
        config[key] = change(config[key])
    return config


@pytest.mark.parametrize("name", list_detection_models())
def test_a_checkpoint_of_mmdetection_is_ours_tensor_by_tensor(name, tmp_path):
    init_default_scope("mmdet")
    family, depth = re.fullmatch(r"(.*)_resnest(\d+)_coco", name).groups()
    theirs = MODELS.build(config_of(family, depth).model)
    save_checkpoint({"meta": {"epoch": 12}, "state_dict": theirs.state_dict()}, str(tmp_path / "epoch_12.pth"))
    expected = {key: tensor for key, tensor in theirs.state_dict().items() if tensor.is_floating_point()}
    ours = create_detector(name, weights=tmp_path / "epoch_12.pth")
    assert list(ours.spec.tensors().items()) == [(key, tuple(tensor.shape)) for key, tensor in expected.items()]
    state, names = ours.state_dict(), canonical_names(ours)
    assert all(torch.equal(state[key], expected[canonical]) for key, canonical in names.items())


@pytest.fixture(scope="module", params=[*((family, 50) for family in FAMILIES), ("cascade_mask_rcnn", 101)], ids=str)
def pair(request):
    """mmdetection's network and ours, with the same weights, in float64."""
    init_default_scope("mmdet")
    family, depth = request.param
    theirs = MODELS.build(narrow(config_of(family, depth)).model)
    weights = {
        name: make_weight(name, tuple(t.shape)) for name, t in theirs.state_dict().items() if t.is_floating_point()
    }
    theirs.load_state_dict({name: torch.from_numpy(array) for name, array in weights.items()}, strict=False)
    ours = create_detector(f"{family}_resnest{depth}_coco", weights=weights, **NARROW)
    return theirs.double(), ours.double()


@pytest.fixture
def all_in_float64(pair, monkeypatch):
    """mmdetection makes float32 of boxes, masks and anchors in places, and then its numbers are float32's."""
    monkeypatch.setattr(torch.Tensor, "float", torch.Tensor.double)
    stretch = fcn_mask_head.F.grid_sample
    monkeypatch.setattr(fcn_mask_head.F, "grid_sample", lambda x, grid, **how: stretch(x.to(grid), grid, **how))
    anchors = pair[0].rpn_head.prior_generator
    priors = type(anchors).grid_priors
    monkeypatch.setattr(
        anchors, "grid_priors", lambda sizes, dtype=None, device="cpu": priors(anchors, sizes, torch.float64, device)
    )


def batch():
    return torch.from_numpy(make_input((2, 3, *FRAMES[0]))).double()


def samples():
    """What mmdetection is told of a batch's images, and what we are."""
    random = np.random.default_rng(0)
    theirs, ours = [], []
    for height, width in FRAMES:
        corners = random.uniform(size=(4, 2)) * (width / 2, height / 2)
        boxes = np.concatenate([corners, corners + 4 + random.uniform(size=(4, 2)) * (width / 2, height / 2)], 1)
        polygons = [[np.array([x1, y1, x2, y2, x2, (y1 + y2) / 2, x1, y2])] for x1, y1, x2, y2 in boxes]
        boxes, labels = torch.from_numpy(boxes), torch.from_numpy(random.integers(0, 80, 4))
        padded = tuple(-(-side // 32) * 32 for side in (height, width))
        sample = DetDataSample(
            metainfo={
                "img_shape": (height, width),
                "ori_shape": (height, width),
                "pad_shape": padded,
                "batch_input_shape": FRAMES[0],
                "scale_factor": (1.0, 1.0),
            }
        )
        sample.gt_instances = InstanceData(bboxes=boxes, labels=labels, masks=PolygonMasks(polygons, height, width))
        sample.ignored_instances = InstanceData(bboxes=boxes[:0], labels=labels[:0])
        theirs.append(sample)
        ours.append({"boxes": boxes, "labels": labels, "masks": polygons})
    return theirs, ours


def near(ours, theirs, bound):
    return (ours - theirs).abs().max() <= bound * theirs.abs().max()


@torch.no_grad()
def test_mmdetection_finds_the_same(pair, all_in_float64):
    theirs, ours = (model.eval() for model in pair)
    told, _ = samples()
    found = theirs.predict(batch(), deepcopy(told), rescale=False)
    for image, sample in zip(ours(batch(), FRAMES), found, strict=True):
        expected = sample.pred_instances
        assert len(expected.bboxes) > 50
        assert torch.equal(image["labels"], expected.labels)
        assert near(image["boxes"], expected.bboxes, 1e-11)
        assert near(image["scores"], expected.scores, 1e-11)
        if ours.spec.has_masks:
            # Theirs are rounded to float32 before they are stretched.
            assert (image["masks"] != torch.as_tensor(expected.masks)).sum() <= 2
            assert image["masks"].sum() > 1000


def test_mmdetection_has_the_same_losses_and_gradients(pair, all_in_float64, monkeypatch):
    theirs, ours = (model.train() for model in pair)
    monkeypatch.setattr(RandomSampler, "random_choice", lambda self, gallery, number: gallery[:number])
    monkeypatch.setattr(training, "choose", lambda members, number: members[:number])
    told, truths = samples()
    expected = {
        name: sum(loss).sum() if isinstance(loss, list) else loss.sum()
        for name, loss in theirs.loss(batch(), told).items()
    }
    expected = {name: loss for name, loss in expected.items() if "loss" in name}
    losses = ours(batch(), FRAMES, truths)
    assert set(losses) == set(expected)
    for name, loss in losses.items():
        assert near(loss, expected[name], 1e-11), name
    sum(losses.values()).backward()
    sum(expected.values()).backward()
    parameters, names = dict(theirs.named_parameters()), canonical_names(ours)
    for name, parameter in ours.named_parameters():
        gradient = parameters[names[name]].grad
        assert (parameter.grad is None) == (gradient is None), name
        if gradient is not None and gradient.abs().max() > 1e-9:  # a bias before a norm has rounding alone
            assert near(parameter.grad, gradient, 1e-8), name


@pytest.mark.parametrize("frame", [(333, 500), (480, 640), (1600, 2400), (50, 37), (1, 1)])
def test_mmdetection_sees_the_same_pixels(frame, tmp_path):
    init_default_scope("mmdet")
    photo = np.random.default_rng(0).integers(0, 256, (*frame, 3), dtype=np.uint8)
    Image.fromarray(photo).save(tmp_path / "photo.png")
    config = config_of("faster_rcnn")
    steps = [step for step in config.test_dataloader.dataset.pipeline if step["type"] != "LoadAnnotations"]
    sample = Compose([TRANSFORMS.build(step) for step in steps])({"img_path": str(tmp_path / "photo.png"), "img_id": 0})
    preprocessor = MODELS.build(config.model.data_preprocessor)
    expected = preprocessor({"inputs": [sample["inputs"]], "data_samples": [sample["data_samples"]]})
    seen = prepare([photo], get_detection_spec("faster_rcnn_resnest50_coco"))
    assert seen.images.shape == tuple(expected["inputs"].shape)
    assert np.abs(seen.images - expected["inputs"].numpy()).max() < 1e-6
    (known,) = expected["data_samples"]
    assert seen.sizes[0].tolist() == list(known.img_shape)
    assert np.array_equal(seen.scales[0], known.scale_factor)


@torch.no_grad()
def test_our_backbone_works_inside_mmdetection():
    init_default_scope("mmdet")
    import resnest.openmmlab  # noqa: F401  # registers it

    config = narrow(config_of("mask_rcnn")).model
    theirs = MODELS.build(deepcopy(config))
    config.backbone = {"type": "resnest.ResNeSt", "name": "resnest50", "frozen_stages": 1}
    model = MODELS.build(config)
    missing = model.load_state_dict(theirs.state_dict())
    assert not missing.missing_keys
    for found, expected in zip(
        model.double().eval().extract_feat(batch()), theirs.double().eval().extract_feat(batch()), strict=True
    ):
        assert near(found, expected, 1e-12)
    told, _ = samples()
    assert {"loss_rpn_cls", "loss_mask"} <= set(model.train().loss(batch(), told))
