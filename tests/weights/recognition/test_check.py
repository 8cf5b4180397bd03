import pytest

from resnest.weights import check


def test_long_lists_of_tensors_are_cut():
    with pytest.raises(ValueError, match="and 92 more"):
        check({}, {f"a{i}": (1,) for i in range(100)}, "x")
