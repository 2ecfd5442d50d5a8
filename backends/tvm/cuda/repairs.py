"""What TVM's schedules, and its printer of CUDA, would get wrong: said in another way before they see it."""

from __future__ import annotations

import math
import re
import struct
from collections.abc import Iterator
from typing import Any

import numpy as np

from ..host import tvm, tvm_ffi

__all__ = ["c_names", "exact_constants", "sums_of_one"]

PRINTED_DIGITS = 15  # after the point of a constant in float64: nothing is left of 1e-300


def sums_of_one(function: Any) -> Any:
    """A kernel in which no block sums over axes of extent 1 alone: what starts the sum stands in the place of the sum so far.

    TVM's schedules drop such axes and take the block for one that sums nothing. What follows is then computed inside it, of the start
    as of each step: a bias is added twice, and a norm divided by twice.
    """
    host = tvm()
    tirx = host.tirx

    def is_one(var: Any) -> bool:
        return isinstance(var.dom.extent, tirx.IntImm) and int(var.dom.extent) == 1

    def without_sum(block: Any) -> Any:
        summed = [var for var in block.iter_vars if var.iter_type == tirx.IterVar.CommReduce]
        if block.init is None or not all(map(is_one, summed)):
            return block
        starts = [(store.buffer, store.value) for store in _stores(block.init)]

        def start(load: Any) -> Any:
            return next((value for buffer, value in starts if load.source.same_as(buffer)), load)

        body = _mapped(block.body, host.ir.TensorLoad, start)
        places = [tirx.IterVar(var.dom, var.var, tirx.IterVar.DataPar) for var in block.iter_vars]
        rest = (None, block.alloc_buffers, block.match_buffers, block.annotations)
        return type(block)(places, block.reads, block.writes, block.name_hint, body, *rest)

    return function.with_body(_mapped(function.body, host.s_tir.SBlock, without_sum))


def exact_constants(function: Any) -> Any:
    """A function whose constants are printed as they are: of more than 15 digits after the point float64 is written by its bits.

    Those of float32 are printed in hexadecimal, and so are those of float16, on the way to which float32 would round a first time.
    """
    tirx = tvm().tirx

    def exact(constant: Any) -> Any:
        dtype, value = str(constant.ty.dtype), float(constant.value)
        if not math.isfinite(value):
            return constant
        if dtype == "float16":
            return tirx.FloatImm("float16", float(np.float16(value)))
        if dtype == "float64" and float(f"{value:.{PRINTED_DIGITS}f}") != value:
            (bits,) = struct.unpack("<q", struct.pack("<d", value))
            return tirx.reinterpret("float64", tirx.IntImm("int64", bits))
        return constant

    return function.with_body(_mapped(function.body, tirx.FloatImm, exact))


def c_names(function: Any) -> Any:
    """A device function whose variables have names that C takes: what a network calls its values may be no identifier, and one with a
    digit in front or a slash in it is printed as it is. Distinct they are made by the printer.

    Pointers end in _ptr. A named size is an argument, and gets an end too: no keyword, type, macro or variable of CUDA's has it.
    """
    host = tvm()
    renamed: dict[Any, Any] = {}
    sizes = [param for param in function.params if not isinstance(param.ty, host.ir.PointerType)]

    def clean(var: Any) -> Any:
        if var not in renamed:
            name = _identifier(var.name) + ("_arg" if any(var.same_as(size) for size in sizes) else "")
            renamed[var] = var if name == var.name else type(var)(name, var.ty)
        return renamed[var]

    return _mapped(function, host.ir.Var, clean)


def _identifier(name: str) -> str:
    """Without what C has no use for: `/Abs_output_0` and `3x` are Abs_output_0 and v3x, characters beyond ASCII their numbers."""
    spelled = "".join(letter if letter.isascii() else f"u{ord(letter):x}" for letter in name)
    plain = re.sub(r"[^A-Za-z0-9_]", "_", spelled).lstrip("_")
    return plain if plain[:1].isalpha() else f"v{plain}"


def _stores(statement: Any) -> Iterator[Any]:
    """Those of what starts a sum, which has one for each of its results."""
    tirx = tvm().tirx
    if isinstance(statement, tirx.SeqStmt):
        for part in statement.seq:
            yield from _stores(part)
    else:
        assert isinstance(statement, tirx.BufferStore)
        yield statement


def _mapped(statement: Any, kind: Any, change: Any) -> Any:
    return tvm_ffi().structural_map(statement, (kind, change), order="post")
