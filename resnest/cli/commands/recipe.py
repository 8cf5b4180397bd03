"""`resnest recipe`."""

from __future__ import annotations

import dataclasses

import click

from resnest.cli.terminal import Command
from resnest.cli.values import CLASSIFIER, Word
from resnest.cli.yaml import yaml_lines
from resnest.specs.recipe import PRESETS, get_recipe


@click.command("recipe", cls=Command)
@click.argument("name", type=CLASSIFIER)
@click.option("--preset", type=Word([*PRESETS]), default="gluon", show_default=True)
def command(name: str, preset: str) -> None:
    """Print the training recipe of the network NAME as YAML, to be changed and given to --config.

    gluon made the published weights; encoding is the authors' recipe in PyTorch; finetune is for
    trained weights and a folder of one's own.

    Example: resnest recipe resnest50 --preset finetune
    """
    for line in yaml_lines(dataclasses.asdict(get_recipe(name, preset))):
        click.echo(line)
