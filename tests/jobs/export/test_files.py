"""Exported files predict what the model does, whatever the batch and the size."""

import numpy as np
import pytest
from PIL import Image

from resnest import ResNeStSpec
from resnest.jobs.export.files import export, suffix
from resnest.weights import save
from resnest.weights.fold import fold
from resnest.weights.seeded import draw_weights
from tests.support import cli
from tests.support.specs import tiny

FORMS = [
    {},
    {"radix": 1, "cardinality": 2},
    {"radix": 4, "cardinality": 2, "bottleneck_width": 40, "avd_first": True, "output_stride": 8},
    {"deep_stem": False, "avg_down": False, "num_classes": 0, "norm_eps": 0.1},
    {"activation": "silu", "global_pool": "catavgmax"},
    {"activation": "gelu", "global_pool": "avgmax"},
    {"global_pool": "max"},
    {"global_pool": "", "num_classes": 0},
]


@pytest.mark.torch
@pytest.mark.parametrize("deploy", [False, True], ids=["training form", "deploy form"])
@pytest.mark.parametrize("changes", FORMS)
def test_an_onnx_file_predicts_what_the_model_does_at_any_batch_and_size(tmp_path, changes, deploy):
    weights = draw_weights(tiny(**changes))
    rows = export(tiny(**changes, deploy=deploy), weights, tmp_path / "tiny.onnx", "onnx")
    assert len(rows) == 2
    assert all(row.within for row in rows)


@pytest.mark.parametrize("deploy", [False, True], ids=["training form", "deploy form"])
@pytest.mark.parametrize("format", ["torchscript", "pt2", pytest.param("mxnet", marks=pytest.mark.gluon)])
def test_a_framework_file_predicts_what_the_model_does(tmp_path, format, deploy):
    rows = export(tiny(deploy=deploy), draw_weights(tiny()), tmp_path / f"tiny{suffix(format)}", format)
    assert all(row.within for row in rows)


@pytest.mark.torch
def test_an_onnx_graph_has_open_sizes_strided_poolings_and_says_what_it_is(tmp_path):
    import onnx

    spec = tiny(deploy=True)
    export(spec, draw_weights(tiny()), tmp_path / "tiny.onnx", "onnx")
    model = onnx.load(tmp_path / "tiny.onnx")
    assert [dim.dim_param or dim.dim_value for dim in model.graph.input[0].type.tensor_type.shape.dim] == [
        "batch",
        3,
        "height",
        "width",
    ]
    pools = [node for node in model.graph.node if node.op_type in ("MaxPool", "AveragePool")]
    strides = [attribute.ints[0] for node in pools for attribute in node.attribute if attribute.name == "strides"]
    assert strides == [2] * len(pools)
    assert not any(node.op_type == "BatchNormalization" for node in model.graph.node)
    cut = [node.input[0] for node in model.graph.node if node.op_type == "Split"]
    assert all(".weights." in name for name in cut)  # of the attention, not of a feature map
    assert {prop.key: prop.value for prop in model.metadata_props} == {"model": "tiny", "deploy": "true"}


@pytest.mark.parametrize(
    ("format", "name", "complaint"),
    [("onnx", "tiny.pt", "does not end with .onnx"), ("tflite", "tiny.tflite", "there is no export format 'tflite'")],
)
def test_a_wrong_format_or_suffix_is_one_sentence(tmp_path, format, name, complaint):
    with pytest.raises(ValueError, match=complaint):
        export(tiny(), draw_weights(tiny()), tmp_path / name, format)


@pytest.fixture
def small_file(tmp_path):
    """Weights of a tiny network that the command can be told the name of."""
    spec = ResNeStSpec("resnest14", (1, 1, 1, 1), num_classes=3)
    save(fold(draw_weights(spec)), tmp_path / "weights.safetensors")
    return tmp_path / "weights.safetensors"


@pytest.mark.torch
def test_the_command_writes_int8_calibrated_on_photos_and_says_its_error(tmp_path, small_file):
    photos = tmp_path / "photos"
    photos.mkdir()
    for number in range(2):
        pixels = np.random.default_rng(number).integers(0, 256, (40, 50, 3), np.uint8)
        Image.fromarray(pixels).resize((260, 260)).save(photos / f"{number}.png")
    command = ["export", "resnest14", "--format", "onnx", "--weights", small_file, "--int8", photos]
    result = cli.run(*map(str, command), "--output", str(tmp_path / "net.onnx"))
    assert result.exit_code == 0, result.output
    assert "deploy form" in result.output
    assert "over 2 photos" in result.output
    assert {path.name for path in tmp_path.iterdir()} == {"photos", "weights.safetensors", "net.onnx"}
    assert (tmp_path / "net.onnx").stat().st_size < 0.4 * small_file.stat().st_size


def test_the_command_refuses_int8_without_photos_or_onnx(tmp_path, small_file):
    (tmp_path / "none").mkdir()
    (tmp_path / "none" / "a.txt").write_text("no photo")
    command = ["export", "resnest14", "--weights", str(small_file), "--int8", str(tmp_path / "none")]
    result = cli.run(*command, "--format", "torchscript")
    assert result.exit_code == 2
    assert "--int8 goes with --format onnx" in result.stderr
