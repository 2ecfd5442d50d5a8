"""The pipelines -O0 to -O3: what runs, in which order, and why."""

from __future__ import annotations

from .manager import Step

__all__ = ["LEVELS", "MEMORY", "PRECISIONS"]

O0 = (Step("infer-shapes", why="every later step reads types"),)
O1 = (
    *O0,
    Step("drop-identity", why="before fusion: a dropout or identity in between hides the pattern"),
    Step("move-dequantize", why="before fold-constants, which turns what is stored; a dequantized weight may have to stay one"),
    Step("fold-constants", why="before fusion: weights must be parameters, not computations on them"),
    Step("constant-places", why="after fold-constants: the places must be numbers; before flatten-concat, which joins what it cuts"),
    Step(
        "fold-shapes", why="after constant-places, which leaves transposes that meet; before merge-common: equal chains become equal nodes"
    ),
    Step("canonicalize", why="after both: fewer forms to find equal, and fewer for the fusions to know"),
    Step("flatten-concat", why="each copy that goes is a whole read and write"),
    Step("merge-common", why="after canonicalize: what is written in one form is found equal"),
    Step("eliminate-dead", why="last: earlier passes leave operands that nothing reads"),
)
O2 = (
    *O1[:-1],
    Step("sink-transposes", why="after canonicalize, before all that folds into weights: products of pixels become 1x1 convs"),
    Step("fuse-conv-bn", why="batch norm at inference is a scale and a shift that the weights can carry"),
    Step("fold-affine", why="after fuse-conv-bn: a gain may stand behind the norm; before fold-pad: a padded conv takes no shift"),
    Step("fold-pad", why="after both, which need convs without pads; the padded copy is not made"),
    Step("pick-channels", why="after fusion: what reads a shuffle is a conv by now; before merge-siblings, which cuts values of its own"),
    Step(
        "merge-siblings",
        why="after fusion: convs that a concat joins are one conv; cut apart again it costs more than it saves",
    ),
    Step("split-concat", why="after merge-siblings, which leaves fewer concats; a squeeze layer sums what it need not copy"),
    Step("move-pointwise", why="after fusion: batch norm no longer hides the conv from the pool or resize"),
    Step("compose-linear", why="after split-concat and move-pointwise, which bring convs next to each other"),
    Step("hoist-stride", why="after fusion: a stage ends in conv and add alone; before planning, which counts what is left"),
    O1[-1],
)
O3 = (
    *O2[:-1],
    Step("pool-before-relu", why="a quarter of the relus, but an engine that fuses relu into the conv before it gains nothing"),
    O2[-1],
    Step("order-for-memory", why="after eliminate-dead: only what is left is live; nothing moves unless the peak falls"),
)

# After a level. Lossy, so in none of them: somebody asks for a precision.
PRECISIONS = {
    "fp16": Step("to-float16", why="after all others: what they fold into weights is rounded once, and casts hide nothing from them"),
    "bf16": Step("to-bfloat16", why="as for fp16"),
}

# After all of these, where somebody asks for less memory: it costs time.
MEMORY = Step("recompute", why="last: merge-common would make one of a value and its copy, and an order is given by now")

LEVELS: tuple[tuple[Step, ...], ...] = (O0, O1, O2, O3)
