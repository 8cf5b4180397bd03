"""What is said of the processor, and what it is not asked to do."""

import pytest

from resnest.backends import processor
from resnest.backends.processor import check_dtype, instructions


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        ("sse2 avx2 avx512f avx512_vnni avx512_bf16", ["AVX-512", "VNNI", "BF16"]),
        ("avx avx2 fma", ["AVX2"]),
        ("sse2", []),
    ],
)
def test_a_report_tells_the_instruction_set(flags, expected):
    assert instructions(flags.split()) == expected


@pytest.mark.parametrize(
    ("dtype", "flags"),
    [
        ("bfloat16", ["avx512f", "avx512_bf16"]),
        ("bfloat16", ["amx_bf16"]),
        ("float16", ["avx512_fp16"]),
        ("float32", ["sse2"]),
        ("float64", []),
    ],
)
def test_a_dtype_that_the_processor_has_is_taken(dtype, flags):
    check_dtype(dtype, flags)


def test_a_dtype_that_it_has_not_is_one_sentence():
    with pytest.raises(ValueError, match=r"no bfloat16 instructions .avx512_bf16, amx_bf16.* take float32$"):
        check_dtype("bfloat16", ["avx512f", "avx512_vnni"])
    with pytest.raises(ValueError, match=r"no float16 instructions .* take bfloat16 or float32$"):
        check_dtype("float16", ["avx512_bf16"])
    with pytest.raises(ValueError, match="dtype='int4' is none that networks compute in: choose float32, float64"):
        check_dtype("int4", [])


def test_nothing_is_refused_where_the_system_tells_nothing(monkeypatch):
    monkeypatch.setattr(processor, "_values", lambda key: [])
    assert processor.flags() is None
    check_dtype("float16")
    monkeypatch.setattr(processor, "_values", lambda key: ["fp asimdhp"] if key == "Features" else [])
    check_dtype("float16")
    with pytest.raises(ValueError, match="no bfloat16"):
        check_dtype("bfloat16")
