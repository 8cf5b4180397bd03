"""Files that compute in half precision: how far off they are, that they do, and which there are none of."""

import numpy as np
import pytest
import torch

from resnest.jobs.export.files import export, suffix
from resnest.jobs.export.onnx_graph import read
from resnest.jobs.export.tasks import LOGITS_BOUND
from resnest.weights import convert, load, save
from resnest.weights.seeded import draw_weights
from tests.support import cli
from tests.support.specs import tiny, tiny_detector, tiny_segmenter

# As far off as rounding puts these small networks, and no nearer than it does: something is rounded.
OFF = {"float16": (1e-4, 0.004), "bfloat16": (1e-3, 0.03)}


def written(folder, spec, format, dtype):
    path = folder / f"tiny{suffix(format)}"
    return path, export(spec, draw_weights(tiny()), path, format, dtype=dtype)


@pytest.mark.parametrize(
    ("format", "dtype"),
    [("torchscript", "float16"), ("torchscript", "bfloat16"), ("pt2", "bfloat16"), ("onnx", "float16")],
)
def test_a_file_computes_in_another_dtype_and_is_as_far_off_as_that_rounds(format, dtype, tmp_path):
    path, rows = written(tmp_path, tiny(deploy=True), format, dtype)
    low, high = OFF[dtype]
    assert len(rows) == 2
    assert all(row.within and low < row.relative < high for row in rows)
    assert path.stat().st_size < 0.6 * sum(array.nbytes for array in draw_weights(tiny()).values())


@pytest.mark.parametrize("changes", [{}, {"activation": "gelu"}, {"radix": 4, "cardinality": 2}])
def test_an_onnx_file_in_float16_is_so_inside_alone(changes, tmp_path):
    import onnx

    spec = tiny(**changes)
    rows = export(spec, draw_weights(spec), tmp_path / "tiny.onnx", "onnx", dtype="float16")
    assert all(LOGITS_BOUND[None] < row.relative < OFF["float16"][1] for row in rows)
    graph = onnx.load(tmp_path / "tiny.onnx").graph
    kinds = {one.data_type for one in graph.initializer}
    assert kinds == {onnx.TensorProto.FLOAT16, onnx.TensorProto.INT64}
    ends = {one.type.tensor_type.elem_type for one in (*graph.input, *graph.output)}
    assert ends == {onnx.TensorProto.FLOAT}
    assert [node.op_type for node in graph.node].count("Cast") == 2


@pytest.mark.parametrize(("format", "dtype"), [("onnx", "float16"), ("torchscript", "bfloat16")])
def test_a_segmenter_s_file_computes_in_another_dtype(format, dtype, tmp_path):
    spec = tiny_segmenter("psp")
    rows = export(spec, draw_weights(spec), tmp_path / f"tiny{suffix(format)}", format, dtype=dtype)
    assert all(OFF[dtype][0] < row.relative < OFF[dtype][1] for row in rows)


@pytest.mark.parametrize("held", ["float16", "float64"])
def test_onnx_of_weights_of_any_dtype_takes_float32(held, tmp_path):
    save(draw_weights(tiny()), tmp_path / "a.npz")
    convert(tmp_path / "a.npz", tmp_path / "b.npz", dtype=held)
    rows = export(tiny(), load(tmp_path / "b.npz"), tmp_path / "tiny.onnx", "onnx")
    assert all(row.within and row.bound == LOGITS_BOUND[None] for row in rows)
    assert read(tmp_path / "tiny.onnx")(np.zeros((1, 3, 64, 64), "f4")).dtype == np.float32


@pytest.mark.parametrize(
    ("spec", "format", "dtype", "sentence"),
    [
        (tiny(), "onnx", "bfloat16", "onnxruntime computes nothing in bfloat16 .* take float16, or torchscript or pt2"),
        pytest.param(
            tiny(),
            "mxnet",
            "float16",
            "MXNet's files compute in float32 .* not in float16: export as torchscript or pt2",
            marks=pytest.mark.gluon,
        ),
        (
            tiny_detector(),
            "pt2",
            "float16",
            "a detector, whose files compute in float32 alone: leave dtype float16",
        ),
        (tiny(), "pt2", "int4", "in float16 or bfloat16, not in 'int4'"),
    ],
    ids=["onnx", "mxnet", "detector", "unknown"],
)
def test_what_no_file_computes_in_is_one_sentence_and_nothing_is_written(spec, format, dtype, sentence, tmp_path):
    with pytest.raises(ValueError, match=sentence):
        export(spec, draw_weights(spec), tmp_path / f"tiny{suffix(format)}", format, dtype=dtype)
    assert list(tmp_path.iterdir()) == []


def test_a_weight_too_large_for_float16_is_named_and_nothing_is_written(tmp_path):
    weights = draw_weights(tiny())
    weights["fc.weight"].flat[3] = -7e4
    with pytest.raises(ValueError, match=r"fc\.weight holds 7e\+04, and float16 has no number as large"):
        export(tiny(), weights, tmp_path / "tiny.onnx", "onnx", dtype="float16")
    assert list(tmp_path.iterdir()) == []


def test_the_command_writes_another_dtype_and_tells_the_error(tmp_path):
    path = tmp_path / "net.pt"
    command = ["export", "resnest14", "--format", "torchscript", "--dtype", "bfloat16", "--output", str(path)]
    result = cli.run(*command)
    assert result.exit_code == 0, result.output
    assert "bfloat16" in result.output
    assert "logits of 1x3x" in result.output
    script = torch.jit.load(path)
    assert {one.dtype for one in script.parameters()} == {torch.bfloat16}
    with torch.no_grad():
        assert script(torch.zeros(1, 3, 64, 64)).dtype == torch.float32


def test_the_command_takes_one_way_of_rounding(tmp_path):
    (tmp_path / "photo.png").write_bytes(b"not opened")
    command = ["export", "resnest14", "--format", "onnx", "--dtype", "float16", "--int8", str(tmp_path)]
    assert "--int8 and --dtype float16 are two ways of rounding: take one" in cli.refused(cli.run(*command))


@pytest.mark.parametrize(("flags", "said"), [(["avx2"], True), (["avx512_fp16"], False)])
def test_a_processor_that_is_slow_in_it_is_told_of(flags, said, tmp_path, monkeypatch):
    monkeypatch.setattr("resnest.backends.processor.flags", lambda: flags)
    spec = tiny()
    save(draw_weights(spec), tmp_path / "a.safetensors")
    monkeypatch.setattr("resnest.cli.commands.export.find", lambda name: spec)
    monkeypatch.setattr("resnest.jobs.export.files.export", lambda *arguments: (tmp_path / "a.onnx").touch() or [])
    command = ["export", "resnest14", "--format", "onnx", "--dtype", "float16", "--output", str(tmp_path / "a.onnx")]
    result = cli.run(*command, "--weights", str(tmp_path / "a.safetensors"))
    assert result.exit_code == 0, result.output
    words = "a.onnx is for another processor: this processor has no float16 instructions (avx512_fp16, amx_fp16)"
    assert (words in result.stderr) == said
