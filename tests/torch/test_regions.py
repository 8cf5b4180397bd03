"""Boxes and what lies in them, against the same written out one by one, and against torchvision's operators."""

import threading
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch.utils._python_dispatch import TorchDispatchMode
from torchvision.ops import batched_nms, box_iou, nms, roi_align

from resnest.specs.detection.anchors import AnchorSpec
from resnest.torch.layers import regions
from tests.support.without import run_without


def some_boxes(n, size=100.0, seed=0):
    random = torch.Generator().manual_seed(seed)
    corners = torch.rand(n, 2, 2, generator=random, dtype=torch.float64) * size
    return torch.cat([corners.amin(1), corners.amax(1) + 1], dim=1)


def test_of_equal_scores_the_first_stay_first_on_every_machine():
    """Without `stable` PyTorch sorts as the processor likes, and another box of two is proposed."""
    scores = torch.randint(0, 3, (2, 5000), generator=torch.Generator().manual_seed(0)).float()
    found, order = regions.best_first(scores)
    expected = np.argsort(-scores.numpy(), axis=1, kind="stable")
    assert np.array_equal(order, expected)
    assert torch.equal(found, scores.gather(1, order))


def suppressed_one_by_one(boxes, scores, groups, iou):
    kept = []
    for index in scores.argsort(descending=True).tolist():
        others = [other for other in kept if groups[other] == groups[index]]
        if not others or box_iou(boxes[index][None], boxes[others]).max() <= iou:
            kept.append(index)
    return kept


@pytest.mark.parametrize("at_once", [regions.MOST_AT_ONCE, 10])
def test_suppression_is_by_group_and_best_first(monkeypatch, at_once):
    monkeypatch.setattr(regions, "MOST_AT_ONCE", at_once)
    boxes = some_boxes(200)
    scores, groups = torch.rand(200, dtype=torch.float64), torch.arange(200) % 3
    kept = regions.suppress(boxes, scores, groups, 0.4)
    assert kept.tolist() == suppressed_one_by_one(boxes, scores, groups, 0.4)
    assert 3 < len(kept) < 200


def test_of_no_boxes_none_is_kept():
    kept = regions.suppress(torch.zeros(0, 4), torch.zeros(0), torch.zeros(0, dtype=torch.long), 0.5)
    assert kept.shape == (0,)
    assert kept.dtype == torch.long


def test_many_float32_boxes_are_rounded_as_mmdetections():
    """Of each pair the boxes meet at just above or below the bound, and moving them to their group rounds that away."""
    left = torch.arange(1500) % 30 * 40.0
    first = torch.stack([left, left, left + 12, left + 12], dim=1)
    second = first + torch.tensor([4.0, 0, 4, 0]) + torch.linspace(-1e-4, 1e-4, 1500)[:, None]
    boxes = torch.cat([first, second])
    scores = torch.rand(3000, generator=torch.Generator().manual_seed(0))
    groups = torch.arange(1500).repeat(2) % 79
    apart = boxes + (groups * (boxes.max() + 1))[:, None]
    expected = nms(apart, scores, 0.5)
    assert regions.suppress(boxes, scores, groups, 0.5).tolist() == expected.tolist()
    assert batched_nms(boxes, scores, groups, 0.5).tolist() != expected.tolist()


def test_deltas_lead_from_one_box_to_the_other():
    boxes, truth = some_boxes(50), some_boxes(50, seed=1)
    stds = (0.1, 0.1, 0.2, 0.2)
    sizes = torch.tensor([200, 200]).expand(50, 2)
    found = regions.decode(boxes, regions.encode(boxes, truth, stds), stds, sizes)
    assert torch.allclose(found, truth, rtol=1e-12)


def test_a_decoded_box_stays_in_its_image_and_grows_no_more_than_62_times():
    boxes = torch.tensor([[10.0, 10, 11, 11], [10, 10, 20, 20]])
    deltas = torch.tensor([[0.0, 0, 100, 100], [5, -5, 0, 0]])
    found = regions.decode(boxes, deltas, (1.0, 1.0, 1.0, 1.0), torch.tensor([[1000, 1000], [30, 40]]))
    assert torch.allclose(found[0], torch.tensor([0.0, 0, 10.5 + 31.25, 10.5 + 31.25]))
    assert found[1].tolist() == [40, 0, 40, 0]


def test_anchors_stand_row_by_row_at_every_stride():
    found = regions.grid(AnchorSpec(), 1, torch.zeros(1, 1, 3, 2, dtype=torch.float64))
    assert found.shape == (18, 4)
    centres = ((found[:, :2] + found[:, 2:]) / 2).reshape(3, 2, 3, 2)
    assert torch.equal(centres[2, 1], torch.tensor([[8.0, 16], [8, 16], [8, 16]], dtype=torch.float64))
    assert found[1].tolist() == [-32, -32, 32, 32]


