"""Files of segmenters and detectors: they predict what the model does, whatever the size of the images."""

import math

import numpy as np
import onnxruntime
import pytest
import torch

from resnest.jobs.export import onnx_graph
from resnest.jobs.export.files import export, suffix
from resnest.jobs.export.tasks import compare_found
from resnest.torch import Detector, load_weights
from resnest.torch.export import OneImage
from resnest.torch.layers.regions import best_first, operators, suppress
from resnest.weights.seeded import draw_weights
from tests.support import cli
from tests.support.specs import tiny_detector, tiny_segmenter


# Those that resize or pool in ways that a format may not know.
@pytest.mark.parametrize(
    ("head", "format"),
    [("psp", "onnx"), ("aspp_sep", "onnx"), ("psp", "torchscript"), ("aspp_sep", "torchscript"), ("aspp_sep", "pt2")],
)
def test_a_segmenter_s_file_gives_logits_at_the_size_of_any_images(head, format, tmp_path):
    spec = tiny_segmenter(head, deploy=True)
    rows = export(spec, draw_weights(tiny_segmenter(head)), tmp_path / f"tiny{suffix(format)}", format)
    assert [row.shape[:2] for row in rows] == [(1, 5), (3, 5)]
    assert rows[0].shape[2:] != rows[1].shape[2:]
    assert all(row.within for row in rows)


@pytest.mark.gluon
@pytest.mark.parametrize("head", ["fcn", "psp", "aspp", "aspp_sep"])
def test_a_segmenter_is_one_graph_in_mxnet_for_images_of_one_size(head, tmp_path):
    spec = tiny_segmenter(head)
    rows = export(spec, draw_weights(spec), tmp_path / "tiny-symbol.json", "mxnet", (64, 49))
    assert [row.shape for row in rows] == [(1, 5, 64, 49), (3, 5, 64, 49)]
    assert all(row.within for row in rows)
    with pytest.raises(ValueError, match="in MXNet has to know to what: say the images' size"):
        export(spec, draw_weights(spec), tmp_path / "open-symbol.json", "mxnet")
    assert not (tmp_path / "open-symbol.json").exists()


@pytest.mark.parametrize(
    ("family", "format"),
    [("cascade_mask_rcnn", "torchscript"), ("faster_rcnn", "pt2")],
)
def test_a_detector_s_file_finds_what_the_model_does_in_images_of_any_size(family, format, tmp_path):
    spec = tiny_detector(family, deploy=True)
    rows = export(spec, draw_weights(tiny_detector(family)), tmp_path / f"tiny{suffix(format)}", format)
    assert [row.name for row in rows] == [
        f"{part} of 1x3x{sides}" for sides in ("80x80", "113x86") for part in ("boxes", "scores")
    ]
    assert all(row.within for row in rows)
    assert all(len(row.shape) and row.shape[0] > 10 for row in rows)


class Chosen(torch.nn.Module):
    """What the RPN and the heads choose with."""

    def forward(self, scores, boxes):
        scores, order = best_first(scores)
        scores, boxes = scores[:, :200], boxes[order[0, :200]]
        return suppress(boxes, scores[0], torch.arange(200) % 3, 0.5)


def test_of_equal_scores_onnxruntime_keeps_the_first_as_pytorch_does(tmp_path):
    random = torch.Generator().manual_seed(0)
    corners = torch.rand(300, 2, generator=random) * 60
    boxes = torch.cat([corners, corners + 5 + torch.rand(300, 2, generator=random) * 30], dim=1)
    scores = torch.randint(1, 4, (1, 300), generator=random).float()
    operators()
    torch.onnx.export(
        Chosen(),
        (scores, boxes),
        tmp_path / "chosen.onnx",
        dynamo=False,
        opset_version=17,
        input_names=["scores", "boxes"],
    )
    (found,) = onnxruntime.InferenceSession(tmp_path / "chosen.onnx").run(
        None, {"scores": scores.numpy(), "boxes": boxes.numpy()}
    )
    assert found.tolist() == Chosen()(scores, boxes).tolist()


# Drawn weights give a cascade scores that differ. Other detectors' are 1 in one runtime and a rounding less in the
# other, and then NMS keeps another box of those.
def test_onnx_of_a_detector_finds_the_same_with_masks_in_the_boxes_and_nothing_where_nothing_is(tmp_path):
    spec = tiny_detector("cascade_mask_rcnn")
    model = Detector(spec).eval()
    load_weights(model, draw_weights(spec))
    rows = export(spec, draw_weights(spec), tmp_path / "tiny.onnx", "onnx")
    assert all(row.within for row in rows)
    predict = onnx_graph.read(tmp_path / "tiny.onnx")
    image, size = torch.randn(1, 3, 96, 70, generator=torch.Generator().manual_seed(0)), torch.tensor([[90, 60]])
    with torch.no_grad():
        expected = OneImage(model)(image, size)
    for found, wanted in zip(predict(image.numpy(), size.numpy()), expected, strict=True):
        np.testing.assert_allclose(found, wanted.numpy(), rtol=1e-3, atol=1e-3)
    assert expected[3].shape == (len(expected[0]), 28, 28)
    assert expected[0].max() <= 90
    weights = draw_weights(spec)
    weights |= {name: weights[name] - 1000 * (np.arange(6) < 5) for name in weights if name.endswith("fc_cls.bias")}
    export(spec, weights, tmp_path / "blind.onnx", "onnx")
    boxes, _, labels, masks = onnx_graph.read(tmp_path / "blind.onnx")(image.numpy(), size.numpy())
    assert (boxes.shape, labels.shape, masks.shape) == ((0, 4), (0,), (0, 28, 28))


def found(boxes, scores, labels):
    return {"boxes": np.array(boxes, np.float32).reshape(-1, 4), "scores": np.array(scores), "labels": np.array(labels)}


def test_what_a_file_finds_is_compared_with_the_nearest_of_its_class():
    model = found([[0, 0, 10, 10], [0, 0, 10, 10], [5, 5, 10, 10]], [0.9, 0.9, 0.5], [1, 0, 1])
    assert all(
        row.relative == 0 for row in compare_found(model, found(model["boxes"][:2], [0.9, 0.9], [1, 0]), 2, 1e-4)
    )
    boxes, scores = compare_found(model, found([[5, 5, 10, 9], [0, 0, 10, 10]], [0.5, 0.9], [1, 0]), 2, 1e-4)
    assert (boxes.absolute, scores.absolute, boxes.within, scores.within) == (1, 0, False, True)
    for other in (found([], [], []), found([[0, 0, 10, 10]] * 2, [0.9, 0.9], [0, 2])):
        assert [row.absolute for row in compare_found(model, other, 2, 1e-4)] == [math.inf] * 2


@pytest.mark.gluon
@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["faster_rcnn_resnest50_coco", "--format", "mxnet"], "export it as onnx, torchscript or pt2"),
        (["fcn_resnest101_voc", "--format", "mxnet"], "say the images' size"),
        (["resnest50", "--format", "onnx", "--size", "8x8"], "too small"),
        (["fcn_resnest101_voc", "--format", "onnx", "--int8", "."], "--int8 goes with a classifier"),
    ],
)
def test_the_command_says_in_one_sentence_what_cannot_be(arguments, sentence, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "photo.png").touch()
    result = cli.run("export", *arguments)
    assert result.exit_code == 2
    assert sentence in " ".join(result.stderr.split())
    assert [path.name for path in tmp_path.iterdir()] == ["photo.png"]
