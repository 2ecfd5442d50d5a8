"""Networks whose gradients are asked for: plain files, every engine, every pass, as of any graph."""

from __future__ import annotations

import functools
import itertools

import numpy as np
import onnx
import pytest

from convc.backends import reference
from convc.backends.onnx.write.export import to_model
from convc.compiler.checking.hold import all_agree
from convc.compiler.checking.oracle import Oracle, compare
from convc.compiler.checking.pass_check import PassCheck, bisect
from convc.compiler.dsl.layers import concat, conv, conv_bn_relu, conv_transpose, dense, flatten, global_avg_pool, max_pool, relu, upsample
from convc.compiler.dsl.network import network
from convc.compiler.engines.onnxruntime import ONNXRUNTIME
from convc.compiler.engines.table import ENGINES
from convc.ir.graph import Graph, Node
from convc.ir.ops.activation import LOG_SOFTMAX, LogSoftmax
from convc.ir.ops.elementwise import ADD, Add
from convc.ir.ops.reduce import REDUCE_MEAN, ReduceMean
from convc.models.mobilenet import inverted_residual
from convc.models.resnet import basic
from convc.passes.catalog import PASSES, Pass
from convc.passes.differentiate import with_gradients
from convc.passes.manager import Step, run_passes
from convc.passes.pipelines import LEVELS
from convc.tests.support.graphs import made, normal_inputs
from convc.tests.support.tiers import small


@network(image="N,1,16,16")
def lenet(image):
    x = max_pool(relu(conv(image, 4, 5)), 2, stride=2)
    x = max_pool(relu(conv(x, 6, 3)), 2, stride=2)
    return dense(relu(dense(flatten(x), 12)), 5)


@network(image="N,3,12,12")
def residual(image):
    x = max_pool(conv_bn_relu(image, 4, 3, pad=1), 3, stride=2, pad=1)
    return dense(global_avg_pool(basic(basic(x, 4, 1), 8, 2)), 5)


@network(image="N,4,10,10")
def mobile(image):
    return dense(global_avg_pool(inverted_residual(inverted_residual(image, 4, 1, 3), 6, 2, 2)), 5)


@network(image="N,3,8,8")
def unet(image):
    wide = relu(conv(image, 4, 3, pad=1))
    low = relu(conv(max_pool(wide, 2, stride=2), 6, 3, pad=1))
    joined = concat(wide, upsample(low, 2), conv_transpose(low, 3, 2, stride=2))
    return global_avg_pool(conv(joined, 5, 3, pad=1))


NETS = {"lenet": lenet, "residual": residual, "mobile": mobile, "unet": unet}


@functools.cache
def with_loss(name: str) -> Graph:
    graph = NETS[name]()
    scores = made("scores", LOG_SOFTMAX, LogSoftmax(1), graph.outputs[0])
    return Graph.of(name, graph.inputs, [made("loss", REDUCE_MEAN, ReduceMean((), keepdims=False), scores)], graph.nodes)


@functools.cache
def differentiated(name: str) -> Graph:
    after, _ = run_passes(with_loss(name), [Step("differentiate", "asked for")], ONNXRUNTIME.prices)
    return after


@pytest.mark.parametrize("name", NETS)
def test_each_parameter_has_a_gradient_and_it_is_the_slope_of_the_loss(name):
    graph = differentiated(name)
    trained = [node for node in with_loss(name).params if node.typed.is_float]
    assert [node.name for node in graph.outputs] == ["loss", *(f"{node.name}.gradient" for node in trained)]
    inputs = normal_inputs(graph, N=3)
    found = reference.run(graph, inputs, "f64")
    draws = np.random.default_rng(0)
    for node in trained:
        direction = draws.standard_normal(node.typed.concrete())
        ends = [_loss(name, inputs, node.name, way * 1e-6 * direction) for way in (-1, 1)]
        moved = found[f"{node.name}.gradient"] * direction
        assert abs((ends[1] - ends[0]) / 2e-6 - moved.sum()) <= 1e-5 * abs(moved).sum() + 1e-9, node.name


