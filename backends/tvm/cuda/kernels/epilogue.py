"""What follows a kernel element by element, computed in float32 before a result is rounded and stored."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from .....ir.op import OpDef
from .....ir.ops.activation import TANH
from .....ir.ops.elementwise import DIV, MAXIMUM, MINIMUM, POW
from .....ir.ops.unary import ABS, CEIL, EXP, FLOOR, LOG, NEG, ROUND, SQRT
from ...cpu.kernels.epilogue import SIMPLE, SMOOTH, Formula, Steps, read_names
from ...cpu.kernels.layout import Batch
from ...cpu.kernels.writer import greatest
from .layout import CHUNK
from .writer import GpuWriter, Tensor

__all__ = ["GPU_STEPS", "UNBOUNDED", "Scalars", "read_tensors", "stepped"]

# What may be no number where its operands are some. In channels beyond the last that would reach others, as 0 times infinity. So kernels
# that clear those channels compute it, and any kernel where all channels count.
UNBOUNDED: dict[OpDef[Any], Formula] = {
    EXP: lambda scalars, op, v, other: scalars.tirx.exp(v),
    LOG: lambda scalars, op, v, other: scalars.tirx.log(v),
    SQRT: lambda scalars, op, v, other: scalars.tirx.sqrt(v),
    DIV: lambda scalars, op, v, other: v / other,
    POW: lambda scalars, op, v, other: scalars.tirx.pow(v, other),
}
# The others are finite where their operands are, as those for CPUs. Sine and cosine are none: of great angles nvcc's have a stack.
GPU_STEPS: dict[OpDef[Any], Formula] = {
    **SIMPLE,
    TANH: lambda scalars, op, v, other: scalars.tirx.tanh(v),
    **SMOOTH,
    ABS: lambda scalars, op, v, other: scalars.tirx.abs(v),
    NEG: lambda scalars, op, v, other: v * scalars.const(-1.0),
    MAXIMUM: lambda scalars, op, v, other: greatest(scalars.tirx)(v, other),
    MINIMUM: lambda scalars, op, v, other: -greatest(scalars.tirx)(-v, -other),
    FLOOR: lambda scalars, op, v, other: scalars.tirx.floor(v),
    CEIL: lambda scalars, op, v, other: scalars.tirx.ceil(v),
    ROUND: lambda scalars, op, v, other: scalars.tirx.nearbyint(v),
    **UNBOUNDED,
}


class Scalars:
    """What formulas need of TIR, for one element."""

    def __init__(self, writer: GpuWriter) -> None:
        self.tirx = writer.tirx
        self.settle = writer.keep  # under a name, so that it is computed once
        self.Select, self.exp = writer.tirx.Select, writer.tirx.exp

    def const(self, value: float, dtype: str = "float32") -> Any:
        return self.tirx.const(value, dtype)


def read_tensors(steps: Steps, shape: tuple[Batch, ...], dtype: str) -> list[Tensor]:
    """The arguments that steps read besides, of the result's shape."""
    return [Tensor(name, shape, dtype) for name in read_names(steps)]


def stepped(writer: GpuWriter, steps: Steps, values: Any, others: Sequence[Any], at: Any) -> None:
    """A chunk in registers, after all steps; of the tensors that they read besides they take what lies at the same place.

    Every step is stored: a formula that reads a value twice would double with each of several in a row.
    """
    taken = [writer.take_chunk(other, at) for other in others]
    left, scalars = iter(taken), Scalars(writer)
    for step in steps:
        read = next(left) if step.reads else None
        with writer.unrolled(CHUNK) as lane:
            value, other = values[lane], None if read is None else writer.to.cast(read[lane], "float32")
            if step.gate is not None:
                other = GPU_STEPS[step.gate.kind](scalars, step.gate.op, value, None)
            a, b = (other, value) if step.first else (value, other)
            writer.set(values, lane, GPU_STEPS[step.kind](scalars, step.op, a, b))
