"""What this machine's processor is, and which numbers it computes with by itself."""

from __future__ import annotations

import platform
from collections.abc import Collection, Sequence
from pathlib import Path

ALWAYS = ("float32", "float64")
"""What every processor computes with."""

OWN = {
    "bfloat16": ("avx512_bf16", "amx_bf16", "bf16"),
    "float16": ("avx512_fp16", "amx_fp16", "asimdhp"),
}
"""dtype -> the flags, as Linux tells them, of the instructions that multiply in it."""


def machine() -> str:
    """The processor's name and its widest instruction set, as far as the system tells them."""
    names = _values("model name")
    name = f"{len(names)} x {names[0]}" if names else platform.processor() or platform.machine()
    return ", ".join([name, *instructions(flags() or [])])


def instructions(flags: Sequence[str]) -> list[str]:
    """What a processor with these `flags` computes float32 with, and its own operations for INT8 and bfloat16."""
    widest = [name for flag, name in {"avx512f": "AVX-512", "avx2": "AVX2"}.items() if flag in flags][:1]
    narrow = {"avx512_vnni": "VNNI", "avx512_bf16": "BF16", "amx_tile": "AMX"}
    return widest + [name for flag, name in narrow.items() if flag in flags]


def flags() -> list[str] | None:
    """What the processor can do, in Linux's words; None where the system does not tell."""
    told = [*_values("flags"), *_values("Features")]  # of x86, and of ARM
    return told[0].split() if told else None


def check_dtype(dtype: str, known: Collection[str] | None = None) -> None:
    """Raise ValueError for a dtype in which this processor would be slower than in float32.

    `known` are the processor's flags, this machine's own without it; where no system tells them, nothing is refused.
    """
    if dtype not in (*ALWAYS, *OWN):
        raise ValueError(f"dtype={dtype!r} is none that networks compute in: choose {', '.join((*ALWAYS, *OWN))}")
    known = flags() if known is None else known
    if dtype in OWN and known is not None and not {*OWN[dtype]} & {*known}:
        can = [other for other in OWN if {*OWN[other]} & {*known}]
        raise ValueError(
            f"this processor has no {dtype} instructions ({', '.join(OWN[dtype][:2])}), and would be slower with them"
            f" emulated than in float32: take {' or '.join([*can, 'float32'])}"
        )


def _values(key: str) -> list[str]:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except FileNotFoundError:
        return []
    parts = (line.partition(":") for line in lines)
    return [value.strip() for name, _, value in parts if name.strip() == key]
