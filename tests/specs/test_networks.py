import pytest

from resnest import ResNeStSpec
from resnest.specs.networks import TASKS, find


@pytest.mark.parametrize("kind", TASKS, ids=lambda kind: kind.__name__)
def test_a_task_s_published_networks_are_of_its_kind(kind):
    task = TASKS[kind]
    assert task.variants
    for name, spec in task.variants.items():
        assert type(spec) is kind
        assert find(name) == task.get(name) == spec


def test_no_two_networks_have_one_name():
    names = [name for task in TASKS.values() for name in task.variants]
    assert len(names) == len({*names})


def test_a_classifier_is_found_by_timm_s_name_too():
    assert find("resnest50d") == TASKS[ResNeStSpec].variants["resnest50"]
    with pytest.raises(ValueError, match="resnest50"):
        find("resnest5O")
