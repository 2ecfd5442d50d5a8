"""Where two networks part whose makers name what is inside otherwise."""

from __future__ import annotations

from typing import Any

import pytest

from convc.compiler.checking.asked import AskedTolerance
from convc.compiler.checking.graph_diff import first_otherwise
from convc.compiler.checking.verify import TwoNetworksDiffer, verify
from convc.compiler.files.inputs import random_inputs
from convc.ir.graph import Graph
from convc.ir.weights import Recipe, Weights
from convc.tests.support.graphs import typed_graph

BRANCHES = ("%{p}a = conv2d(%{p}m, %{p}one)", "%{p}b = conv2d(%{p}m, %{p}two)")


def net(
    prefix: str = "", *, pads: str = "1, 1, 1, 1", kind: str = "relu", early: str = "relu", swapped: bool = False, head: str = "head"
) -> Graph:
    """Values of parameters go by their names without the prefix, as two exports of one model have them."""
    first, second = reversed(BRANCHES) if swapped else BRANCHES
    text = f"""graph @net(%x: f32[N,3,12,12]) {{
        %{{p}}w = param : f32[4,3,3,3]
        %{{p}}one = param : f32[4,4,1,1]
        %{{p}}two = param : f32[4,4,1,1]
        %{{p}}{head} = param : f32[5,4]
        %{{p}}c = conv2d(%x, %{{p}}w) {{pads=[1, 1, 1, 1]}}
        %{{p}}r = {early}(%{{p}}c)
        %{{p}}m = max_pool(%{{p}}r) {{kernel=[3, 3], strides=[2, 2], pads=[{pads}]}}
        {first}
        {second}
        %{{p}}s = sub(%{{p}}a, %{{p}}b)
        %{{p}}t = {kind}(%{{p}}s)
        %{{p}}g = global_avg_pool(%{{p}}t)
        %{{p}}f = flatten(%{{p}}g)
        %scores = dense(%{{p}}f, %{{p}}{head})
        return %scores
    }}"""
    graph = typed_graph(text.replace("{p}", prefix))
    recipes = {node: Weights(node.typed, Recipe("he", node.name.removeprefix(prefix))) for node in graph.params}
    return graph.rebuild(lambda node, operands: node.like(weights=recipes[node]) if node in recipes else node.reading(operands))


@pytest.mark.parametrize("swapped", [False, True])
def test_a_pool_of_other_pads_is_the_first_under_other_names_too(swapped: bool) -> None:
    verify(net(), net("module."))
    with pytest.raises(TwoNetworksDiffer, match=r"the first value that differs is %module\.m = max_pool") as found:
        verify(net(), net("module.", pads="0, 0, 1, 1", swapped=swapped))
    assert found.value.first is not None
    assert found.value.first.name == "module.m"


def test_branches_in_another_order_are_told_apart_by_their_weights() -> None:
    with pytest.raises(TwoNetworksDiffer, match="the first value that differs is %scores = dense"):
        verify(net(), net("module.", swapped=True, head="other"))


def test_a_result_whose_operands_have_no_counterpart_is_not_called_the_first() -> None:
    with pytest.raises(TwoNetworksDiffer, match=r"is not known, since what %scores is computed from .*`convc diff`") as found:
        verify(net(), net("module.", kind="sigmoid"))
    assert found.value.first is None


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        ({"early": "sigmoid"}, r"%module\.r = sigmoid"),
        ({"early": "identity"}, r"%module\.r = identity"),
        ({"kind": "sigmoid", "swapped": True}, r"%module\.t = sigmoid"),
        ({"early": "tanh", "head": "other"}, r"%module\.r = tanh"),
    ],
)
def test_the_first_that_is_computed_otherwise_is_named_then(changed: dict[str, Any], named: str) -> None:
    with pytest.raises(TwoNetworksDiffer, match=f"; the first that is computed otherwise is {named}.*: `convc diff`"):
        verify(net(), net("module.", **changed))


def test_of_networks_that_are_alike_but_for_names_nothing_is_computed_otherwise() -> None:
    assert first_otherwise(net(), net("module.", swapped=True)) is None


def test_a_tolerance_that_was_asked_for_names_the_same() -> None:
    with pytest.raises(TwoNetworksDiffer, match=r"the first value that differs by more is %module\.m"):
        AskedTolerance(atol=1e-6).hold_network(net(), net("module.", pads="0, 0, 1, 1"), random_inputs(net(), 0))
