"""`resnest recipe`."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any

import click

from resnest.cli.terminal import Command
from resnest.specs.recipe import PRESETS, get_recipe


@click.command("recipe", cls=Command)
@click.argument("name")
@click.option("--preset", type=click.Choice([*PRESETS]), default="gluon", show_default=True)
def command(name: str, preset: str) -> None:
    """Print the training recipe of the network NAME as YAML, to be changed and given to --config.

    gluon made the published weights; encoding is the authors' recipe in PyTorch; finetune is for
    trained weights and a folder of one's own.
    """
    for line in yaml_lines(dataclasses.asdict(get_recipe(name, preset))):
        click.echo(line)


def yaml_lines(values: Mapping[str, Any], indent: str = "") -> Iterator[str]:
    """Numbers, words, pairs and mappings of them as lines of YAML, which says itself what is which."""
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield f"{indent}{key}:"
            yield from yaml_lines(value, indent + "  ")
        elif isinstance(value, tuple):
            yield f"{indent}{key}: [{', '.join(map(scalar, value))}]"
        else:
            yield f"{indent}{key}: {scalar(value)}"


def scalar(value: object) -> str:
    """A number or a word as YAML 1.1 reads it back: 1e-05 without a point would be a word."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    text = str(value)
    return text.replace("e", ".0e") if isinstance(value, float) and "." not in text else text
