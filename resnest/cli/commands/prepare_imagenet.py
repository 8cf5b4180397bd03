"""`resnest prepare-imagenet`."""

from __future__ import annotations

from pathlib import Path

import click
from rich.progress import (
    BarColumn,
    DownloadColumn,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)

from resnest.cli.paths import Input, Output
from resnest.cli.progress import Progress
from resnest.cli.terminal import Command, errors
from resnest.cli.values import Word


@click.command("prepare-imagenet", cls=Command)
@click.argument("archives", type=Input("folder of archives", file=False, folder=True))
@click.argument("output", type=Output("folder", file=False, folder=True))
@click.option("--split", type=Word(["train", "val"]), help="Only one of the two.")
@click.option("--no-check", is_flag=True, help="Take archives of another size or hash, packed anew for example.")
def command(archives: Path, output: Path, split: str | None, no_check: bool) -> None:
    """Unpack ImageNet's official ARCHIVES into folders: OUTPUT/train and OUTPUT/val, with one for each class.

    The folder ARCHIVES has ILSVRC2012_img_train.tar, ILSVRC2012_img_val.tar and ILSVRC2012_devkit_t12.tar.gz, which
    has the labels of val. It takes 155 GB. Whatever ends it, the same command goes on where it ended.

    Example: resnest prepare-imagenet archives/ imagenet/
    """
    from resnest.data import imagenet

    columns = TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn()
    with Progress(*columns, TimeRemainingColumn(), console=errors, disable=not errors.is_terminal) as bar:
        tasks: dict[str, TaskID] = {}

        def show(what: str, done: int, total: int) -> None:
            if what not in tasks:
                tasks[what] = bar.add_task(what)
            bar.update(tasks[what], completed=done, total=total)

        splits = imagenet.SPLITS if split is None else (split,)
        found = imagenet.prepare(archives, output, splits, check=not no_check, progress=show)
    for name, images in found.items():
        click.echo(f"{output / name}: {len(images):,} images of {len(images.classes):,} classes")
