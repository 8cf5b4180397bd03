import pytest

from resnest.weights.recognition.check import check


def test_the_same_tensors_are_right_in_any_order_and_as_lists_too():
    check({"b": [2, 3], "a": (1,)}, {"a": (1,), "b": (2, 3)}, "it")


def test_everything_that_is_wrong_is_said_at_once():
    with pytest.raises(ValueError, match="these tensors are not those of it; ") as error:
        check({"a": (1,), "b": (2, 3)}, {"b": (3, 2), "c": ()}, "it")
    assert str(error.value).endswith("; unknown: a; missing: c; misshaped: b is (2, 3) instead of (3, 2)")


def test_long_lists_of_tensors_are_cut():
    with pytest.raises(ValueError, match=r"unknown: a0, a1, a2, a3, a4, a5, a6, a7 and 92 more$"):
        check({f"a{i}": (1,) for i in range(100)}, {}, "it")
    with pytest.raises(ValueError, match=r"missing: a0, a1, a2, a3, a4, a5, a6, a7$"):
        check({}, {f"a{i}": (1,) for i in range(8)}, "it")
