"""`resnest attention`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from resnest.cli.options import classifier_file, classifier_options
from resnest.cli.paths import Input, Output
from resnest.cli.photos import check_places, end_with, output_option, places, said_of, with_each
from resnest.cli.terminal import Command, console, errors, make_table, write_json
from resnest.jobs.predict.photos import ATTENTION


@click.command("attention", cls=Command)
@click.argument("photos", nargs=-1, required=True, type=Input("photo", folder=True), metavar="PHOTO|FOLDER...")
@classifier_options("Weights, of a segmenter's or detector's the backbone; without them published ones.")
@output_option("The picture", ATTENTION)
@click.option("--json", "results", type=Output("JSON file"), help="A file for the share of each split in each block.")
def command(
    photos: tuple[Path, ...],
    model: str | None,
    weights: Path | None,
    pretrained: str | None,
    output: Path | None,
    results: Path | None,
    **network: Any,
) -> None:
    """Draw where each split of the split attention looks in photos, a row for the last block of each stage.

    A picture shows what a split adds to the block's output, bright where it adds most, and says how much of the whole
    comes from it.

    Example: resnest attention cat.jpg --pretrained -o attention.png
    """
    from resnest.jobs.predict.attention import open_watcher
    from resnest.jobs.predict.draw import draw_looks, save_picture
    from resnest.jobs.predict.photos import photos_in

    paths = photos_in(photos)
    targets = places(paths, output, ATTENTION, several=len(photos) > 1 or photos[0].is_dir())
    model, path = classifier_file(model, weights, pretrained)
    check_places({"picture": targets}, {"the weights": path}, json=results)
    with errors.status("weights"):
        watcher = open_watcher(path, model=model, **network)
    rows: list[dict[str, Any]] = []
    table = make_table("photo", "block", *(f"split {number + 1}" for number in range(watcher.spec.radix)))

    def watch(photo: Path) -> None:
        seen, looks = watcher.watch(photo)
        last = {look.stage: look for look in looks}
        targets[photo].parent.mkdir(parents=True, exist_ok=True)
        save_picture(draw_looks(seen, [*last.values()]), targets[photo])
        rows.append({"photo": str(photo), "shares": {look.block: look.shares.tolist() for look in looks}})
        for look in last.values():
            table.add_row(photo.name, look.block, *(f"{share:.1%}" for share in look.shares))

    left_out = with_each(paths, watcher.spec.name, watch)
    if results is not None:
        write_json(rows, results)
    console.print(table)
    click.echo(said_of(targets, left_out))
    end_with(left_out)