def _loss(name: str, inputs, moved: str, by) -> float:
    graph = with_loss(name)

    def changed(node: Node, operands: tuple[Node, ...]) -> Node:
        if node.name != moved:
            return node.reading(operands)
        weights = node.weights
        return node.like(weights=type(weights).derived(node.typed, moved, lambda: weights.wide() + by))

    return float(reference.run(graph.rebuild(changed), inputs, "f64")["loss"])


# TVM takes seconds for each. Its rows of gradients have cases in tests/backends/tvm/stock, kernels for them tests of their own; these two
# have the layers that most networks have, and a batch norm's gradient.
def turns():
    for name, engine in itertools.product(NETS, [name for name in ENGINES if name != "reference"]):
        is_slow = engine == "tvm" and name not in ("lenet", "residual")
        yield pytest.param(name, engine, id=f"{name}-{engine}", marks=[pytest.mark.slow] if is_slow else [])


@pytest.mark.parametrize(("name", "engine"), list(turns()))
def test_engines_compute_them(name, engine):
    graph = differentiated(name)
    inputs = normal_inputs(graph, N=2)
    lines = compare(engine, Oracle.of(graph, inputs, tiles=ENGINES[engine].tiles(graph)), ENGINES[engine].start(graph, 1)(inputs))
    assert all_agree(lines), [str(line) for line in lines if not line.agrees]


@pytest.mark.parametrize("opset", [17, 21, None])
@pytest.mark.parametrize("name", NETS)
def test_the_file_is_plain_onnx(name, opset):
    model = to_model(differentiated(name), opset)
    onnx.checker.check_model(model, full_check=True)
    assert {each.domain for each in model.opset_import} == {""}


@pytest.mark.parametrize("name", NETS)
def test_every_pass_keeps_them(name):
    graph = differentiated(name)
    better, trace = run_passes(graph, LEVELS[3], ONNXRUNTIME.prices, check=PassCheck(graph))
    assert [(stage.name, stage.problem) for stage in trace if stage.problem] == []
    assert len(list(better.ops)) <= len(list(graph.ops))


def test_a_check_of_each_pass_and_bisect_know_the_outputs_that_one_has_added():
    """A gradient that a later pass spoils is told by that pass, though the network as it came had none."""
    graph = with_loss("lenet")
    steps = [Step("differentiate", "asked for"), Step("spoil", "planted")]

    def spoil(graph, ledger):
        last = graph.outputs[-1]
        if not ledger.is_open or last.name == "loss" or last.name in {each.root for each in ledger.rewrites}:
            return graph
        ledger.record("spoil", last.name, ())
        doubled = Node("doubled", last.kind, last.op, last.inputs, last.type)
        wrong = Node(last.name, ADD, Add(), (doubled, doubled), last.type)
        return Graph.of(graph.name, graph.inputs, [*graph.outputs[:-1], wrong], graph.nodes)

    catalog = PASSES | {"spoil": Pass("spoil", spoil, "planted")}
    _, trace = run_passes(graph, steps, ONNXRUNTIME.prices, check=PassCheck(graph), catalog=catalog)
    assert [bool(stage.problem) for stage in trace] == [False, True]
    found = bisect(graph, steps, PassCheck(graph), ONNXRUNTIME.prices, catalog)
    assert found is not None
    assert (found.name, found.number) == ("spoil", 1)


@pytest.mark.parametrize("name", ["lenet5", "resnet20", "mobilenet_v2", "unet_vgg11", "squeezenet1_1", "densenet121", "googlenet"])
def test_networks_of_the_zoo_have_gradients(name):
    """Of every parameter, with the batch named."""
    graph = small(name)
    loss = made("the_loss", REDUCE_MEAN, ReduceMean((), keepdims=False), graph.outputs[0])
    whole = Graph.of(name, graph.inputs, [loss], graph.nodes)
    trained = [node.name for node in whole.params if node.typed.is_float]
    assert len(with_gradients(whole, "the_loss", trained).outputs) == 1 + len(trained)
