import numpy as np
import pytest

from tests.support.arrays import photo_like
from tests.support.specs import tiny


def dropblock(backend, prob, **kwargs):
    layer = backend.module.DropBlock(prob, **kwargs)
    if backend.name == "gluon":
        layer.initialize()
    return layer


@pytest.mark.parametrize("shape", [(4, 16, 14, 14), (2, 8, 7, 31), (16, 64, 2, 2), (64, 64, 1, 1)])
@pytest.mark.parametrize("prob", [0.1, 0.4])
def test_each_pixel_is_dropped_with_the_same_probability_at_any_size(backend, shape, prob):
    layer = dropblock(backend, prob)
    ones = np.ones(shape, np.float32)
    dropped = np.mean([backend.train(layer, ones) == 0 for _ in range(40)], axis=(0, 1, 2))  # (H, W)
    assert dropped.shape == shape[2:]
    six_sigma = 6 * (prob / (40 * shape[0] * shape[1])) ** 0.5
    assert np.abs(dropped - prob).max() < six_sigma < prob


@pytest.mark.parametrize("side", [2, 4])
def test_squares_may_have_an_even_side(backend, side):
    out = backend.train(dropblock(backend, 0.2, block_size=side), np.ones((64, 16, 9, 14), np.float32))
    assert out.shape == (64, 16, 9, 14)
    assert (out == 0).mean() == pytest.approx(0.2, abs=0.02)


def test_squares_are_dropped(backend):
    dropped = backend.train(dropblock(backend, 0.05, block_size=3), np.ones((8, 8, 24, 24), np.float32)) == 0
    assert dropped.any()
    windows = np.lib.stride_tricks.sliding_window_view(
        np.pad(dropped, ((0, 0), (0, 0), (2, 2), (2, 2)), constant_values=True), (3, 3), axis=(2, 3)
    )
    in_a_square = np.lib.stride_tricks.sliding_window_view(windows.all((4, 5)), (3, 3), axis=(2, 3)).any((4, 5))
    assert (in_a_square == dropped).all()


def test_one_mask_is_for_a_sample_or_for_the_whole_batch(backend):
    ones = np.ones((4, 8, 20, 20), np.float32)
    for mask, alike in (("sample", False), ("batch", True)):
        out = backend.train(dropblock(backend, 0.3, mask=mask), ones)
        assert (out == 0).any()
        assert (out == out[:1]).all() == alike
        assert out.mean() == pytest.approx(1, rel=1e-5)


@pytest.mark.parametrize(("place", "expected"), [("inside", [True, False]), ("after", [False, True])])
def test_the_second_one_stands_inside_split_attention_or_after_it(backend, place, expected):
    model = backend.build(tiny(), dropblock_prob=0.2, dropblock_place=place, dropblock_mask="batch")
    for block in (model.layer3[0], model.layer4[0]):
        kinds = [isinstance(layer, backend.module.DropBlock) for layer in (block.conv2.dropblock, block.dropblock2)]
        assert kinds == expected
        assert {layer.mask for layer in backend.module.DropBlockScheduler(block, 1).blocks} == {"batch"}
    assert np.isfinite(backend.train(model, photo_like(2, 3, 33, 33, dtype="float32"))).all()
    with pytest.raises(ValueError, match="place='before' must be one of inside, after"):
        backend.build(tiny(), dropblock_place="before")


def test_after_split_attention_its_output_is_dropped(backend):
    model = backend.build(tiny(), dropblock_prob=0.2, dropblock_place="after")
    block = model.layer4[0]
    seen = []
    block.conv2.register_forward_hook(lambda layer, inputs, output: seen.append(backend.numpy(output.detach())))
    block.dropblock2.register_forward_hook(lambda layer, inputs, output: seen.append(backend.numpy(inputs[0].detach())))
    backend.train(model, photo_like(2, 3, 33, 33, dtype="float32"))
    assert len(seen) == 2
    assert (seen[0] == seen[1]).all()


def test_what_is_kept_is_scaled_to_keep_the_mean(backend):
    out = backend.train(dropblock(backend, 0.3), np.ones((4, 8, 20, 20), np.float32))
    assert out.mean() == pytest.approx(1, rel=1e-5)


