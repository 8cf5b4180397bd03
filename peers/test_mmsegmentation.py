"""mmsegmentation's own networks from its own configs, and our backbone inside mmsegmentation."""

import copy
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.config import Config, ConfigDict
from mmengine.structures import PixelData
from mmseg.structures import SegDataSample
from mmseg_models import build, config, our_backbone

from resnest import get_segmentation_spec
from resnest import weights as weight_files
from resnest.data.photos import normalise, open_photo
from resnest.weights.seeded import make_weight

METHODS = ("fcn", "pspnet", "deeplabv3", "deeplabv3plus")
PHOTO = Path(__file__).parents[1] / "resnest" / "data" / "assets" / "chelsea.jpg"
SIZE = (128, 96)


def photo(dtype):
    return normalise(open_photo(PHOTO).resize(SIZE)).astype(dtype)


def ours(backend, name, weights, x):
    """Logits of the head and of the auxiliary head, and the prediction at the photo's size, of our network."""
    if backend == "torch":
        from resnest.torch import create_segmenter

        x = torch.from_numpy(x)
        model = create_segmenter(name, weights=weights).to(x.dtype).eval()
        with torch.no_grad():
            outputs = model(x), model.auxiliary_head(model.backbone(x)[:3]), model.predict(x)
            return [output.numpy().astype("float64") for output in outputs]
    from resnest.gluon import create_segmenter
    from resnest.gluon._mxnet import mx

    model = create_segmenter(name, weights=weights)
    model.cast(x.dtype)
    x = mx.nd.array(x, dtype=x.dtype)
    outputs = model(x), model.auxiliary_head(model.backbone(x)[:3]), model.predict(x)
    return [output.asnumpy().astype("float64") for output in outputs]


def relative(a, b):
    assert a.shape == b.shape
    return float(np.abs(a - b).max() / np.abs(b).max())


@pytest.fixture(scope="module", params=METHODS)
def theirs(request, tmp_path_factory):
    """mmsegmentation's network with random weights, and a checkpoint that it saved."""
    model = build(config(request.param, "ade20k")).eval()
    state = model.state_dict()
    for name, tensor in state.items():
        if not name.endswith("num_batches_tracked"):
            tensor.copy_(torch.from_numpy(make_weight(name, tuple(tensor.shape))))
    path = tmp_path_factory.mktemp("checkpoint") / "theirs.pth"
    torch.save(state, path)
    return request.param, model, path


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("dataset", ["cityscapes", "ade20k"])
def test_tensors_are_theirs_in_their_order(method, dataset):
    with torch.device("meta"):
        state = build(config(method, dataset)).state_dict()
    expected = {name: tuple(t.shape) for name, t in state.items() if not name.endswith("num_batches_tracked")}
    spec = get_segmentation_spec(f"{method}_resnest101_{dataset}")
    assert list(spec.tensors().items()) == list(expected.items())


@pytest.mark.parametrize("backend", ["torch", "gluon"])
@pytest.mark.parametrize(("dtype", "bound"), [("float64", 1e-12), ("float32", 5e-6)])
def test_logits_and_prediction_are_theirs_on_a_photo(theirs, backend, dtype, bound):
    method, model, path = theirs
    x = photo(dtype)
    reference = copy.deepcopy(model).double()
    with torch.no_grad():
        pixels = torch.from_numpy(x).double()
        stages = reference.extract_feat(pixels)
        outputs = [reference.decode_head(stages), reference.auxiliary_head(stages)]
        outputs.append(reference.encode_decode(pixels, [{"img_shape": pixels.shape[2:]}]))
    for mine, expected in zip(ours(backend, f"{method}_resnest101_ade20k", path, x), outputs, strict=True):
        assert relative(mine, expected.numpy()) < bound


@pytest.mark.parametrize("theirs", ["fcn"], indirect=True)
def test_windows_are_theirs(theirs):
    from resnest.jobs.predict.segmentation import slide

    _, model, _ = theirs
    x = photo("float32")
    reference = copy.deepcopy(model)
    reference.test_cfg = ConfigDict(mode="slide", crop_size=(64, 64), stride=(40, 40))
    meta = [{"img_shape": x.shape[2:]}]

    def predict(window):
        window = torch.from_numpy(window)
        return reference.encode_decode(window, [meta[0] | {"img_shape": window.shape[2:]}]).numpy()

    with torch.no_grad():
        expected = reference.slide_inference(torch.from_numpy(x), meta).numpy()
        assert relative(slide(predict, x, 64, 40), expected) < 1e-6


