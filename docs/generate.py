"""The reference pages docs/ops.md and docs/passes.md, from the tables that the compiler itself reads. `make docs` writes them.

python docs/generate.py            writes what changed
python docs/generate.py --check    names what is not current, exit code 1: a test does so
"""

from __future__ import annotations

import argparse
import inspect
import itertools
import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import MISSING, Field, fields
from pathlib import Path
from types import ModuleType
from typing import Any

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent / "tests" / "support"))  # the loader of golden files

from cases import Case, load_cases  # noqa: E402

from convc.backends.onnx.rows import ROWS as ONNX  # noqa: E402
from convc.backends.rows import Unsupported  # noqa: E402
from convc.backends.tvm.fast.choose import MAKERS as CPU  # noqa: E402
from convc.backends.tvm.rows import ROWS as TVM  # noqa: E402
from convc.compiler.pipelines import LEVELS  # noqa: E402
from convc.ir.attributes import format_value  # noqa: E402
from convc.ir.op import OpDef  # noqa: E402
from convc.ir.ops import FAMILIES  # noqa: E402
from convc.passes.catalog import PASSES, Pass  # noqa: E402

GOLDEN = HERE.parent / "tests" / "golden"
NOTICE = "<!-- Made by docs/generate.py from the tables of the compiler: `make docs` writes it anew; edit the docstrings. -->"
MARKUP = re.compile(r"(?<=\S)\*|\*(?=\S)|(?<!\w)_|_(?!\w)|<(?=\w)")  # a star between spaces, or a _ within a word, is none
OPS_INTRO = """\
An op is one record of `OPS` (`ir/ops/`): its attributes, type rule, meaning in NumPy and cost. The first line of each entry is the op in
the text form: a `?` marks an operand that may be left out, a `*` any number of them, and attributes have their defaults.
`Pair` is rows and columns; `Pads` top, left, bottom and right, in ONNX's order; `Dim` a number or an expression over named sizes.

All ops run on the reference interpreter. *onnx* says what `convc export` can write; *tvm* what has a stock row, which CUDA takes, and a CPU
where no kernel of ours fits; *cpu* what such kernels compute, of float32 and where the sizes allow it."""
PASSES_INTRO = """\
A pass is one record of `PASSES` (`passes/catalog.py`), and text in, text out: `convc opt net.cir -p infer-shapes,fuse-conv-bn`. An *exact*
one computes the same function up to rounding; the pipelines hold no other. Each has a golden file, whose cases are named below."""
STEPS_INTRO = (
    "A level runs, from top to bottom, the steps that begin at it or below. *Why* says what a step is for, or why it stands there."
)
OUTCOMES = ("rewrites", "leaves alone", "refuses")


def pages() -> dict[str, str]:
    """The text of every page, by the file's name."""
    return {"ops.md": _joined(ops_page()), "passes.md": _joined(passes_page())}


def ops_page() -> Iterator[str]:
    """Blocks of Markdown: a table of all ops, then an entry each, family by family."""
    yield from (NOTICE, "# Ops", OPS_INTRO)
    rows = [_op_row(op) for family in FAMILIES for op in family.OPS]
    yield _table(("op", "operands", "onnx", "tvm", "cpu"), rows)
    for family in FAMILIES:
        yield f"## {_file(family)}"
        yield _escaped(inspect.getdoc(family) or "")
        yield from itertools.chain.from_iterable(map(op_entry, family.OPS))


def op_entry(op: OpDef[Any]) -> Iterator[str]:
    """What an op is, what it takes, and what no backend does with it."""
    yield f"### {op.name}"
    yield f"`{_signature(op)}`"
    yield _escaped(inspect.getdoc(op.Attrs) or "")
    if attributes := fields(op.Attrs):
        yield _table(("attribute", "type", "default"), [(f"`{f.name}`", f"`{f.type}`", _default(f)) for f in attributes])
    if refusal := inspect.getdoc(op.infer):
        yield _escaped(refusal)
    gaps = [f"- {name}: {_escaped(row.why)}" for name, rows in (("onnx", ONNX), ("tvm", TVM)) if (row := _gap(rows[op]))]
    if gaps:
        yield "\n".join(gaps)


def passes_page() -> Iterator[str]:
    """Blocks of Markdown: the pipelines, then an entry for each pass in the catalog's order."""
    yield from (NOTICE, "# Passes", PASSES_INTRO, "## Pipelines", STEPS_INTRO)
    assert all(level == tuple(step for step in LEVELS[-1] if step in level) for level in LEVELS), (
        "levels nest, or one table cannot show them"
    )
    rows = [(_link(step.name), f"-O{_levels(step.name)[0]}", step.why) for step in LEVELS[-1]]
    yield _table(("pass", "from", "why"), rows)
    asked = [_link(name) for name in PASSES if not _levels(name)]
    yield f"In none of them, but for `--enable` and `-p`: {', '.join(asked)}."
    yield "## Catalog"
    for entry in PASSES.values():
        yield from pass_entry(entry)


