"""Against the authors' network: float64 results for the weights that `recipe.make_weight` draws."""

import json

import numpy as np
import pytest

from resnest import get_spec
from resnest.weights.seeded import draw_weights, make_input
from tests.support.arrays import relative
from tests.support.paths import FIXTURES

GOLDEN = sorted(FIXTURES.glob("resnest*.npz"))


@pytest.mark.parametrize("path", GOLDEN, ids=lambda path: path.stem)
def test_stages_and_logits_are_those_of_the_authors_network(backend, path):
    golden = np.load(path)
    meta = json.loads(str(golden["meta"]))
    spec = get_spec(meta["model"], output_stride=8 if meta["kwargs"].get("dilated") else 32)
    images = make_input(tuple(meta["input_shape"])).astype("float64")
    *stages, logits = backend.probe.run_stages(spec, draw_weights(spec), images)
    assert relative(logits, golden["logits"]) < 1e-13
    for name, stage in zip(["stem", "layer1", "layer2", "layer3", "layer4"], stages, strict=True):
        assert relative(stage.mean((2, 3)), golden[name]) < 1e-13


def test_there_is_a_golden_file_for_each_kind_of_network():
    assert len(GOLDEN) == 7
