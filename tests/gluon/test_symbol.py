"""The graph of a network, as MXNet's own tools walk it."""

import json

import numpy as np
import pytest

from resnest.weights.seeded import draw_weights
from tests.support.arrays import photo_like, relative
from tests.support.backends import Backend
from tests.support.specs import tiny

pytestmark = pytest.mark.gluon


@pytest.mark.parametrize("changes", [{}, {"radix": 1}, {"radix": 4}, {"deploy": True}, {"output_stride": 8}], ids=str)
def test_every_node_of_a_graph_has_a_name_of_its_own(changes):
    from resnest.gluon._mxnet import mx

    model = Backend("gluon").build(tiny(**changes))
    names = [node["name"] for node in json.loads(model(mx.sym.var("data")).tojson())["nodes"]]
    assert len(set(names)) == len(names)


def test_a_stage_is_picked_out_of_the_graph_by_its_name():
    from resnest.gluon._mxnet import mx

    spec = tiny()
    model = Backend("gluon").build(spec, draw_weights(spec), prefix="net_")
    graph = model(mx.sym.var("data")).get_internals()
    x = mx.nd.array(photo_like(2, 3, 49, 65, dtype="float32"))
    expected = [stage.asnumpy() for stage in model.forward_stages(x)]
    for stage, depth in enumerate(spec.stage_depths, start=1):
        (name,) = (name for name in graph.list_outputs() if name.endswith(f"layer{stage}_{depth - 1}_relu1_fwd_output"))
        picked = mx.gluon.SymbolBlock(graph[name], [mx.sym.var("data")], params=model.collect_params())
        assert relative(picked(x).asnumpy(), np.asarray(expected[stage])) < 1e-6
