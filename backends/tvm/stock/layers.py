"""Lowerings of whole layers that no kernel of ours computes."""

from __future__ import annotations

from typing import Any

from ....ir.op import OpDef
from ....ir.ops import attention, deform, einsum, recurrent, sample
from .attention import attention as attention_
from .attention import rotary_embedding
from .deform import deform_conv
from .einsum import einsum as einsum_
from .recurrent import gru, lstm, rnn
from .relax_emitter import Lowering
from .sample import grid_sample, roi_align

__all__ = ["LAYERS"]

LAYERS: dict[OpDef[Any], Lowering] = {
    einsum.EINSUM: einsum_,
    attention.ATTENTION: attention_,
    attention.ROTARY_EMBEDDING: rotary_embedding,
    recurrent.RNN: rnn,
    recurrent.GRU: gru,
    recurrent.LSTM: lstm,
    deform.DEFORM_CONV2D: deform_conv,
    sample.GRID_SAMPLE: grid_sample,
    sample.ROI_ALIGN: roi_align,
}
