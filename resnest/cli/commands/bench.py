"""`resnest bench`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from resnest.cli.terminal import Command, console, errors, make_table
from resnest.specs import get_spec


@click.command("bench", cls=Command)
@click.argument("names", nargs=-1)
@click.option("--batch", type=int, default=1, show_default=True, help="Images at once.")
@click.option("--size", type=int, default=224, show_default=True, help="Side of the images in pixels.")
@click.option("--threads", type=int, default=2, show_default=True)
@click.option("--against", default="", help="Other libraries, with commas: timm, gluoncv, onnxruntime.")
@click.option("--train", is_flag=True, help="Time training steps instead of predictions.")
@click.option(
    "--clock",
    type=click.Choice(["wall", "cpu"]),
    default="wall",
    show_default=True,
    help="cpu: the processor's seconds, for a busy machine, with --threads 1.",
)
@click.option("--fastest/--no-fastest", default=True, help="With or without what is compiled first, for minutes.")
@click.option("--rounds", type=int, default=15, show_default=True, help="How often the contenders take turns.")
@click.option("--json", "json_path", type=click.Path(path_type=Path), help="Write all times here.")
@click.option("--plot", "plot_path", type=click.Path(path_type=Path), help="Draw the medians here (.svg, .png).")
def command(
    names: tuple[str, ...],
    batch: int,
    size: int,
    threads: int,
    against: str,
    train: bool,
    clock: str,
    fastest: bool,
    rounds: int,
    json_path: Path | None,
    plot_path: Path | None,
) -> None:
    """Time the networks NAMES (without any, resnest50) in every form, beside other libraries, in turns."""
    from resnest.jobs.bench import run as timing

    reports = []
    for name in names or ("resnest50",):
        job = timing.Job(get_spec(name).name, batch, size, threads, train, clock)
        contenders = timing.contenders(job, [library for library in against.split(",") if library], fastest)
        with errors.status("") as status:
            try:
                results = timing.run(job, contenders, rounds, progress=status.update)
            except RuntimeError as error:
                raise click.ClickException(str(error)) from error
        reports.append(timing.report(job, results))
        _print(reports[-1])
    if json_path is not None:
        json_path.write_text(json.dumps(reports, indent=1) + "\n")
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
        compiled = next((ratios.pop(peer) for peer in [*ratios] if peer.endswith(" compiled")), "")
        table.add_row(
            result["contender"],
            f"{1e3 * result['median']:.1f} ms",
            f"{result['spread']:.0%}",
            f"{result['images_per_second']:.1f}",
            f"{result['peak'] / 1e6:.0f} MB",
            floor,
            *ratios.values() or ("",),
            compiled,
        )
    console.print(table)
    versions = ", ".join(f"{library} {version}" for library, version in report["versions"].items())
    console.print(f"{report['machine']}, {job['threads']} threads, {job['clock']} clock; {versions}")
    console.print(
        "spread: the quartiles' range over the median; /: the median over that of the convolutions alone, of the same"
        " framework's other library in its better memory layout, and of that library compiled"
    )
