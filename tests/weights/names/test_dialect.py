"""What a dialect may do beside naming: keep its tensors' axes in another order."""

import numpy as np
import pytest

from resnest import weights
from resnest.weights.formats import files
from resnest.weights.names import backbone
from resnest.weights.names.dialect import Dialect
from resnest.weights.seeded import draw_weights
from tests.support.specs import tiny, tiny_segmenter

KERNELS_LAST = Dialect(
    "kernels_last",  # as frameworks that keep channels last name and turn them
    signs=("stem/0.weight",),
    modules=(("conv1.0", "stem/0"), ("fc", "head/fc"), ("layer{stage}.{rest...}", "stage{stage}.{rest...}")),
    norm={"weight": "scale"},
    axes={4: (2, 3, 1, 0), 2: (1, 0)},
    any_form=True,
)


@pytest.fixture
def kernels_last(monkeypatch):
    monkeypatch.setattr(backbone, "DIALECTS", {KERNELS_LAST.name: KERNELS_LAST, **backbone.DIALECTS})


@pytest.mark.parametrize("suffix", [".npz", ".safetensors", ".params"])
def test_a_dialect_that_turns_axes_goes_there_and_back(kernels_last, tmp_path, suffix):
    state = draw_weights(tiny(radix=4, cardinality=2, deep_stem=True))
    path = tmp_path / f"turned{suffix}"
    weights.save(state, path, dialect="kernels_last")
    with files.open_file(path) as turned:
        assert turned.shapes["stem/0.weight"] == (3, 3, 3, 8)
        np.testing.assert_array_equal(turned["stem/0.weight"], state["conv1.0.weight"].transpose(2, 3, 1, 0))
        np.testing.assert_array_equal(turned["head/fc.weight"], state["fc.weight"].T)
        assert "stage1.0.bn1.scale" in turned
    assert weights.dialect_of(path) == "kernels_last"
    loaded = weights.load(path)
    assert list(loaded) == list(state)
    assert all(np.array_equal(loaded[name], state[name]) for name in state)


def test_it_converts_to_and_from_the_others(kernels_last, tmp_path):
    state = draw_weights(tiny())
    weights.save(state, tmp_path / "a.params")
    weights.convert(tmp_path / "a.params", tmp_path / "b.npz", dialect="kernels_last")
    weights.convert(tmp_path / "b.npz", tmp_path / "c.params")
    assert (tmp_path / "c.params").read_bytes() == (tmp_path / "a.params").read_bytes()


def test_two_networks_in_one_file_are_told_apart_for_every_task(tmp_path):
    state = draw_weights(tiny_segmenter())
    twice = {f"{prefix}.{name}": array for prefix in ("student", "teacher") for name, array in state.items()}
    files.write_file(tmp_path / "a.npz", twice)
    with pytest.raises(ValueError, match=r"more than one network, behind the prefixes 'student\.' and 'teacher\.'"):
        weights.load(tmp_path / "a.npz")