def pass_entry(entry: Pass) -> Iterator[str]:
    """The record, the module's own words, before and after, where it stands, and its golden cases."""
    yield f"### {entry.name}"
    yield _sentence((inspect.getdoc(inspect.getmodule(entry.run)) or "").removeprefix(f"{entry.name}: "))
    traits = ("exact" if entry.exact else "lossy", "reads types" if entry.needs_types else "needs no types", _standing(entry.name))
    yield f"In the catalog: {_escaped(entry.summary)}; {'; '.join(traits)}."
    yield from map(_example_or_words, (inspect.getdoc(entry.run) or "").split("\n\n"))
    yield from golden_cases(_golden(entry.name))


def golden_cases(path: Path) -> Iterator[str]:
    """What the cases of a file are about, by what comes of them."""
    yield f"Cases of `tests/golden/{path.name}`:"
    cases = load_cases(path)
    for outcome in OUTCOMES:
        if names := [case.name for case in cases if _outcome(case) == outcome]:
            yield f"*{outcome}*"
            yield "\n".join(f"- {_escaped(name)}" for name in names)


# ---- of ops


def _op_row(op: OpDef[Any]) -> tuple[str, ...]:
    return (_link(op.name), _operands(op), *("no" if _gap(rows[op]) else "yes" for rows in (ONNX, TVM)), "yes" if op in CPU else "")


def _gap(row: object) -> Unsupported | None:
    return row if isinstance(row, Unsupported) else None


def _signature(op: OpDef[Any]) -> str:
    """The op as the text form has it."""
    _, *operands = inspect.signature(op.infer).parameters.values()
    attributes = ", ".join(f.name if f.default is MISSING else f"{f.name}={format_value(f.default)}" for f in fields(op.Attrs))
    return f"{op.name}({', '.join(map(_operand, operands))})" + (f" {{{attributes}}}" if attributes else "")


def _operand(parameter: inspect.Parameter) -> str:
    if parameter.kind is inspect.Parameter.VAR_POSITIONAL:
        return f"*{parameter.name}"
    return parameter.name + ("" if parameter.default is inspect.Parameter.empty else "?")


def _operands(op: OpDef[Any]) -> str:
    least, most = op.arity
    return f"{least} or more" if most is None else str(least) if least == most else f"{least} to {most}"


def _default(field: Field[Any]) -> str:
    return "must be given" if field.default is MISSING else f"`{format_value(field.default)}`"


def _file(module: ModuleType) -> str:
    return module.__name__.removeprefix("convc.").replace(".", "/") + ".py"


# ---- of passes


def _levels(name: str) -> list[int]:
    return [number for number, level in enumerate(LEVELS) if name in {step.name for step in level}]


def _standing(name: str) -> str:
    levels = _levels(name)
    if not levels:
        return "runs where it is asked for"
    return (
        f"runs from -O{levels[0]} on" if levels == list(range(levels[0], len(LEVELS))) else f"runs at {', '.join(f'-O{n}' for n in levels)}"
    )


def _golden(name: str) -> Path:
    return GOLDEN / f"{name.replace('-', '_')}.cir"


def _outcome(case: Case) -> str:
    return "refuses" if case.error is not None else "leaves alone" if case.is_refusal else "rewrites"


def _example_or_words(paragraph: str) -> str:
    """`Before: ...    After: ...` as two lines of code, anything else as it is."""
    if not paragraph.startswith(("Before:", "After:")):
        return _escaped(paragraph)
    before, gap, after = paragraph.partition("After:")
    return "```\n" + "\n".join(filter(None, (before.rstrip(), f"{gap}  {after.strip()}" if gap else ""))) + "\n```"


# ---- Markdown


def _joined(blocks: Iterable[str]) -> str:
    return "\n\n".join(filter(None, blocks)) + "\n"


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *([cell.replace("|", "\\|") for cell in row] for row in rows)]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def _link(name: str) -> str:
    return f"[{name}](#{name})"


def _sentence(text: str) -> str:
    return _escaped(text[:1].upper() + text[1:])


def _escaped(text: str) -> str:
    """Plain text, in which what stands between backticks is code and nothing else is markup."""
    return "`".join(part if number % 2 else MARKUP.sub(r"\\\g<0>", part) for number, part in enumerate(text.split("`")))


def main() -> int:
    parser = argparse.ArgumentParser(description="write docs/ops.md and docs/passes.md")
    parser.add_argument("--check", action="store_true", help="write nothing; name the pages that are not current")
    check = parser.parse_args().check
    stale = {HERE / name: text for name, text in pages().items() if _text(HERE / name) != text}
    for page, text in stale.items():
        if not check:
            page.write_text(text, encoding="utf-8")
        print(f"docs/{page.name} is not current; run `make docs`" if check else f"wrote docs/{page.name}")
    return 1 if check and stale else 0


def _text(page: Path) -> str:
    return page.read_text(encoding="utf-8") if page.is_file() else ""


if __name__ == "__main__":
    sys.exit(main())
