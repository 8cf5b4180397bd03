"""How fast a network is beside others, measured so that a busy machine disturbs all of them alike.

Each contender lives in a process of its own (`resnest.jobs.bench.worker`), so that frameworks
which do not bear each other can be compared and peak memory is its own. They take turns, a few
steps each, and what is compared is their medians over all rounds.
"""

from __future__ import annotations

import contextlib
import importlib.util
import json
import platform
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from statistics import median, quantiles
from typing import Any

from resnest.backends import registry
from resnest.backends.processor import OWN, check_dtype, machine
from resnest.specs.published import ALIASES, get_spec

FLOOR = "resnest.torch convolutions"
"""The convolutions of the deploy form alone, run one by one in PyTorch."""

ONNX = "resnest.onnx deploy"
"""The network as `resnest export` writes it, run by onnxruntime."""


@dataclass(frozen=True)
class Peer:
    """A library to compare with: which networks it has, and in which forms they run, as in the registry's rows."""

    models: tuple[str, ...] = ()
    forms: tuple[str, ...] = ("",)
    compiled: tuple[str, ...] = ()
    trained: tuple[str, ...] = ("",)


PEERS = {
    "timm": Peer(
        tuple(ALIASES.values()),
        forms=(
            *("", "nchw", "compiled", "compiled nchw"),
            *("bfloat16", "autocast bfloat16", "compiled bfloat16", "compiled int8"),
        ),
        compiled=("compiled", "compiled nchw", "compiled bfloat16", "compiled int8"),
        trained=("", "nchw"),
    ),
    "gluoncv": Peer(("resnest14", "resnest26", "resnest50", "resnest101", "resnest200", "resnest269")),
    # These run the others' networks.
    "onnxruntime": Peer(forms=("", "int8")),
    "openvino": Peer(forms=("", "bfloat16", "int8")),
}

RUNTIMES = {"onnxruntime": (ONNX, "timm.onnx"), "openvino": ("timm.openvino",)}
"""Whose networks a runtime runs, as a contender's first words."""

PRECISIONS = ("float32", "bfloat16", "int8")
"""What a contender computes in: its last word, or float32."""

PACKAGES = {
    "timm": ("timm",),
    "timm compiled int8": ("torchao",),
    "timm.onnx": ("timm", "onnxruntime"),
    "timm.openvino": ("timm", "openvino"),
    "timm.openvino int8": ("nncf",),
    "gluoncv": ("gluoncv",),
    ONNX.partition(" ")[0]: ("onnxruntime",),
}
"""By a contender's name or its first word: what has to be installed for it beside the backend's framework."""


AGAINST = (*PEERS, *list(registry.BACKENDS)[1:])
"""What the first backend can be compared with."""


@dataclass(frozen=True)
class Job:
    """What every contender does: `batch` images of `size` x `size` pixels, predicted or, with `train`, one step.

    `clock` is "wall", or "cpu" for the processor's seconds on all threads, which on a busy
    machine and with one thread are what "wall" would be on an idle one.
    """

    model: str
    batch: int = 1
    size: int = 224
    threads: int = 2
    train: bool = False
    clock: str = "wall"


@dataclass
class Result:
    """One contender's times. `peak` is its process's memory at most, `step_memory` what of it the steps took, in bytes.

    `ratios` are its median over those of its peers in the same run.
    """

    contender: str
    seconds: list[float] = field(default_factory=list)
    versions: dict[str, str] = field(default_factory=dict)
    peak: int = 0
    step_memory: int = 0
    ratios: dict[str, float] = field(default_factory=dict)

    @property
    def median(self) -> float:
        return median(self.seconds)

    @property
    def spread(self) -> float:
        """The interquartile range over the median."""
        if len(self.seconds) < 2:
            return 0.0
        low, _, high = quantiles(self.seconds, n=4)
        return (high - low) / self.median


def contenders(
    job: Job, against: Sequence[str], fastest: bool = True, precisions: Sequence[str] = PRECISIONS[:1]
) -> list[str]:
    """Who runs: the first backend's forms, and those of the libraries and backends in `against` that have this network.

    With a library comes the backend of the same framework. Without `fastest` the forms that are compiled
    first, which takes minutes, are left out, and so are those in none of the `precisions`. Raises ValueError for what
    nobody compares with.
    """
    known = (*PEERS, *list(registry.BACKENDS)[1:])
    for name in against:
        if name not in known:
            raise ValueError(f"there is nothing to run against called {name!r}; known are {', '.join(known)}")
    names = []
    for number, (backend, row) in enumerate(registry.BACKENDS.items()):
        if number == 0 or {backend, *row.peers} & {*against}:
            names += _forms(row.package, row, job, fastest)
        for library in {*row.peers} & {*against}:
            if get_spec(job.model).name in PEERS[library].models:
                names += _forms(library, PEERS[library], job, fastest)
    for runtime, networks in RUNTIMES.items():
        if runtime in against and not job.train:
            timm = get_spec(job.model).name in PEERS["timm"].models and (runtime != "onnxruntime" or "timm" in against)
            for network in networks:
                names += _forms(network, PEERS[runtime], job, fastest) if timm or network == ONNX else []
    return [name for name in names if precision(name) in precisions]


