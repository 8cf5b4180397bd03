"""The performance table of docs/speed.md and the README's plot.

python benchmarks/run.py OUTPUT [--threads 2] [--clock wall|cpu] [NAMES]
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from resnest import get_spec, list_models
from resnest.backends.processor import machine
from resnest.jobs.bench.plot import plot
from resnest.jobs.bench.run import Job, contenders, report, run

PEERS = ["timm", "gluoncv", "onnxruntime"]

IN_FULL = "resnest50"
"""The network that is measured in every form; of the others, those in the table of all networks."""

OURS = (
    ("resnest.torch", "timm"),
    ("resnest.torch deploy", "timm"),
    ("resnest.torch optimized", "timm"),
    ("resnest.torch optimized", "timm compiled"),
    ("resnest.onnx deploy", "timm.onnx"),
    ("resnest.gluon", "gluoncv"),
    ("resnest.gluon optimized", "gluoncv"),
)
"""The columns of the table of all networks: our forms, and whom each is compared with."""


def jobs(names: list[str], **setting: Any) -> Iterator[Job]:
    """The fullest comparison first, then the others, the small ones first."""
    if IN_FULL in names:
        yield Job(IN_FULL, 1, **setting)
        yield Job(IN_FULL, 8, **setting)
        yield Job(IN_FULL, 8, 128, train=True, **setting)
    others = [Job(name, **setting) for name in names if name != IN_FULL]
    for job in sorted(others, key=lambda job: get_spec(job.model).cost(job.size).macs):
        yield job
        yield replace(job, batch=8)


def peers(job: Job) -> list[str]:
    return [name for name in contenders(job, PEERS) if not name.startswith("resnest")]


def measure(job: Job, rounds: int) -> dict[str, Any]:
    names = contenders(job, PEERS)
    turns = [names]
    if job.model != IN_FULL:
        shown = {ours for ours, _ in OURS}
        names = [name for name in names if name in shown or name in peers(job)]
        # One runtime's after the other's: all contenders of resnest269 together take more than 24 GB.
        turns = [[name for name in names if runtime(name) == one] for one in dict.fromkeys(map(runtime, names))]
        rounds = max(rounds // 2, 2)
    steps = 3 if job.batch == 1 else 2
    results = [run(job, turn, rounds, steps, progress=lambda said: print(said, file=sys.stderr)) for turn in turns]
    return report(job, [result for part in results for result in part])


def runtime(name: str) -> str:
    """What runs the contender called `name`; only those of one runtime are compared."""
    return next((one for one in ("onnx", "gluon") if one in name), "torch")


def predictions_in_full(reports: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [one for one in reports if one["job"]["model"] == IN_FULL and not one["job"]["train"]]


def headline(reports: list[dict[str, Any]]) -> str:
    """The table in docs/speed.md, as Markdown: the network measured in full, batch 1 beside batch 8."""
    shown = predictions_in_full(reports)
    columns = [f"{title} {one['job']['batch']}" for one in shown for title in ("ms, batch", "over peer, batch")]
    lines = [
        machine_and_versions(shown[0]),
        "",
        f"| {IN_FULL}, {shown[0]['job']['size']}² | " + " | ".join(columns) + " |",
    ]
    lines.append("|---" * (len(columns) + 1) + "|")
    for rows in zip(*(one["results"] for one in shown)):
        cells = [cell for row in rows for cell in (f"{1e3 * row['median']:.0f}", ratios_of(row))]
        lines.append(f"| {rows[0]['contender']} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def tables(reports: list[dict[str, Any]]) -> str:
    """Everything measured, as Markdown: the network in full, then the ratios of all networks."""
    lines = [machine_and_versions(reports[0]), ""]
    for one in reports:
        if one["job"]["model"] == IN_FULL:
            lines += in_full(one)
    lines += ["| median over the peer's | batch | " + " | ".join(" / ".join(pair) for pair in OURS) + " |"]
    lines += ["|---" * (len(OURS) + 2) + "|"]
    predictions = [one for one in reports if not one["job"]["train"]]
    for one in sorted(predictions, key=lambda one: (list_models().index(one["job"]["model"]), one["job"]["batch"])):
        ratios = {row["contender"]: row["ratios"] for row in one["results"]}
        cells = [f"{ratios[ours][peer]:.2f}" if peer in ratios.get(ours, {}) else "" for ours, peer in OURS]
        lines.append(f"| {one['job']['model']} | {one['job']['batch']} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def in_full(report: dict[str, Any]) -> list[str]:
    job = report["job"]
    kind, memory = ("training step", "MB in steps") if job["train"] else ("prediction", "MB")
    what = f"{job['model']}, {kind}, {job['batch']} x {job['size']}²"
    lines = [f"| {what} | ms | spread | {memory} | over peer |", "|---|---|---|---|---|"]
    for row in report["results"]:
        megabytes = (row["step_memory"] if job["train"] else row["peak"]) / 1e6
        cells = [f"{1e3 * row['median']:.1f}", f"{row['spread']:.0%}", f"{megabytes:.0f}", ratios_of(row)]
        lines.append(f"| {row['contender']} | {' | '.join(cells)} |")
    return [*lines, ""]


def ratios_of(row: dict[str, Any]) -> str:
    return ", ".join(f"{ratio:.2f} {peer.removeprefix('resnest.torch ')}" for peer, ratio in row["ratios"].items())


def machine_and_versions(report: dict[str, Any]) -> str:
    versions = ", ".join(f"{name} {version}" for name, version in report["versions"].items())
    job = report["job"]
    return f"{report['machine']}, {job['threads']} threads, {job['clock']} clock; {versions}."


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("output", type=Path)
    parser.add_argument("names", nargs="*", help="networks; without any, all that a peer has")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--clock", choices=["wall", "cpu"], default="wall")
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--show", action="store_true", help="print the table of docs/speed.md, and measure nothing")
    arguments = parser.parse_args()
    setting = {"threads": arguments.threads, "clock": arguments.clock}
    arguments.output.mkdir(parents=True, exist_ok=True)
    results = arguments.output / "results.json"
    reports: list[dict[str, Any]] = json.loads(results.read_text()) if results.exists() else []
    if arguments.show:
        print(headline(reports), end="")
        return
    for one in reports:
        if one["machine"] != machine() or any(one["job"][word] != value for word, value in setting.items()):
            parser.error(f"{results} was measured otherwise: {machine_and_versions(one)} Name another OUTPUT.")
    measured = [one["job"] for one in reports]
    names = arguments.names or [name for name in list_models() if peers(Job(name))]
    for job in jobs(names, **setting):
        if asdict(job) in measured:
            continue
        new = measure(job, arguments.rounds)
        for one in reports:
            if any(one["versions"].get(name, version) != version for name, version in new["versions"].items()):
                parser.error(f"{results} was measured with others than {new['versions']}: name another OUTPUT.")
        reports.append(new)
        # Written after each run, so that an interrupted hour is not lost.
        results.write_text(json.dumps(reports, indent=1) + "\n")
        (arguments.output / "tables.md").write_text(tables(reports))
        plot(predictions_in_full(reports) or reports[:1], arguments.output / "plot.svg")


if __name__ == "__main__":
    main()
