"""The pages of ops, from `OPS` and the backends' tables."""

from __future__ import annotations

import inspect
import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import MISSING, Field, fields
from types import ModuleType
from typing import Any

from convc.backends.onnx.write.onnx_rows import ROWS as ONNX
from convc.backends.tvm.cpu.rules import MAKERS as CPU
from convc.backends.tvm.stock.relax_rows import ROWS as TVM
from convc.backends.unsupported import Unsupported
from convc.docs.site.markdown import NOTICE, escaped, table
from convc.ir.attributes import format_value
from convc.ir.facts import follows, gains, in_float32, never
from convc.ir.op import OpDef
from convc.ir.ops import FAMILIES
from convc.ir.terms import NoGradient

__all__ = ["ops_pages"]

OPS_INTRO = """\
An op is one record of `OPS` (`ir/ops/`): its attributes, type rule, meaning in NumPy and cost. Each family of ops has a page.
The first line of each entry there is the op in the text form: a `?` marks an operand that may be left out, a `*` any number of them, and
attributes have their defaults.
*Facts* are what passes and checks may rely on (`ir/facts.py`), by the defaults where attributes decide; what is not stated is not claimed.
`Pair` is rows and columns; `Pads` top, left, bottom and right, in ONNX's order; `Dim` a number or an expression over named sizes.

All ops run on the reference interpreter. *onnx* says what `convc export` can write; *tvm* what has a stock row, which CUDA takes, and a CPU
where no kernel of ours fits; *cpu* what such kernels compute, of float32 and where the sizes allow it. *gradient* says what `differentiate`
can go back through; an op whose result is never a floating number needs none."""


def ops_pages() -> dict[str, Iterator[str]]:
    """Blocks of Markdown by the file's name in docs/ops: a table of all ops, and a page a family with an entry for each."""
    return {"README.md": _index()} | {f"{_stem(family)}.md": _page(family) for family in FAMILIES}


def _index() -> Iterator[str]:
    yield from (NOTICE, "# Ops", OPS_INTRO)
    rows = [_op_row(family, op) for family in FAMILIES for op in family.OPS]
    yield table(("op", "operands", "onnx", "tvm", "cpu", "gradient"), rows)


def _page(family: ModuleType) -> Iterator[str]:
    yield from (NOTICE, f"# {_stem(family).replace('_', ' ').capitalize()}")
    yield escaped(inspect.getdoc(family) or "")
    yield f"In `ir/ops/{_stem(family)}.py`; [all ops](README.md) says what the words and columns mean."
    yield from itertools.chain.from_iterable(map(op_entry, family.OPS))


def op_entry(op: OpDef[Any]) -> Iterator[str]:
    """What an op is, what it takes, and what no backend does with it."""
    yield f"## {op.name}"
    yield f"`{_signature(op)}`"
    yield escaped(inspect.getdoc(op.Attrs) or "")
    if attributes := fields(op.Attrs):
        yield table(("attribute", "type", "default"), [(f"`{f.name}`", f"`{f.type}`", _default(f)) for f in attributes])
    if facts := op_facts(op):
        yield f"Facts: {'; '.join(facts)}."
    if refusal := inspect.getdoc(op.infer):
        yield escaped(refusal)
    gaps = [f"- gradient: {escaped(op.gradient.why)}"] if isinstance(op.gradient, NoGradient) else []
    gaps += [f"- {name}: {escaped(row.why)}" for name, rows in (("onnx", ONNX), ("tvm", TVM)) if (row := _gap(rows[op]))]
    if gaps:
        yield "\n".join(gaps)


def op_facts(op: OpDef[Any]) -> list[str]:
    """What it claims of itself; what depends on attributes, as it is with their defaults."""
    facts, names = op.facts, _operand_names(op)
    usual = op.Attrs() if all(f.default is not MISSING for f in fields(op.Attrs)) else None
    said = ["element by element"] if facts.pointwise else []
    if facts.by_channel:
        said.append(f"{_listed(facts.by_channel, names)} with a number for each channel")
    if facts.reuse is not None:
        said.append(
            f"may lie {'in place of' if facts.reuse.how == 'in place' else 'as a view on'} {_listed(facts.reuse.operands, names, 'or')}"
        )
    if usual is not None:
        said += ["never falls"] if facts.rising(usual) else []
        said += [f"no steeper than {facts.slope(usual):.3g}"] if facts.slope is not None else []
        said += [f"at least {facts.least(usual):.3g}"] if facts.least(usual) > -math.inf else []
        said += ["changes nothing the second time"] if facts.idempotent(usual) else []
    said += ["operands may change places"] if facts.commutes else []
    said += ["changes nothing in some forms"] if facts.identity is not never else []
    said += [f"named sizes in {', '.join(f'`{name}`' for name in facts.sizes)}"] if facts.sizes else []
    said += ["an activation to papers"] if facts.activation else []
    if facts.narrow is not in_float32:
        in_16_bits = {gains: "gains by 16 bits", follows: "follows its operands into 16 bits"}
        said.append(in_16_bits.get(facts.narrow, "follows its operands into 16 bits in some forms"))
    return said


def _op_row(family: ModuleType, op: OpDef[Any]) -> tuple[str, ...]:
    return (
        f"[{op.name}]({_stem(family)}.md#{op.name})",
        _operands(op),
        *("no" if _gap(rows[op]) else "yes" for rows in (ONNX, TVM)),
        "yes" if op in CPU else "",
        _gradient(op),
    )


def _gradient(op: OpDef[Any]) -> str:
    return "" if not op.gradient else "no" if isinstance(op.gradient, NoGradient) else "yes"


def _gap(row: object) -> Unsupported | None:
    return row if isinstance(row, Unsupported) else None


def _signature(op: OpDef[Any]) -> str:
    """The op as the text form has it."""
    _, *operands = inspect.signature(op.infer).parameters.values()
    attributes = ", ".join(f.name if f.default is MISSING else f"{f.name}={format_value(f.default)}" for f in fields(op.Attrs))
    return f"{op.name}({', '.join(map(_operand, operands))})" + (f" {{{attributes}}}" if attributes else "")


def _operand_names(op: OpDef[Any]) -> list[str]:
    """Those of fixed places. Operands that all play one part have the name of the whole."""
    _, *operands = inspect.signature(op.infer).parameters.values()
    return [parameter.name for parameter in operands]


def _listed(places: Sequence[int], names: Sequence[str], word: str = "and") -> str:
    listed = list(dict.fromkeys(names[min(place, len(names) - 1)] for place in places))
    return f" {word} ".join(filter(None, (", ".join(listed[:-1]), listed[-1])))


def _operand(parameter: inspect.Parameter) -> str:
    if parameter.kind is inspect.Parameter.VAR_POSITIONAL:
        return f"*{parameter.name}"
    return parameter.name + ("" if parameter.default is inspect.Parameter.empty else "?")


def _operands(op: OpDef[Any]) -> str:
    least, most = op.arity
    return f"{least} or more" if most is None else str(least) if least == most else f"{least} to {most}"


def _default(field: Field[Any]) -> str:
    return "must be given" if field.default is MISSING else f"`{format_value(field.default)}`"


def _stem(family: ModuleType) -> str:
    return family.__name__.rpartition(".")[2]
