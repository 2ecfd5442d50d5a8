"""One row per ONNX operator that can be read. What is missing here is refused by name."""

from __future__ import annotations

from . import attention, indexed, layers, pointwise, quantized, resizes, shapes, statistics, windows
from .call import Row
from .opset_six import with_opset_six

__all__ = ["ROWS"]

ROWS: dict[str, Row] = with_opset_six(
    {
        **pointwise.ROWS,
        **windows.ROWS,
        **shapes.ROWS,
        **resizes.ROWS,
        **statistics.ROWS,
        **quantized.ROWS,
        **indexed.ROWS,
        **layers.ROWS,
        **attention.ROWS,
    }
)
