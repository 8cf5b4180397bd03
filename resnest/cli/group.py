"""The command `resnest`: its subcommands are the files in `commands/`, each imported when it is asked for."""

from __future__ import annotations

import importlib
import pkgutil

import click

import resnest
from resnest.cli import commands


class Folder(click.Group):
    """A group whose commands are the modules of a package: `verify_segmentation.py` holds `verify-segmentation`."""

    def list_commands(self, context: click.Context) -> list[str]:
        return sorted(module.name.replace("_", "-") for module in pkgutil.iter_modules(commands.__path__))

    def get_command(self, context: click.Context, name: str) -> click.Command | None:
        if name not in self.list_commands(context):
            return None
        return importlib.import_module(f"{commands.__name__}.{name.replace('-', '_')}").command


@click.group(cls=Folder, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(resnest.__version__)
def main() -> None:
    """ResNeSt (Split-Attention Networks) in PyTorch and MXNet Gluon, from one spec."""
