"""What a network does otherwise while it trains: dropout drops, batch norm takes the statistics of its batch and keeps a running mean."""

from __future__ import annotations

from collections.abc import Mapping, Set

from ...ir.errors import InvalidModel
from ...ir.gradient import NodeMaker
from ...ir.graph import Node
from ...ir.ops.activation import DROPOUT
from ...ir.ops.norm import BATCH_NORM
from ...ir.terms import Term, where

__all__ = ["MOMENTUM", "dropped", "drops", "normalized", "statistics_of"]

MOMENTUM = 0.1  # of a batch in the running statistics, PyTorch's


def drops(node: Node) -> bool:
    return node.kind is DROPOUT and node.op.ratio > 0


def dropped(node: Node, x: Term, seed: Term, stream: int) -> Term:
    """0 with the dropout's probability, else x over what is left: the mean stays. Srivastava et al. 2014, sec. 10."""
    ratio: float = DROPOUT.of(node).ratio
    drawn = seed.op("random_uniform", shape=x.shape, stream=stream).cast(x.type.dtype)
    return where(drawn >= ratio, x * (1 / (1 - ratio)), 0.0)


def statistics_of(node: Node, training: Mapping[Node, Node], could: Set[Node]) -> tuple[Node, Node] | None:
    """Stored mean and variance of a batch norm that takes those of its batch; None for another, which keeps the stored ones.

    That is one whose scale and shift are frozen, though they `could` be trained: those of a layer that is not trained stay with it. One
    that has none to train, PyTorch's affine=False, takes those of its batch.
    """
    if node.kind is not BATCH_NORM:
        return None
    _, scale, shift, mean, var = node.inputs
    trains = scale in training or shift in training or could.isdisjoint((scale, shift))
    return (mean, var) if trains and mean.weights is not None and var.weights is not None else None


def normalized(node: Node, operands: tuple[Term, ...], maker: NodeMaker) -> tuple[Term, Term, Term]:
    """The result by the batch's own statistics, and the next running mean and variance. Ioffe & Szegedy 2015, alg. 1.

    The running variance is that of the images the batch is drawn from, n/(n-1) times the batch's, as PyTorch has it.

    Raises: InvalidModel for one number a channel, which has no variance.
    """
    x, scale, shift, mean, var = operands
    axes = (0, *range(2, x.rank))
    if all(x.shape[axis] == 1 for axis in axes):
        raise InvalidModel(f"{node.where} has one number for each channel, of which there is no variance; train with batches of 2 or more")
    count = x.count(*axes)
    batch_mean = x.mean(*axes)  # by this op the way back knows a training, and takes its sums together
    off = x - batch_mean.along_channels(x.rank)
    batch_var = (off * off).mean(*axes)
    made = x.op("batch_norm", scale, shift, batch_mean, batch_var, epsilon=BATCH_NORM.of(node).epsilon)
    next_mean = mean * (1 - MOMENTUM) + batch_mean * MOMENTUM
    next_var = var * (1 - MOMENTUM) + batch_var * (MOMENTUM * (count / (count - 1.0)))
    return made, next_mean, next_var
