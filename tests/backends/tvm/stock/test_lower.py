"""A graph as one Relax function, and which node is named where that fails."""

from __future__ import annotations

from typing import Any

import pytest

from convc.backends.tvm.stock.lower import lower
from convc.backends.tvm.stock.relax_rows import ROWS
from convc.backends.unsupported import Unsupported
from convc.ir.errors import InvalidModel, UnsupportedOp
from convc.ir.ops import OPS
from convc.ir.parser import parse_graph
from convc.tests.support.graphs import typed_graph
from convc.tests.support.tvm_modules import SMALL


def test_one_function_over_inputs_and_parameters() -> None:
    main = lower(typed_graph(SMALL))["main"]
    assert [parameter.name for parameter in main.params] == ["x", "w", "b", "v"]
    assert int(main.attrs["num_input"]) == 1
    shown = str(main)
    assert all(f"{name}: R.Tensor" in shown or f"{name} = " in shown for name in ("conv1", "relu1", "pool1", "mean", "scores"))


def test_a_node_without_a_type_is_refused() -> None:
    with pytest.raises(InvalidModel, match="%y = relu has no type yet"):
        lower(parse_graph("graph @g(%x: f32[2]) { %y = relu(%x) return %y }"))


def test_an_unsupported_op_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(ROWS, OPS["tanh"], Unsupported("nobody wrote it"))
    with pytest.raises(UnsupportedOp, match=r"%t = tanh \(net.py:7\) cannot be lowered to TVM: nobody wrote it"):
        lower(typed_graph('graph @g(%x: f32[2]) { %r = relu(%x) %t = tanh(%r) : f32[2] at "net.py:7" return %t }'))


def test_a_fault_in_a_lowering_names_its_node(monkeypatch: pytest.MonkeyPatch) -> None:
    def wrong(emitter: Any, node: Any, x: Any) -> Any:
        return emitter.ops.reshape(x, (5,))

    monkeypatch.setitem(ROWS, OPS["tanh"], wrong)
    with pytest.raises(UnsupportedOp, match="%t = tanh cannot be lowered to TVM: "):
        lower(typed_graph("graph @g(%x: f32[2]) { %r = relu(%x) %t = tanh(%r) return %t }"))
