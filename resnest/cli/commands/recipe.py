"""`resnest recipe`."""

from __future__ import annotations

import dataclasses

import click

from resnest.cli.terminal import Command
from resnest.cli.values import TRAINED, Word
from resnest.cli.yaml import yaml_lines
from resnest.specs.recipes import PRESETS, find_recipe

KNOWN = [name for presets in PRESETS.values() for name in presets]


@click.command("recipe", cls=Command)
@click.argument("name", type=TRAINED)
@click.option("--preset", type=Word(KNOWN), help="Without it gluon, or of a detector mmdetection.")
def command(name: str, preset: str | None) -> None:
    """Print the training recipe of the network NAME as YAML, to be changed and given to --config.

    gluon made the published weights; encoding is the authors' recipe in PyTorch; finetune is for trained weights and a
    folder of one's own. mmdetection made the published detectors.

    Example: resnest recipe resnest50 --preset finetune
    """
    for line in yaml_lines(dataclasses.asdict(find_recipe(name, preset))):
        click.echo(line)
