"""recompute: a step of training in a share of its memory, with the same bits."""

import re

import numpy as np
import pytest

import convc as cc
from convc.backends import reference
from convc.compiler.engines.onnxruntime import ONNXRUNTIME
from convc.compiler.engines.tvm import TVM
from convc.ir.binding import specialize
from convc.ir.donation import following
from convc.ir.errors import UsageError
from convc.ir.verifier import verify_graph
from convc.passes.analysis.cost import graph_cost
from convc.passes.analysis.liveness import liveness
from convc.passes.analysis.memory import plan_memory
from convc.passes.analysis.memory_check import check_plan
from convc.passes.merge_common import merge_common
from convc.passes.recompute import recompute, recompute_within
from convc.passes.rewriting.ledger import Ledger
from convc.tests.compiler.training.networks import residual, step_and_feed
from convc.tests.support.graphs import typed_graph


@cc.network(image="N,1,8,8")
def noisy(image, classes=4):
    x = image
    for _ in range(3):
        x = cc.dropout(cc.conv_bn_relu(x, 4, 3, pad=1), 0.25)
    return cc.softmax(cc.dense(cc.global_avg_pool(x), classes))


@cc.network(image="N,4")
def little(image, classes=4):
    return cc.softmax(cc.dense(image, classes))


@pytest.fixture(scope="module")
def resnet20():
    return specialize(cc.training_step(cc.models.resnet20()), {"N": 128})


def test_resnet20_takes_three_fifths_for_a_hundredth_more(resnet20):
    found = recompute_within(resnet20, 0.6)
    verify_graph(found.graph)
    check_plan(plan_memory(found.graph), found.graph)
    assert (found.before, found.after) == (liveness(resnet20).peak, liveness(found.graph).peak)
    assert found.after <= 0.6 * found.before
    assert found.flops == graph_cost(resnet20).flops
    assert found.paid == graph_cost(found.graph).flops - found.flops
    assert 0 < found.paid <= 0.01 * found.flops
    assert graph_cost(found.graph).macs == graph_cost(resnet20).macs


def test_it_stops_where_the_share_is_reached(resnet20):
    found = recompute_within(resnet20, 0.9)
    assert 0.85 < found.share <= 0.9
    assert len(found.groups) < len(recompute_within(resnet20, 0.7).groups)
    assert recompute_within(resnet20, 1.0).graph is resnet20


def test_a_share_that_cannot_be_reached(resnet20):
    with pytest.raises(
        UsageError,
        match=r"cannot be computed in 0\.01 of its memory: 0\.\d+ is as little as it comes to .*; give a share of 0\.\d+ or more$",
    ):
        recompute_within(resnet20, 0.01)
    with pytest.raises(UsageError, match="a share of memory is 0"):
        recompute_within(resnet20, 0.0)


def refused(step, share, batch):
    with pytest.raises(UsageError) as error:
        recompute_within(step, share, {"N": batch})
    return str(error.value)


def test_the_way_out_of_a_share_that_cannot_be_reached():
    """The share that is named is reached, one a thousandth less is not; so is that of a larger batch, which is named where it is less."""
    step, larger = cc.training_step(noisy.graph()), {}
    for batch in (2, 8):
        said = refused(step, 0.01, batch)
        assert f" of its memory with N={batch}: " in said
        least = float(re.search(r"give a share of ([\d.]+) or more", said)[1])
        assert recompute_within(step, least, {"N": batch}).share <= least
        refused(step, round(least - 0.001, 3), batch)
        larger[batch] = re.search(r" or more, or a larger batch, which with N=(\d+) comes to ([\d.]+)$", said)
        if larger[batch] is not None:
            more, less = int(larger[batch][1]), float(larger[batch][2])
            assert (more, less < least) == (4 * batch, True)
            assert recompute_within(step, less, {"N": more}).share <= less
    assert [batch for batch, named in larger.items() if named is not None] == [8]


def test_what_was_made_of_an_input_that_is_gone_is_kept():
    """Nothing but %a waits while %c is computed; it is had again of %w, but not once %w.next lies in its place."""
    graph = typed_graph("""graph @gone(%x: f32[1,1000], %w: f32[1,1000]) {
        %a = exp(%w) %w.next = sub(%w, %x) %b = concat(%x, %x, %x, %x) {axis=0}
        %c = reduce_sum(%b) {axes=[0], keepdims=true} %y = mul(%c, %a)
        return %y, %w.next }""")
    found = recompute_within(graph, 0.9)
    assert found.groups == (("a",),)
    with pytest.raises(UsageError, match=": 1 is as little as it comes to"):
        recompute_within(graph, 0.9, donated=following(graph))


def test_where_nothing_can_be_saved_the_share_is_to_be_left_out():
    step = cc.training_step(little.graph())
    assert ": 1 is as little as it comes to" in (said := refused(step, 0.9, 1))
    assert said.endswith("; leave the share out")


def test_where_the_batch_has_a_name_it_counts_as_it_is_said_to():
    """Of weights a step keeps as many for any batch: what matters at one is not what matters at many."""
    step = cc.training_step(cc.models.resnet20())
    found = recompute_within(step, 0.6, {"N": 128})
    assert found.before == liveness(specialize(step, {"N": 128})).peak
    assert found.graph.symbols == ("N",)


@pytest.mark.parametrize("engine", [None, TVM], ids=["reference", "tvm"])
def test_no_bit_changes(engine):
    """Of batch norms and dropped units neither: a number drawn is drawn again."""
    _, made, feed = step_and_feed(noisy)
    before = specialize(made.graph, {"N": 6})
    after = recompute(before, Ledger(ONNXRUNTIME.prices))
    assert liveness(after).peak < 0.8 * liveness(before).peak
    was, now = (reference.run(graph, feed) if engine is None else engine.start(graph, None)(feed) for graph in (before, after))
    assert was.keys() == now.keys()
    assert [name for name in was if not np.array_equal(was[name], now[name])] == []


def test_what_is_computed_again_is_what_it_was():
    """Equal nodes made one again, the graph has as many as before."""
    before = specialize(step_and_feed(residual)[1].graph, {"N": 6})
    after = recompute(before, Ledger(ONNXRUNTIME.prices))
    assert len(after.nodes) > len(before.nodes)
    assert len(merge_common(after, Ledger(ONNXRUNTIME.prices)).nodes) <= len(before.nodes)
