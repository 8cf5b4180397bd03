"""What a training leaves to read: a table of its steps, a picture of its curve, and TensorBoard's files."""

from __future__ import annotations

import csv
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from resnest.jobs.pictures import figure


@dataclass(frozen=True)
class Row:
    """A step: its epoch, learning rate and loss; after an evaluation its accuracies in percent and loss too."""

    step: int
    epoch: int
    lr: float
    loss: float
    top1: float | None = None
    top5: float | None = None
    eval_loss: float | None = None


SECONDS_BETWEEN_PICTURES = 60

COLUMNS = [field.name for field in fields(Row)]


class Log:
    """`log.csv` and `curve.png` in a `folder`; what came after the step `done` of an earlier run is taken out."""

    def __init__(self, folder: Path, done: int = 0, tensorboard: bool = False):
        self.path = folder / "log.csv"
        self.picture = folder / "curve.png"
        self.rows = [row for row in read_log(self.path) if row.step <= done] if done else []
        whole = self.path.with_name(".log.csv.unfinished")  # who is killed while it is written has the old one
        with open(whole, "w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(COLUMNS)
            writer.writerows(_cells(row) for row in self.rows)
        os.replace(whole, self.path)
        self.file = open(self.path, "a", newline="", buffering=1)  # noqa: SIM115  # open as long as the run
        self.writer = csv.writer(self.file)
        self.drawn = time.monotonic()
        self.board = _board(folder / "tensorboard", done) if tensorboard else None

    def add(self, row: Row) -> None:
        self.rows.append(row)
        self.writer.writerow(_cells(row))
        if self.board is not None:
            for name in COLUMNS[2:]:
                if getattr(row, name) is not None:
                    self.board.add_scalar(name, getattr(row, name), row.step)

    def draw(self) -> None:
        """Draw the curve so far, if the last time was a while ago."""
        if time.monotonic() - self.drawn > SECONDS_BETWEEN_PICTURES:
            draw_curves({"": self.rows}, self.picture)
            self.drawn = time.monotonic()

    def close(self) -> None:
        draw_curves({"": self.rows}, self.picture)
        self.file.close()
        if self.board is not None:
            self.board.close()


def read_log(path: Path) -> list[Row]:
    """The rows in the log at `path`; a last one that was cut off is left out."""
    if not path.is_file():
        return []
    with open(path, newline="") as file:
        whole = [line for line in file if line.endswith("\n")]
    rows = []
    for cells in csv.DictReader(whole):
        try:
            step, epoch, *numbers = (cells[name] for name in COLUMNS)
            rows.append(Row(int(step), int(epoch), *(float(number) if number else None for number in numbers)))  # type: ignore[arg-type]  # the first two numbers are always there
        except (TypeError, ValueError):
            continue
    return rows


def draw_curves(logs: Mapping[str, Sequence[Row]], path: Path, title: str = "") -> None:
    """Draw the losses, and the accuracies where there are any, of each of the titled `logs` over one another."""
    drawn = figure(7.0, 6.0, "train")
    above, below = drawn.subplots(2, sharex=True)
    above.set_title(title, fontsize=10)
    above.set_ylabel("loss")
    below.set_ylabel("accuracy in percent")
    below.set_xlabel("step")
    for number, (name, rows) in enumerate(logs.items()):
        style: dict[str, Any] = {"linewidth": 3, "alpha": 0.4} if number == 0 and len(logs) > 1 else {}
        dashes = "--" if number else "-"
        above.plot([row.step for row in rows], [row.loss for row in rows], dashes, label=name or "training", **style)
        judged = [row for row in rows if row.top1 is not None]
        losses = [row.eval_loss for row in judged]
        above.plot([row.step for row in judged], losses, f"{dashes}o", markersize=3, label=f"{name} evaluation".strip())
        below.plot(
            [row.step for row in judged],
            [row.top1 for row in judged],
            f"{dashes}o",
            label=f"{name} top-1".strip(),
            **style,
        )
    above.legend()
    below.legend()
    drawn.savefig(path)


def _cells(row: Row) -> list[Any]:
    return ["" if getattr(row, name) is None else getattr(row, name) for name in COLUMNS]


def _board(folder: Path, done: int) -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ModuleNotFoundError as error:
        raise ImportError(
            f"tensorboard=true needs TensorBoard, and {error.name} is not installed: pip install 'resnest[tensorboard]'"
        ) from error
    return SummaryWriter(str(folder), purge_step=done + 1 if done else None)