def precision(contender: str) -> str:
    """What a contender computes in, one of `PRECISIONS`."""
    word = contender.split()[-1]
    return word if word in PRECISIONS else PRECISIONS[0]


def impossible(names: Sequence[str]) -> dict[str, str]:
    """Which of the contenders cannot run here, and why: a package is missing, or the processor's instructions."""
    found = {}
    for name in names:
        packages = {*PACKAGES.get(name.partition(" ")[0], ()), *PACKAGES.get(name, ())}
        missing = sorted(package for package in packages if importlib.util.find_spec(package) is None)
        if missing:
            found[name] = f"it needs {' and '.join(missing)}: pip install {' '.join(missing)}"
        elif precision(name) in OWN:
            try:
                check_dtype(precision(name))
            except ValueError as error:
                found[name] = str(error)
    return found


def _forms(library: str, has: registry.Row | Peer, job: Job, fastest: bool) -> list[str]:
    forms = [form for form in (has.trained if job.train else has.forms) if fastest or form not in has.compiled]
    return [f"{library} {form}".rstrip() for form in forms]


def run(
    job: Job, names: Sequence[str], rounds: int = 10, steps: int = 3, progress: Callable[[str], None] = lambda _: None
) -> list[Result]:
    """Time the contenders called `names`: in each of `rounds` rounds each does `steps` timed steps, after one untimed.

    Raises RuntimeError, with its last words, for a contender that fails.
    """
    workers: list[_Worker] = []
    results = [Result(name) for name in names]
    try:
        for result in results:  # one after the other, so that none is built while another one warms up
            progress(f"{job.model}: {result.contender} gets ready")
            workers.append(_Worker(result.contender))
            result.versions = workers[-1].ask({"contender": result.contender, **asdict(job)})
        for number in range(rounds):
            progress(f"{job.model}: round {number + 1} of {rounds}")
            for result, worker in zip(results, workers):
                result.seconds += worker.ask(steps)
        for result, worker in zip(results, workers):
            memory = worker.end()
            result.peak, result.step_memory = memory["peak"], memory["step"]
    finally:
        for worker in workers:
            worker.kill()
    _compare(results)
    return results


class _Worker:
    """A contender's process, spoken to in lines of JSON."""

    def __init__(self, name: str):
        self.name = name
        self.words = tempfile.TemporaryFile("w+")  # noqa: SIM115  # open as long as the process: what it says there
        command = [sys.executable, "-m", "resnest.jobs.bench.worker"]
        pipe = subprocess.PIPE
        self.process = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=self.words, text=True)

    def ask(self, value: Any) -> Any:
        with contextlib.suppress(BrokenPipeError):  # it is gone, which its missing answer says
            print(json.dumps(value), file=self.process.stdin, flush=True)
        return self._answer()

    def end(self) -> Any:
        return self.ask(0)

    def kill(self) -> None:
        self.process.kill()
        self.process.communicate()
        self.words.close()

    def _answer(self) -> Any:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            if self.process.wait() == -9:  # SIGKILL, which has no name on Windows
                raise RuntimeError(
                    f"{self.name} was killed, as by a system short of memory: run fewer contenders at once"
                )
            self.words.seek(0)
            words = self.words.read().strip().splitlines() or ["it said nothing"]
            raise RuntimeError(f"{self.name} ended without an answer: {words[-1]}")
        return json.loads(line)


def _compare(results: list[Result]) -> None:
    """Fill in the ratios: over each peer's best form in the same precision, and over the convolutions alone."""
    best: dict[str, float] = {}
    for result in results:
        name = " ".join(word for word in result.contender.split() if word not in ("nchw", "autocast"))
        best[name] = min(best.get(name, result.median), result.median)
    for result in results:
        for peer in _peers(result.contender):
            if peer in best:
                result.ratios[peer] = result.median / best[peer]


def _peers(contender: str) -> tuple[str, ...]:
    """Whose times a contender's own are put over."""
    kind = precision(contender)
    word = "" if kind == PRECISIONS[0] else f" {kind}"
    if contender.startswith(ONNX):
        return f"timm.onnx{word}", f"timm.openvino{word}", *(["timm compiled int8"] if kind == "int8" else [])
    for row in registry.BACKENDS.values():
        if contender.partition(" ")[0] == row.package and contender != FLOOR:
            compiled = [f"{peer} compiled{word}" for peer in row.peers if contender.endswith(row.compiled)]
            floor = [FLOOR] if FLOOR.startswith(row.package) and not word else []
            return *floor, *(f"{peer}{word}" for peer in row.peers), *compiled
    return ()


def report(job: Job, results: Sequence[Result]) -> dict[str, Any]:
    """All that was measured, with the machine and versions it came from, ready for JSON."""
    versions: dict[str, str] = {"python": platform.python_version()}
    for result in results:
        versions |= result.versions
    rows = []
    for result in results:
        row = asdict(result) | {"median": result.median, "spread": result.spread}
        row["images_per_second"] = job.batch / result.median
        del row["versions"]
        rows.append(row)
    return {"job": asdict(job), "machine": machine(), "versions": versions, "results": rows}
