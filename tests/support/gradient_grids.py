"""Windows of every stride, padding, dilation and group together: what a rule of one of them may have wrong only beside another."""

from __future__ import annotations

import itertools

__all__ = ["GRIDS"]

STRIDES = ("[1,1]", "[2,1]", "[3,2]")
PADS = ("[0,0,0,0]", "[1,0,2,1]", "[2,2,2,2]")
DILATIONS = ("[1,1]", "[1,2]", "[2,3]")


def _graph(inputs: str, lines: list[str]) -> str:
    """A graph that returns %y0, %y1, and so on."""
    named = [f"%y{place} = {line}" for place, line in enumerate(lines)]
    return f"graph @grid({inputs}) {{ {' '.join(named)} return {', '.join(f'%y{place}' for place in range(len(lines)))} }}"


def _convolutions(groups: int, kernel: str) -> str:
    forms = itertools.product(STRIDES, PADS, DILATIONS)
    lines = [f"conv2d(%x, %w, %b) {{strides={s}, pads={p}, dilations={d}, groups={groups}}}" for s, p, d in forms]
    return _graph(f"%x: f64[N,4,9,10], %w: f64[8,{4 // groups},{kernel}], %b: f64[8]", lines)


def _transposed(groups: int) -> str:
    forms = itertools.product(("[1,1]", "[2,3]"), PADS[:2], ("[1,1]", "[2,3]"), ("[0,0]", "[1,2]", "[1,0]"))
    lines = [
        f"conv_transpose2d(%x, %w, %b) {{strides={s}, pads={p}, dilations={d}, groups={groups}, output_padding={extra}}}"
        for s, p, d, extra in forms
        if extra == "[0,0]" or (s, d) != ("[1,1]", "[1,1]")
    ]
    return _graph(f"%x: f64[N,4,4,5], %w: f64[4,3,3,2], %b: f64[{3 * groups}]", lines)


def _pools(name: str, more: str = "") -> str:
    forms = itertools.product(("[2,2]", "[3,2]", "[3,3]"), STRIDES, ("[0,0,0,0]", "[1,0,1,1]"), ("[1,1]", "[2,1]"), ("false", "true"))
    lines = [f"{name}(%x) {{kernel={k}, strides={s}, pads={p}, dilations={d}, ceil_mode={c}{more}}}" for k, s, p, d, c in forms]
    return _graph("%x: f64[N,2,8,9]", lines)


def _slices() -> str:
    bounds = itertools.product(("0", "2", "-3", "7"), ("5", "-1", "100"), ("1", "2", "3"))
    lines = [f"slice(%x) {{axes=[1,-1], starts=[{a},{a}], ends=[{b},{b}], steps=[1,{c}]}}" for a, b, c in bounds]
    backward = itertools.product(("-1", "6", "3"), ("0", "-100"), ("-1", "-2", "-3"))
    lines += [f"slice(%x) {{axes=[2], starts=[{a}], ends=[{b}], steps=[{c}]}}" for a, b, c in backward]
    return _graph("%x: f64[N,8,9]", lines)


GRIDS = {
    **{f"conv2d-{g}-{k}": _convolutions(g, k) for g, k in itertools.product((1, 2, 4), ("1,1", "3,2"))},
    **{f"conv_transpose2d-{groups}": _transposed(groups) for groups in (1, 2)},
    "max_pool-grid": _pools("max_pool"),
    "avg_pool-grid": _pools("avg_pool"),
    "avg_pool-counted": _pools("avg_pool", ", count_include_pad=true"),
    "slice-grid": _slices(),
}