def test_a_single_kept_pixel_takes_the_weight_of_all(backend):
    layer = dropblock(backend, 0.8, block_size=1)
    kept = {}
    for _ in range(60):
        out = backend.train(layer, np.ones((1, 1, 2, 2), np.float32))
        kept[int((out > 0).sum())] = out.sum()
    assert (kept[0], kept[1]) == (0, 4)


@pytest.mark.torch
def test_a_draw_of_zero_drops_nothing_at_probability_zero(monkeypatch):
    import torch

    from resnest.torch import DropBlock

    monkeypatch.setattr(torch.Tensor, "uniform_", torch.Tensor.zero_)  # the least that may be drawn
    ones = torch.ones(1, 2, 9, 9)
    assert torch.equal(DropBlock(0.0)(ones), ones)
    assert not DropBlock(0.1)(ones).any()


def test_nothing_is_dropped_in_prediction(backend):
    x = photo_like(2, 4, 6, 5, dtype="float32")
    assert (backend.predict(dropblock(backend, 0.5), x) == x).all()


def test_a_drop_probability_must_be_one(backend):
    for wrong in (-0.1, 1, 1.5):
        with pytest.raises(ValueError, match=str(wrong)):
            backend.module.DropBlock(wrong)


@pytest.mark.parametrize("size", [(64, 64), (47, 81), (33, 33)])
def test_a_network_with_dropblock_trains_at_any_size(backend, size):
    model = backend.build(tiny(), dropblock_prob=0.2)
    x = photo_like(2, 3, *size, dtype="float32")
    first, second = backend.train(model, x), backend.train(model, x)
    assert np.isfinite(first).all()
    assert (first != second).any()
    plain = backend.build(tiny())
    backend.module.load_weights(plain, backend.module.get_weights(model))  # the running statistics moved
    assert (backend.predict(model, x) == backend.predict(plain, x)).all()


def test_dropblock_stands_in_stages_3_and_4_alone(backend):
    model = backend.build(tiny(), dropblock_prob=0.2)
    for stage in (model.layer1, model.layer2):
        with pytest.raises(ValueError, match="no DropBlock"):
            backend.module.DropBlockScheduler(stage, 1)
    for stage in (model.layer3, model.layer4):
        assert len(backend.module.DropBlockScheduler(stage, 1).blocks) == 3


def test_the_scheduler_goes_up_in_equal_steps_and_stays(backend):
    model = backend.build(tiny(), dropblock_prob=0.1)
    scheduler = backend.module.DropBlockScheduler(model, total_steps=4, stop=0.2)
    assert [scheduler.step() for _ in range(6)] == pytest.approx([0.05, 0.1, 0.15, 0.2, 0.2, 0.2])
    assert all(float(block.prob) == pytest.approx(0.2) for block in scheduler.blocks)


def test_the_scheduler_changes_what_a_running_network_drops(backend):
    layer = dropblock(backend, 0.1)
    if backend.name == "gluon":
        layer.hybridize()
    ones = np.ones((4, 8, 20, 20), np.float32)
    scheduler = backend.module.DropBlockScheduler(layer, total_steps=1, start=0.0, stop=0.5)
    assert (backend.train(layer, ones) == 0).mean() == 0
    scheduler.step()
    assert (backend.train(layer, ones) == 0).mean() == pytest.approx(0.5, abs=0.1)


def test_a_schedule_without_steps_is_refused(backend):
    with pytest.raises(ValueError, match="total_steps=0"):
        backend.module.DropBlockScheduler(backend.build(tiny(), dropblock_prob=0.1), 0)


def test_a_model_without_dropblock_has_nothing_to_schedule(backend):
    with pytest.raises(ValueError, match="no DropBlock in this model: build it with dropblock_prob above 0"):
        backend.module.DropBlockScheduler(backend.build(tiny()), 4)


def test_a_resumed_scheduler_goes_on_where_it_was(backend):
    model = backend.build(tiny(), dropblock_prob=0.1)
    scheduler = backend.module.DropBlockScheduler(model, total_steps=4, stop=0.2)
    scheduler.step()
    scheduler.step()
    state = scheduler.state_dict()
    resumed = backend.build(tiny(), dropblock_prob=0.1)
    scheduler = backend.module.DropBlockScheduler(resumed, total_steps=4, stop=0.2)
    scheduler.load_state_dict(state)
    assert all(float(block.prob) == pytest.approx(0.1) for block in scheduler.blocks)
    assert scheduler.step() == pytest.approx(0.15)
