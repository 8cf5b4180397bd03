"""`resnest bench`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from resnest.cli.paths import Output
from resnest.cli.terminal import BadInput, Command, console, errors, make_table, write_json
from resnest.cli.values import BATCH, CLASSIFIER, SIDE, THREADS, Word, Words
from resnest.jobs.bench import run as timing
from resnest.jobs.pictures import PICTURES, figure
from resnest.specs import get_spec


@click.command("bench", cls=Command)
@click.argument("names", nargs=-1, type=CLASSIFIER)
@click.option("--batch", type=BATCH, default=1, show_default=True, help="Images at once.")
@click.option("--size", type=SIDE, default=224, show_default=True, help="Side of the images in pixels.")
@click.option("--threads", type=THREADS, default=2, show_default=True)
@click.option(
    "--against",
    type=Words("library", timing.AGAINST),
    default="",
    help=f"Others to run beside it, with commas between them: {', '.join(timing.AGAINST)}.",
)
@click.option(
    "--precision",
    "precisions",
    type=Words("precision", timing.PRECISIONS),
    default="float32",
    show_default=True,
    help=f"What to compute in, with commas between: {', '.join(timing.PRECISIONS)}.",
)
@click.option("--train", is_flag=True, help="Time training steps instead of predictions.")
@click.option(
    "--clock",
    type=Word(["wall", "cpu"]),
    default="wall",
    show_default=True,
    help="cpu: the processor's seconds, for a busy machine, with --threads 1.",
)
@click.option("--fastest/--no-fastest", default=True, help="With or without what is compiled first, for minutes.")
@click.option(
    "--rounds",
    type=click.IntRange(1, 100_000),
    default=15,
    show_default=True,
    help="How often the contenders take turns.",
)
@click.option("--json", "json_path", type=Output("JSON file"), help="Write all times here.")
@click.option(
    "--plot", "plot_path", type=Output("picture", suffixes=PICTURES), help="Draw the medians here (.svg, .png)."
)
def command(
    names: tuple[str, ...],
    batch: int,
    size: int,
    threads: int,
    against: tuple[str, ...],
    precisions: tuple[str, ...],
    train: bool,
    clock: str,
    fastest: bool,
    rounds: int,
    json_path: Path | None,
    plot_path: Path | None,
) -> None:
    """Time the networks NAMES (without any, resnest50) in every form, beside other libraries, in turns.

    Example: resnest bench resnest50 --against timm
    """
    if plot_path is not None:
        figure(1, 1)  # or what it takes is said before the work
    names = names or ("resnest50",)
    for name in names:
        get_spec(name).check_size(size, size)
    reports = []
    for name in names:
        job = timing.Job(get_spec(name).name, batch, size, threads, train, clock)
        contenders = timing.contenders(job, against, fastest, precisions)
        left_out = timing.impossible(contenders)
        for contender, why in left_out.items():
            errors.print(f"{contender} is left out: {why}", soft_wrap=True, markup=False, highlight=False)
        contenders = [contender for contender in contenders if contender not in left_out]
        if not contenders:
            raise BadInput(f"nobody runs {job.model} in {' or '.join(precisions) or 'no precision'} here")
        with errors.status("") as status:
            try:
                results = timing.run(job, contenders, rounds, progress=status.update)
            except RuntimeError as error:
                raise BadInput(str(error)) from error
        reports.append(timing.report(job, results))
        _print(reports[-1])
    if json_path is not None:
        write_json(reports, json_path)
    if plot_path is not None:
        from resnest.jobs.bench.plot import plot

        plot(reports, plot_path)


def _print(report: dict[str, Any]) -> None:
    from resnest.jobs.bench.run import FLOOR

    job = report["job"]
    kind = "training step" if job["train"] else "prediction"
    console.print(f"[bold]{job['model']}[/], {kind}, {job['batch']} x {job['size']} x {job['size']} pixels")
    table = make_table("contender", "median", "spread", "images/s", "memory", "/ floor", "/ peer", "/ compiled")
    for result in report["results"]:
        ratios = {peer: f"{ratio:.2f}" for peer, ratio in result["ratios"].items()}
        floor = ratios.pop(FLOOR, "")
        compiled = next((ratios.pop(peer) for peer in [*ratios] if "compiled" in peer.split()), "")
        several = len(ratios) > 1
        table.add_row(
            result["contender"],
            f"{1e3 * result['median']:.1f} ms",
            f"{result['spread']:.0%}",
            f"{result['images_per_second']:.1f}",
            f"{result['peak'] / 1e6:.0f} MB",
            floor,
            ", ".join(f"{ratio} {peer}" if several else ratio for peer, ratio in ratios.items()),
            compiled,
        )
    console.print(table)
    versions = ", ".join(f"{library} {version}" for library, version in report["versions"].items())
    console.print(f"{report['machine']}, {job['threads']} threads, {job['clock']} clock; {versions}")
    console.print(
        "spread: the quartiles' range over the median; /: the median over that of the convolutions alone, of the same"
        " framework's other library in its best form of the same precision, and of that library compiled"
    )
