"""What commands that take several photos have in common: where pictures of them go, and photos that cannot be used."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from resnest.cli.paths import Output, check_distinct, check_folder
from resnest.cli.progress import Progress
from resnest.cli.terminal import BROKEN_BOUND, errors, one_line


def places(photos: Sequence[Path], output: Path | None, ending: str, *, several: bool) -> dict[Path, Path]:
    """Photo -> where what is made of it goes: to `output`, into it where it is a folder, or beside the photo.

    There it has the photo's name with `ending`. Raises ValueError where two would go to one place.
    """
    if output is None:
        return {photo: photo.with_suffix(ending) for photo in photos}
    file = output.suffix and not output.is_dir()
    if file and not several:
        return {photos[0]: output}
    if file:
        raise ValueError(f"{output} is no folder, and there are {len(photos)} photos: give a folder")
    found = [output / f"{photo.stem}{ending}" for photo in photos]
    twice = next((place for place in found if found.count(place) > 1), None)
    if twice is not None:
        raise ValueError(f"two photos would be drawn to {twice}: give photos of different names")
    return dict(zip(photos, found))


def check_places(made: Mapping[str, Mapping[Path, Path]], read: Mapping[str, Path], **written: Path | None) -> None:
    """ValueError, or an OSError, where what is `made` of photos cannot be written, or would take the place of a file.

    All is called what it has in a sentence: what is made (photo -> place), the other files that are `read`, and those
    that are `written`.
    """
    for folder in {place.parent for found in made.values() for place in found.values()}:
        check_folder(folder)
    outputs = [(f"the {what} of {photo.name}", made[what][photo]) for what in made for photo in made[what]]
    outputs += [(f"--{option}", path) for option, path in written.items() if path is not None]
    check_distinct(outputs, [*(("the photo", photo) for found in made.values() for photo in found), *read.items()])


def output_option(what: str, ending: str) -> Callable[..., Any]:
    """The option that says where a picture of each photo goes: `places` takes it."""
    from resnest.jobs.predict.draw import PICTURES  # here, so that a command that draws nothing loads no Pillow

    return click.option(
        "-o",
        "--output",
        type=Output("picture", suffixes=[*PICTURES], folder=True),
        help=f"{what}, of several photos a folder; without it each PHOTO's name with {ending}.",
    )


def with_each(photos: Sequence[Path], what: str, use: Callable[[Path], None]) -> dict[Path, str]:
    """Use each photo, showing how far it is; of those that cannot be used photo -> why.

    A photo that is alone raises its ValueError or FileNotFoundError.
    """
    left_out = {}
    hidden = len(photos) == 1 or not errors.is_terminal
    with Progress(console=errors, transient=True, disable=hidden) as progress:
        for photo in progress.track(photos, description=what):
            try:
                use(photo)
            except (ValueError, FileNotFoundError) as error:
                if len(photos) == 1:
                    raise
                left_out[photo] = str(error)
    return left_out


def end_with(left_out: Mapping[Path, str]) -> None:
    """Name the photos that were left out, and end the command with the status of a broken bound if there are some."""
    for reason in left_out.values():
        errors.print(f"left out: {one_line(reason)}", soft_wrap=True, markup=False)
    if left_out:
        raise click.exceptions.Exit(BROKEN_BOUND)


def said_of(made: Mapping[Path, Path], left_out: Mapping[Path, str]) -> str:
    """Where the pictures are of the photos that were not left out, in a word or two."""
    places = [place for photo, place in made.items() if photo not in left_out]
    if not places:
        return "nothing"
    return str(places[0]) if len(places) == 1 else f"{len(places)} photos in {places[0].parent}"
