"""Attributes that a row did not ask for: without effect here, as they are by default, or a reason to refuse the operator."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from ....ir.legible import quoted
from .call import Call

if TYPE_CHECKING:
    from onnx import AttributeProto

__all__ = ["check_unread"]

WITHOUT_EFFECT = {
    *("momentum", "seed"),  # for training
    *("saturate", "round_mode"),  # for floats of 8 bits, which are refused
    *("cubic_coeff_a", "extrapolation_value"),  # for modes whose rows ask for them, or that are refused
    "sorted",  # without it any order is right
    "num_outputs",  # which are there to be counted
    "pads",  # beside auto_pad, which decides; it is read otherwise
}


def check_unread(attributes: Iterable[AttributeProto], call: Call) -> None:
    """Raises: UnsupportedOp for an attribute that says something and that nobody asked for."""
    from onnx import defs, helper

    unread = [attribute for attribute in attributes if attribute.name not in call.asked | WITHOUT_EFFECT]
    known = defs.get_schema(call.op_type, call.opset).attributes if unread and defs.has(call.op_type, call.opset) else {}
    for attribute in unread:
        if attribute.name not in known:
            raise call.refuse(f"{call.op_type} of opset {call.opset} has no attribute {quoted(attribute.name)}")
        default = known[attribute.name].default_value
        if not default.type or helper.get_attribute_value(attribute) != helper.get_attribute_value(default):
            raise call.refuse(f"attribute '{attribute.name}' is nothing that convc compiles; leave it out")
