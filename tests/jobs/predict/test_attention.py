import numpy as np
import pytest

from resnest.backends import registry
from resnest.jobs.predict.attention import look
from resnest.weights.seeded import draw_weights
from tests.support.arrays import photo_like
from tests.support.specs import tiny

FORMS = [{}, {"radix": 1}, {"radix": 4, "cardinality": 2}, {"avd_first": True}]


def looks(spec, name, image):
    found = registry.load(name).run_attention(spec, draw_weights(spec), image)
    return [look(block.name, block.stage, block.attention, a[0], b[0]) for block, (a, b) in zip(spec.blocks(), found)]


@pytest.mark.parametrize("changes", FORMS, ids=str)
def test_what_the_splits_add_is_what_split_attention_gives(backend, changes):
    spec = tiny(**changes)
    image = photo_like(1, 3, 64, 48).astype(np.float64)
    for block, seen, given in zip(spec.blocks(), looks(spec, backend.name, image), outputs(spec, backend, image)):
        assert (seen.block, seen.stage) == (block.name, block.stage)
        assert seen.maps.shape == (spec.radix, *given.shape[1:])
        assert np.abs(seen.maps.sum(0) - given.mean(0)).max() <= 1e-12 * np.abs(given).max()
        assert seen.shares.sum() == pytest.approx(1)


def outputs(spec, backend, image):
    """What the split attention of each block gives, from the network itself."""
    model, found = backend.build(spec, dtype="float64"), []
    for block in spec.blocks():
        splat = getattr(model, f"layer{block.stage}")[block.index].conv2
        splat.register_forward_hook(lambda module, inputs, output: found.append(backend.numpy(output)[0]))
    backend.predict(model, image)
    return found


@pytest.mark.torch
@pytest.mark.gluon
@pytest.mark.parametrize("changes", FORMS, ids=str)
def test_both_backends_look_at_the_same(changes):
    spec, image = tiny(**changes), photo_like(1, 3, 64, 64).astype(np.float64)
    for one, other in zip(*(looks(spec, name, image) for name in registry.BACKENDS)):
        assert np.abs(one.maps - other.maps).max() <= 1e-12 * np.abs(one.maps).max()
        assert one.shares == pytest.approx(other.shares, rel=1e-12)


def test_a_split_that_adds_nothing_has_no_share():
    splat = next(tiny().blocks()).attention
    splits = np.zeros((2 * splat.channels, 4, 4))
    splits[: splat.channels] = 1.0
    assert look("a", 1, splat, splits, np.zeros((2 * splat.channels, 1, 1))).shares.tolist() == [1, 0]
    assert look("a", 1, splat, 0 * splits, np.zeros((2 * splat.channels, 1, 1))).shares.tolist() == [0, 0]
