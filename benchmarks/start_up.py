"""How long it takes until the package and its commands are there: whole processes, the import alone measured inside.

    python benchmarks/start_up.py [--rounds 15]

Prints medians in milliseconds, taken in turns.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from statistics import median

IMPORT = "import time; start = time.perf_counter(); import resnest; print(time.perf_counter() - start)"

COMMANDS = (["list"], ["info", "resnest50"], ["--help"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=15)
    rounds = parser.parse_args().rounds
    seconds: dict[str, list[float]] = {}
    for _ in range(rounds):
        seconds.setdefault("import resnest", []).append(import_alone())
        for command in COMMANDS:
            seconds.setdefault(f"resnest {' '.join(command)}", []).append(process(command))
    for what, times in seconds.items():
        print(f"{what:22} {1e3 * median(times):6.0f} ms")


def import_alone() -> float:
    done = subprocess.run([sys.executable, "-c", IMPORT], capture_output=True, text=True, check=True)
    return float(done.stdout)


def process(command: list[str]) -> float:
    start = time.perf_counter()
    subprocess.run([sys.executable, "-m", "resnest", *command], stdout=subprocess.DEVNULL, check=True)
    return time.perf_counter() - start


if __name__ == "__main__":
    main()
