"""A picture of what `resnest bench` measured."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

from resnest.jobs.pictures import figure


def plot(reports: Sequence[Mapping[str, Any]], path: str | os.PathLike) -> None:
    """Draw medians as bars, one panel a report, their quartiles' range as whiskers, to an `.svg` or `.png`.

    Raises ImportError without matplotlib.
    """
    rows = max(len(report["results"]) for report in reports)
    drawn = figure(5.5 * len(reports), 1.0 + 0.3 * rows)
    for number, report in enumerate(reports, start=1):
        axes = drawn.add_subplot(1, len(reports), number)
        results = sorted(report["results"], key=lambda result: -result["median"])
        axes.barh(
            [result["contender"] for result in results],
            [1e3 * result["median"] for result in results],
            xerr=[500 * result["spread"] * result["median"] for result in results],
            color=["tab:blue" if result["contender"].startswith("resnest") else "tab:gray" for result in results],
        )
        job = report["job"]
        kind = "training step" if job["train"] else "prediction"
        axes.set_title(f"{job['model']}, {kind}, {job['batch']} x {job['size']} x {job['size']}", fontsize=10)
        axes.set_xlabel(f"milliseconds, {job['threads']} threads, {job['clock']} clock")
    drawn.savefig(path)
