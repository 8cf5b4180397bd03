"""The INT8 graph: all between both ends is in integers once onnxruntime has fused it, and sizes stay open."""

from collections import Counter

import numpy as np
import onnx
import onnxruntime
import pytest

from resnest.jobs.export.onnx_graph import build
from resnest.jobs.export.quantizer import _pool_by_convolution, quantized
from resnest.weights.fold import in_form_of
from resnest.weights.seeded import draw_weights
from tests.support.arrays import relative
from tests.support.specs import tiny


def images(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def graph(**changes):
    spec = tiny(deploy=True, **changes)
    return build(spec, in_form_of(spec, draw_weights(spec.in_form(False))))


def predict(model, x):
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, {"image": x})[0]


def fused(model, path):
    """How often each kind of node is in the graph that onnxruntime makes of `model`."""
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(path)
    options.log_severity_level = 3
    onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return Counter(node.op_type for node in onnx.load(path).graph.node)


def test_onnxruntime_fuses_all_but_the_first_convolution_and_the_classifier(tmp_path):
    exact = graph()
    kinds = fused(quantized(exact, [images(1, 3, 64, 64)]), tmp_path / "a.onnx")
    blocks = kinds["Softmax"]
    assert [kinds[kind] for kind in ("Conv", "GlobalAveragePool", "Gemm")] == [1, 1, 1]
    assert not {"Relu", "Add", "Mul", "AveragePool", "QGemm"} & {*kinds}
    # Around each softmax: in, and out to each of two splits; behind the first convolution and the last map.
    assert kinds["DequantizeLinear"] <= blocks + 1
    assert kinds["QuantizeLinear"] <= 2 * blocks + 1


@pytest.mark.parametrize("sides", [(64, 64), (65, 96), (96, 65), (35, 67)], ids=str)
def test_poolings_are_the_same_as_convolutions_where_a_side_is_odd_too(sides):
    exact = graph()
    poolings = [node for node in exact.graph.node if node.op_type == "AveragePool"]
    pooled, x = predict(exact, images(2, 3, *sides)), images(2, 3, *sides)
    _pool_by_convolution(onnx, exact.graph)
    assert poolings
    assert "AveragePool" not in {node.op_type for node in exact.graph.node}
    assert relative(predict(exact, x), pooled) < 1e-6


CHANGES = [
    {},
    {"radix": 1},
    {"radix": 4, "cardinality": 2},
    {"avd_first": True},
    {"activation": "silu"},
    {"activation": "gelu"},
]


@pytest.mark.parametrize("changes", CHANGES, ids=str)
def test_it_predicts_nearly_the_same_at_other_sizes_and_batches_too(changes):
    exact = graph(**changes)
    rounded = quantized(exact, [images(2, 3, 64, 64, seed=seed) for seed in range(3)])
    for shape in ((1, 3, 64, 64), (2, 3, 47, 81)):
        assert 0 < relative(predict(rounded, images(*shape)), predict(exact, images(*shape))) < 0.03


def test_what_is_behind_the_last_map_is_not_rounded():
    exact = graph()
    rounded = quantized(exact, [images(1, 3, 64, 64)])
    ends = [node.SerializeToString() for node in exact.graph.node if node.op_type in ("Flatten", "Gemm", "Identity")]
    assert [node.SerializeToString() for node in rounded.graph.node][-len(ends) :] == ends
    weights = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in rounded.graph.initializer}
    assert weights["fc.weight"].dtype == np.float32


def test_biases_make_up_for_what_rounding_the_weights_shifts(monkeypatch):
    exact, seen = graph(), [images(4, 3, 64, 64)]
    with_it = relative(predict(quantized(exact, seen), seen[0]).mean(0), predict(exact, seen[0]).mean(0))
    monkeypatch.setattr("resnest.jobs.export.quantizer._shift", lambda error, mean: np.zeros(len(error), np.float32))
    without = relative(predict(quantized(exact, seen), seen[0]).mean(0), predict(exact, seen[0]).mean(0))
    assert with_it < 0.9 * without
