"""mmdetection's recipe for its eight ResNeSt detectors."""

import pytest

from resnest.specs import list_detection_models
from resnest.specs.detection.published import get_detection_spec
from resnest.specs.detection.recipe import DetectionRecipe, mmdetection

STEPS = 117266 // 16


def test_the_rate_warms_up_in_a_line_and_falls_twice():
    """As mmengine's LinearLR and MultiStepLR give it, read off a run of theirs."""
    recipe = DetectionRecipe()
    rates = {step: recipe.learning_rate(step, STEPS) for step in (0, 1, 250, 498, 499, 500)}
    assert rates == pytest.approx(
        {0: 2e-5, 1: 6.004008016032064e-05, 250: 0.010030020040080161, 498: 0.01995995991983968, 499: 0.02, 500: 0.02}
    )
    epochs = [recipe.learning_rate(epoch * STEPS - 1 + last, STEPS) for epoch in (8, 11) for last in (0, 1)]
    assert epochs == pytest.approx([0.02, 0.002, 0.002, 0.0002])


def test_the_rate_grows_with_the_batch_and_everything_decays():
    recipe = DetectionRecipe().with_changes(batch=4)
    assert recipe.learning_rate(1000, STEPS) == 0.005
    rule = recipe.rule(get_detection_spec("faster_rcnn_resnest50_coco"))
    assert rule.decay_of("backbone.bn1.weight") == rule.decay_of("neck.fpn_convs.0.conv.bias") == 1e-4


@pytest.mark.parametrize("name", list_detection_models())
def test_detectors_with_masks_see_six_sizes_and_others_all_between(name):
    recipe = mmdetection(name)
    assert (recipe.long_side, recipe.short_sides) == (1333, (640, 800))
    assert recipe.short_step == (32 if "mask" in name else 1)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("milestones", (0,)),
        ("milestones", (1.5,)),
        ("short_sides", (800,)),
        ("short_sides", (800, 640)),
        ("short_sides", (640, 1400)),
        ("flip", 1.1),
        ("group", 0),
        ("ema_decay", 1.0),
        ("momentum", 1.0),
        ("lr_batch", 0),
        ("filter_empty", 1),
        ("warmup_from", 2),
    ],
)
def test_what_makes_no_recipe_is_named(field, value):
    with pytest.raises(ValueError, match=f"^{field}="):
        DetectionRecipe(**{field: value})
