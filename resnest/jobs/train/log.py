"""What a training leaves to read: a table of its steps, a picture of its curve, and TensorBoard's files."""

from __future__ import annotations

import csv
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from resnest.jobs.pictures import figure


@dataclass(frozen=True)
class Row:
    """A step: its epoch, learning rate and loss; after an evaluation what the network was `judged` by, too.

    That is what the task's `evaluate` gives, by the names in `TITLES`.
    """

    step: int
    epoch: int
    lr: float
    loss: float
    judged: Mapping[str, float] = field(default_factory=dict)


TITLES = {
    "top1": "top-1",
    "top5": "top-5",
    "eval_loss": "loss",
    "box_ap": "box AP",
    "box_ap50": "box AP50",
    "mask_ap": "mask AP",
    "mask_ap50": "mask AP50",
}
"""What a network may be judged by, as it is shown: in percent, but for a loss."""

CURVES = ("top1", "box_ap", "mask_ap")
"""What of that is drawn, beside losses."""

SECONDS_BETWEEN_PICTURES = 60

STEP = ("step", "epoch", "lr", "loss")


class Log:
    """`log.csv` and `curve.png` in a `folder`; what came after the step `done` of an earlier run is taken out.

    `judged` are the names of what the network will be judged by.
    """

    def __init__(self, folder: Path, done: int = 0, tensorboard: bool = False, judged: Sequence[str] = ()):
        self.judged = tuple(judged)
        self.path = folder / "log.csv"
        self.picture = folder / "curve.png"
        self.rows = [row for row in read_log(self.path) if row.step <= done] if done else []
        whole = self.path.with_name(".log.csv.unfinished")  # who is killed while it is written has the old one
        with open(whole, "w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow([*STEP, *self.judged])
            writer.writerows(self._cells(row) for row in self.rows)
        os.replace(whole, self.path)
        self.file = open(self.path, "a", newline="", buffering=1)  # noqa: SIM115  # open as long as the run
        self.writer = csv.writer(self.file)
        self.drawn = time.monotonic()
        self.board = _board(folder / "tensorboard", done) if tensorboard else None

    def add(self, row: Row) -> None:
        self.rows.append(row)
        self.writer.writerow(self._cells(row))
        if self.board is not None:
            for name, number in {"lr": row.lr, "loss": row.loss, **row.judged}.items():
                self.board.add_scalar(name, number, row.step)

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

    def _cells(self, row: Row) -> list[Any]:
        return [row.step, row.epoch, row.lr, row.loss, *(row.judged.get(name, "") for name in self.judged)]


def read_log(path: Path) -> list[Row]:
    """The rows in the log at `path`; a last one that was cut off is left out."""
    if not path.is_file():
        return []
    with open(path, newline="") as file:
        whole = [line for line in file if line.endswith("\n")]
    rows = []
    for cells in csv.DictReader(whole):
        try:
            step, epoch, rate, loss = (cells.pop(name) for name in STEP)
            judged = {name: float(number) for name, number in cells.items() if number}
            rows.append(Row(int(step), int(epoch), float(rate), float(loss), judged))
        except (KeyError, TypeError, ValueError):
            continue
    return rows


def told(judged: Mapping[str, float]) -> str:
    """What a network was judged by, in words."""
    return ", ".join(
        f"{TITLES[name]} {number:.4f}" if name == "eval_loss" else f"{TITLES[name]} {number:.2f} %"
        for name, number in judged.items()
    )


def draw_curves(logs: Mapping[str, Sequence[Row]], path: Path, title: str = "") -> None:
    """Draw the losses, and below what is in `CURVES`, of each of the titled `logs` over one another."""
    drawn = figure(7.0, 6.0, "train")
    above, below = drawn.subplots(2, sharex=True)
    above.set_title(title, fontsize=10)
    above.set_ylabel("loss")
    below.set_ylabel("percent")
    below.set_xlabel("step")
    for number, (name, rows) in enumerate(logs.items()):
        style: dict[str, Any] = {"linewidth": 3, "alpha": 0.4} if number == 0 and len(logs) > 1 else {}
        dashes = "--" if number else "-"
        above.plot([row.step for row in rows], [row.loss for row in rows], dashes, label=name or "training", **style)
        for axes, drawn_here in ((above, ("eval_loss",)), (below, CURVES)):
            for what in drawn_here:
                judged = [(row.step, row.judged[what]) for row in rows if what in row.judged]
                label = f"{name} {'evaluation' if what == 'eval_loss' else TITLES[what]}".strip()
                look = {"markersize": 3} if what == "eval_loss" else style
                if judged:
                    axes.plot(*zip(*judged), f"{dashes}o", label=label, **look)
    above.legend()
    if below.lines:
        below.legend()
    drawn.savefig(path)


def _board(folder: Path, done: int) -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ModuleNotFoundError as error:
        raise ImportError(
            f"tensorboard=true needs TensorBoard, and {error.name} is not installed: pip install 'resnest[tensorboard]'"
        ) from error
    return SummaryWriter(str(folder), purge_step=done + 1 if done else None)