def test_regions_are_cut_from_the_map_of_their_size():
    maps = [torch.randn(2, 3, 256 // stride, 256 // stride, dtype=torch.float64) for stride in (4, 8, 16, 32)]
    # A side of 112 is the first of the second map; a hair less is still so, because the small number is added first.
    sides = torch.tensor([1.0, 111, 112 - 1e-5, 112, 223, 224, 250, 56])
    boxes = torch.stack([torch.zeros(8), torch.zeros(8), sides, sides], dim=1)
    found = torch.cat([torch.tensor([[0.0], [1]]).repeat(4, 1), boxes], dim=1).double()
    cut = regions.align(maps, found, (4, 8, 16, 32), 7)
    for region, level, got in zip(found, [0, 0, 1, 1, 1, 2, 2, 0], cut, strict=True):
        expected = roi_align(maps[level], region[None], 7, 1 / (4, 8, 16, 32)[level], 0, aligned=True)
        assert torch.equal(got, expected[0])
    assert regions.align(maps, found[:0], (4, 8, 16, 32), 7).shape == (0, 3, 7, 7)


@pytest.fixture
def threads():
    """Two of them, where a test run has one."""
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures("threads")
@pytest.mark.parametrize("last", [False, True])
def test_regions_are_dealt_out_to_threads_and_cut_alike(monkeypatch, last):
    calls = []

    def noted(x, part, **options):
        calls.append((threading.current_thread(), len(part), x.is_contiguous()))
        return roi_align(x, part, **options)

    monkeypatch.setattr(regions, "operators", lambda: SimpleNamespace(roi_align=noted))
    monkeypatch.setattr(regions, "GRAIN", 2 * 3 * 7 * 7)
    found = torch.cat([torch.zeros(9, 1), some_boxes(9).float()], dim=1)
    maps = torch.randn(1, 3, 40, 50)
    if last:
        maps = maps.to(memory_format=torch.channels_last)
    cut = regions.cut_out(maps, found, 7, 0.5)
    assert torch.equal(cut, roi_align(maps, found, 7, 0.5, 0, aligned=True))
    assert sorted(part for _, part, _ in calls) == [1, 2, 2, 2, 2]
    assert all(thread is not threading.current_thread() and contiguous for thread, _, contiguous in calls)


@pytest.mark.usefixtures("threads")
def test_what_belongs_to_a_thread_is_cut_in_it():
    found = torch.cat([torch.zeros(9, 1), some_boxes(9).float()], dim=1)
    maps = torch.randn(1, 3, 40, 50)
    expected = regions.cut_out(maps, found, 7, 0.5)
    learnt = maps.clone().requires_grad_()
    regions.cut_out(learnt, found, 7, 0.5).sum().backward()
    assert learnt.grad.any()
    with torch.autocast("cpu", torch.bfloat16):
        cut = regions.cut_out(maps.bfloat16(), found, 7, 0.5)
    assert cut.dtype == torch.bfloat16
    assert torch.allclose(cut.float(), expected, atol=0.05)


@pytest.mark.parametrize("band", [regions.BAND, 300])
def test_masks_are_stretched_over_their_boxes_as_by_grid_sample(monkeypatch, band):
    monkeypatch.setattr(regions, "BAND", band)
    random = torch.Generator().manual_seed(0)
    masks = torch.rand(6, 28, 28, generator=random, dtype=torch.float64)
    boxes = torch.cat([some_boxes(4, 60), torch.tensor([[-9.0, -9, 90, 70], [3.2, 4.7, 3.9, 5.1]])])
    height, width = 50, 70
    found = regions.paste(masks, boxes, (height, width), 0.5)
    for mask, (x1, y1, x2, y2), got in zip(masks, boxes, found, strict=True):
        x = (torch.arange(width).double() + 0.5 - x1) / (x2 - x1) * 2 - 1
        y = (torch.arange(height).double() + 0.5 - y1) / (y2 - y1) * 2 - 1
        points = torch.stack(torch.meshgrid(x, y, indexing="xy"), dim=-1)[None]
        expected = F.grid_sample(mask[None, None], points, align_corners=False)[0, 0] >= 0.5
        assert torch.equal(got, expected)
    assert found.any((1, 2)).sum() >= 5


def test_an_empty_box_has_an_empty_mask():
    boxes = torch.tensor([[5.0, 5, 5, 9], [5.5, 5.5, 5.5, 5.5]])
    assert not regions.paste(torch.ones(2, 28, 28), boxes, (20, 20), 0.5).any()
    assert regions.paste(torch.ones(0, 28, 28), torch.zeros(0, 4), (20, 30), 0.5).shape == (0, 20, 30)


def test_a_missing_torchvision_is_one_sentence_and_only_detectors_need_it():
    code = "from resnest.torch import create_detector, resnest14\nprint('imported')\n"
    run = run_without(["torchvision"], code + "create_detector('faster_rcnn_resnest50_coco')")
    assert run.stdout.strip() == "imported"
    last = run.stderr.strip().splitlines()[-1]
    assert last.startswith("ImportError: detectors need torchvision")
    assert "pip install 'resnest[detection]'" in last


def test_joined_regions_say_whose_they_are():
    found = regions.joined([torch.ones(2, 4), torch.zeros(0, 4), torch.ones(1, 4)])
    assert np.array_equal(found[:, 0], [0, 0, 2])


class Sizes(TorchDispatchMode):
    """Notes how many bytes each tensor has that is made, views and bits of a result aside."""

    def __init__(self):
        super().__init__()
        self.bytes = []

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        made = function(*args, **(kwargs or {}))
        if isinstance(made, torch.Tensor):
            given = [arg.untyped_storage().data_ptr() for arg in args if isinstance(arg, torch.Tensor)]
            if made.untyped_storage().data_ptr() not in given:
                self.bytes.append(made.nbytes)
        return made


def test_masks_of_a_large_photo_take_little_more_memory_than_the_result(monkeypatch):
    """Band by band, as many rows at a time as `BAND` has pixels for."""
    monkeypatch.setattr(regions, "BAND", 2**14)
    masks, boxes = torch.rand(4, 28, 28), torch.tensor([[10.0, 20, 390, 780]]).expand(4, 4)
    with Sizes() as sizes:
        pasted = regions.paste(masks, boxes, (800, 400), 0.5)
    assert pasted.any()
    *others, largest = sorted(sizes.bytes)
    assert largest == pasted.nbytes == 4 * 800 * 400
    assert max(others) <= 4 * 4 * 28 * 800  # bytes of the weights of each row: a float for each cell of a mask
