"""The performance table and its plot: python benchmarks/run.py OUTPUT [--threads 2] [--clock wall|cpu] [NAMES]."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from resnest import list_models
from resnest.bench import PEERS, Job, contenders, report, run
from resnest.bench_plot import plot


def table(reports: list[dict[str, Any]]) -> str:
    """All medians and ratios, as Markdown."""
    versions = ", ".join(f"{name} {version}" for name, version in reports[0]["versions"].items())
    lines = [
        f"{reports[0]['machine']}, {reports[0]['job']['threads']} threads; {versions}.",
        "",
        "| network | batch | contender | ms | spread | MB | over its peers |",
        "|---|---|---|---|---|---|---|",
    ]
    for one in reports:
        job = one["job"]
        what = f"{job['model']}, {'training at' if job['train'] else 'at'} {job['size']}"
        for row in one["results"]:
            ratios = ", ".join(f"{ratio:.2f} x {peer}" for peer, ratio in row["ratios"].items())
            lines.append(
                f"| {what} | {job['batch']} | {row['contender']} | {1e3 * row['median']:.1f} |"
                f" {row['spread']:.0%} | {row['peak'] / 1e6:.0f} | {ratios} |"
            )
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("output", type=Path)
    parser.add_argument("names", nargs="*", help="networks; without any, all of them")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--clock", choices=["wall", "cpu"], default="wall")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--no-fastest", action="store_true", help="leave out what is compiled first, for minutes")
    arguments = parser.parse_args()
    names = arguments.names or list_models()
    setting = {"threads": arguments.threads, "clock": arguments.clock}
    jobs = [Job(name, batch, **setting) for name in names for batch in (1, 8)]
    jobs += [Job(name, 8, 128, train=True, **setting) for name in names if name == "resnest50"]
    arguments.output.mkdir(parents=True, exist_ok=True)
    reports = []
    for job in jobs:
        peers = contenders(job, PEERS, not arguments.no_fastest)
        reports.append(report(job, run(job, peers, arguments.rounds, progress=print)))
        # Written after each run, so that an interrupted hour is not lost.
        (arguments.output / "results.json").write_text(json.dumps(reports, indent=1) + "\n")
        (arguments.output / "table.md").write_text(table(reports))
    plot([one for one in reports if one["job"]["model"] == names[0]], arguments.output / "plot.svg")


if __name__ == "__main__":
    main()
