import dataclasses
import subprocess
import sys

import pytest
import yaml

from resnest.cli.yaml import yaml_lines
from resnest.specs.recipe import PRESETS, get_recipe
from tests.support import cli


@pytest.mark.parametrize("preset", PRESETS)
def test_what_is_printed_reads_back_as_the_recipe(preset):
    run = cli.run("recipe", "resnest269", "--preset", preset)
    assert run.exit_code == 0, run.output
    read = yaml.safe_load(run.stdout)
    assert get_recipe("resnest50").with_changes(**read) == get_recipe("resnest269", preset)


def test_small_numbers_and_none_are_not_read_as_words():
    values = {"small": 1e-05, "smaller": 1.5e-07, "none": None, "no_drop": False, "pair": (1e-9, 2)}
    assert yaml.safe_load("\n".join(yaml_lines(values))) == {**values, "pair": [1e-9, 2]}


def test_a_recipe_is_read_by_omegaconf_as_typed_values():
    from omegaconf import OmegaConf

    recipe = get_recipe("resnest50")
    read = OmegaConf.create("\n".join(yaml_lines(dataclasses.asdict(recipe))))
    merged = OmegaConf.merge(OmegaConf.structured(recipe, flags={"readonly": False}), read)
    assert OmegaConf.to_object(merged) == recipe


def test_it_needs_nothing_but_the_specs():
    code = (
        "import sys; from resnest.cli import main; main(['recipe', 'resnest50'], standalone_mode=False);"
        "print(*[m for m in ('numpy', 'torch', 'mxnet', 'omegaconf') if m in sys.modules], file=sys.stderr)"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stderr.strip() == ""


def test_an_unknown_name_is_one_sentence():
    run = cli.run("recipe", "resnest51")
    assert run.exit_code == 2
    assert "did you mean" in run.stderr