def test_a_config_says_custom_imports_and_gets_our_backbone(tmp_path):
    path = tmp_path / "config.py"
    path.write_text(
        'custom_imports = dict(imports=["resnest.openmmlab"], allow_failed_imports=False)\n'
        'backbone = dict(type="resnest.ResNeSt", name="resnest14", output_stride=8)\n'
    )
    backbone = build(Config.fromfile(path).backbone)
    stages = backbone(torch.zeros(2, 3, 64, 64))
    assert [tuple(stage.shape) for stage in stages] == [
        (2, 256, 16, 16),
        (2, 512, 8, 8),
        (2, 1024, 8, 8),
        (2, 2048, 8, 8),
    ]


def test_mmsegmentation_trains_two_steps_on_our_backbone():
    import resnest.openmmlab  # noqa: F401  # registers the backbone

    torch.manual_seed(0)
    model = build(our_backbone())
    model.init_weights()
    model.train()
    x = torch.randn(2, 3, 64, 64)
    samples = []
    for _ in range(2):
        sample = SegDataSample(metainfo={"img_shape": (64, 64), "ori_shape": (64, 64)})
        sample.gt_sem_seg = PixelData(data=torch.randint(0, 19, (1, 64, 64)))
        samples.append(sample)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
    before = model.backbone.conv1[0].weight.detach().clone()
    totals = []
    for _ in range(2):
        losses = model.loss(x, samples)
        total = sum(value for name, value in losses.items() if "loss" in name)
        optimizer.zero_grad()
        total.backward()
        optimizer.step()
        totals.append(total.item())
    assert totals[1] < totals[0]
    assert not torch.equal(before, model.backbone.conv1[0].weight)


@pytest.mark.parametrize("theirs", ["fcn"], indirect=True)
def test_our_backbone_takes_their_checkpoint_and_computes_what_theirs_does(theirs):
    import resnest.openmmlab  # noqa: F401  # registers the backbone

    _, model, _ = theirs
    backbone = build(our_backbone(name="resnest101").backbone).double().eval()
    state = {n.removeprefix("backbone."): t for n, t in model.state_dict().items() if n.startswith("backbone.")}
    backbone.load_state_dict(state)
    x = torch.from_numpy(photo("float64"))
    with torch.no_grad():
        for stage, reference in zip(backbone(x), copy.deepcopy(model.backbone).double()(x), strict=True):
            assert relative(stage.numpy(), reference.numpy()) < 1e-12


def test_what_mmsegmentation_saves_of_our_backbone_opens_here(tmp_path):
    import resnest.openmmlab  # noqa: F401  # registers the backbone

    model = build(our_backbone())
    torch.save(model.state_dict(), tmp_path / "trained.pth")
    weights = weight_files.load(tmp_path / "trained.pth")
    spec = weight_files.recognise({name: array.shape for name, array in weights.items()})
    assert (spec.head, spec.num_classes, spec.backbone.stage_depths) == ("fcn", 19, (1, 1, 1, 1))
    assert "backbone.stem.0.weight" in weights


def test_a_backbone_starts_from_a_file_and_stays_frozen_where_asked(tmp_path):
    import resnest.openmmlab  # noqa: F401  # registers the backbone
    from resnest.specs.published import get_spec

    spec = get_spec("resnest14", num_classes=0)
    arrays = {name: make_weight(name, shape) for name, shape in spec.tensors().items()}
    weight_files.save(arrays, tmp_path / "start.npz")
    backbone = build(our_backbone(weights=str(tmp_path / "start.npz"), frozen_stages=1, norm_eval=True).backbone)
    backbone.init_weights()
    backbone.train()
    assert torch.equal(backbone.bn1.weight, torch.from_numpy(arrays["bn1.weight"]))
    assert not backbone.layer1.training
    assert backbone.layer2.training
    assert not any(norm.training for norm in backbone.norms())
    learning = {name.partition(".")[0] for name, parameter in backbone.named_parameters() if parameter.requires_grad}
    assert learning == {"layer2", "layer3", "layer4"}


def test_an_unknown_norm_is_named():
    import resnest.openmmlab  # noqa: F401  # registers the backbone

    with pytest.raises(ValueError, match="there is no norm 'LN' for ResNeSt"):
        build(our_backbone(norm_cfg={"type": "LN"}).backbone)
