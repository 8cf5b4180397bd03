"""The command `resnest`: its subcommands are the files in `commands/`, each imported when it is asked for."""

from __future__ import annotations

import importlib
import pkgutil
import platform

import click

import resnest
from resnest.cli import commands
from resnest.cli.terminal import BadInput, Ending
from resnest.specs.arguments import closest


class Folder(Ending, click.Group):
    """A group whose commands are the modules of a package: `verify_segmentation.py` holds `verify-segmentation`."""

    def list_commands(self, context: click.Context) -> list[str]:
        return sorted(module.name.replace("_", "-") for module in pkgutil.iter_modules(commands.__path__))

    def get_command(self, context: click.Context, name: str) -> click.Command | None:
        if name not in (known := self.list_commands(context)):
            raise BadInput(f"there is no command {name!r}; {closest(name, known)}")
        return importlib.import_module(f"{commands.__name__}.{name.replace('-', '_')}").command


def _show_versions(context: click.Context, _: click.Parameter, asked: bool) -> None:
    if asked and not context.resilient_parsing:
        from resnest.jobs.doctor import versions  # here, because it asks all packages

        there = ", ".join(f"{package} {version}" for package, version in versions().items())
        click.echo(f"resnest {resnest.__version__}, Python {platform.python_version()}\n{there}")
        context.exit()


@click.group(cls=Folder, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_show_versions,
    help="Show the version, and those of what is installed beside it.",
)
@click.option("--traceback", is_flag=True, help="Show where an error comes from too.")
def main(traceback: bool) -> None:
    """ResNeSt (Split-Attention Networks) in PyTorch and MXNet Gluon, from one spec.

    Exit status: 0; 1 for a bound that is broken; 2 for bad input; 70 for a fault of this package.
    """
