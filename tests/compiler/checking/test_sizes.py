"""What is quickly believed is decided element by element: what is large hides nothing that stands beside it."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest

from convc.backends import reference
from convc.compiler.checking import once, verify
from convc.compiler.checking.oracle import Oracle
from convc.compiler.checking.units import sizes_of
from convc.compiler.engines.tvm import TVM
from convc.ir.errors import Mismatch
from convc.ir.types import Array
from convc.tests.support.graphs import typed_graph

MASKED = """graph @g(%x: f32[1,40]) {
    %mask = param {init=full, value=FILL} : f32[1,MANY]
    %r = relu(%x)
    %y = concat(%r, %mask) {axis=1}
    return %y
}"""
# four numbers of a box and the rest scores, of one found thing and of many
FOUND = """graph @found(%x: f32[N,BOXES,4]) {
    %scale = param {init=full, value=640.0} : f32[4]
    %box = mul(%x, %scale)
    %score = sigmoid(%x)
    %first = slice(%score) {axes=[2], starts=[0], ends=[1]}
    %y = concat(%box, %first) {axis=2}
    return %y
}"""
PLAIN = "graph @g(%x: f32[1,40]) { %w = param : f32[300,40] %y = dense(%x, %w) return %y }"


@pytest.mark.parametrize("fill", ["-1e30", "-3.4e38"])
@pytest.mark.parametrize("many", ["1", "40", "4000"])
def test_a_wrong_rewrite_beside_a_mask_is_found(fill: str, many: str) -> None:
    right = MASKED.replace("FILL", fill).replace("MANY", many)
    verify.verify(typed_graph(right), typed_graph(right))
    with pytest.raises(Mismatch, match="the first value that differs is %r = sigmoid"):
        verify.verify(typed_graph(right), typed_graph(right.replace("relu", "sigmoid")))


@pytest.mark.parametrize("boxes", [1, 2, 100])
def test_a_wrong_score_beside_large_boxes_is_refused(boxes: int) -> None:
    net = typed_graph(FOUND.replace("BOXES", str(boxes)))

    def right(inputs: Mapping[str, Array]) -> dict[str, Array]:
        return {"y": reference.run(net, inputs, "f64")["y"].astype(np.float32)}

    def wrong(inputs: Mapping[str, Array]) -> dict[str, Array]:
        found = right(inputs)["y"]
        found[..., 4] += np.float32(0.01)
        return {"y": found}

    once.check_once(net, net, TVM, right)
    with pytest.raises(Mismatch, match="y DIFFERS"):
        once.check_once(net, net, TVM, wrong)


def test_what_is_alike_is_believed_without_the_noise(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Oracle, "of", staticmethod(lambda *given, **named: pytest.fail("the noise was measured")))
    net = typed_graph(PLAIN)
    verify.verify(net, typed_graph(PLAIN))
    once.check_once(net, net, TVM, TVM.start(net, 1))


def test_sizes_are_those_of_the_like() -> None:
    rng = np.random.default_rng(0)
    alike = rng.standard_normal((1, 1000))
    assert np.median(sizes_of(alike)) > 0.3  # and so a share of it is about that of the deviation
    assert (sizes_of(alike) >= abs(alike)).all()
    beside = np.concatenate([alike, np.full((1, 1000), -np.inf), np.full((1, 1000), 1e30), np.zeros((1, 1000))], axis=1)
    found = sizes_of(beside)[0]
    assert found[:1000].max() < 10
    assert (found[1000:2000] <= 10).all()  # an infinity has no size
    assert (found[2000:3000] == 1e30).all()
    by_channel = np.stack([alike[0], 1e6 * alike[0], 0 * alike[0]], axis=1)
    assert (sizes_of(by_channel)[:, 0] < 5).all()
    certain = np.array([1.0, *[1e-60] * 99])
    assert sizes_of(certain)[1] > 1e-6  # as of a network that is sure of one class
    assert (sizes_of(certain * 1e-9) <= 1e-9).all()
    assert not sizes_of(np.arange(4)).any()
    assert sizes_of(np.zeros((0, 3))).shape == (0, 3)
