"""The function of a plan before anything runs in it, in either layout: Relax variables for its inputs and arguments."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ....ir.graph import Node
from ....ir.types import DTYPES
from ..stock.relax_emitter import RelaxEmitter
from .laid import Argument, LaidPlan

__all__ = ["PlanVariables"]


@dataclass(frozen=True, slots=True)
class PlanVariables:
    """`inputs` and `arguments` in their order, these by what they are, too. `plain` has, by node, inputs and the parameters that are
    taken as they are.
    """

    inputs: list[Any]
    arguments: list[Any]
    by_argument: dict[Argument, Any]
    plain: dict[Node, Any]

    @staticmethod
    def of(emitter: RelaxEmitter, plan: LaidPlan[Any]) -> PlanVariables:
        inputs = [emitter.tvm.relax.Var(node.name, emitter.type(node.typed)) for node in plan.graph.inputs]
        arguments = [_variable(emitter, argument) for argument in plan.arguments]
        plain = dict(zip(plan.graph.inputs, inputs, strict=True)) | dict(zip(plan.as_they_are, arguments, strict=False))
        return PlanVariables(inputs, arguments, dict(zip(plan.arguments, arguments, strict=True)), plain)


def _variable(emitter: RelaxEmitter, argument: Argument) -> Any:
    relax, shape = emitter.tvm.relax, [emitter.dim(extent) for extent in argument.shape]
    return relax.Var(argument.name, relax.TensorType(shape, DTYPES[argument.dtype].name))
