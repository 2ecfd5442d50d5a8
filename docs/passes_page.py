"""The page of passes, from `PASSES`, the pipelines and the golden files."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from pathlib import Path

from convc.docs.markdown import NOTICE, escaped, link, sentence, table
from convc.passes.catalog import PASSES, Pass
from convc.passes.pipelines import LEVELS, MEMORY, PRECISIONS
from convc.tests.support.cases import Case, load_cases

__all__ = ["passes_page"]

GOLDEN = Path(__file__).parents[1] / "tests" / "golden"
PASSES_INTRO = """\
A pass is one record of `PASSES` (`passes/catalog.py`), and text in, text out: `convc opt net.cir -p infer-shapes,fuse-conv-bn`. An *exact*
one computes the same function up to rounding; the pipelines hold no other. Each has a golden file, whose cases are named below."""
STEPS_INTRO = (
    "A level runs, from top to bottom, the steps that begin at it or below. *Why* says what a step is for, or why it stands there."
)
PRECISIONS_INTRO = "`--precision` adds one, after those of the level:"
MEMORY_INTRO = "`--memory` adds one, which stops at the share that was asked for:"
OUTCOMES = ("rewrites", "leaves alone", "refuses")


def passes_page() -> Iterator[str]:
    """Blocks of Markdown: the pipelines, then an entry for each pass in the catalog's order."""
    yield from (NOTICE, "# Passes", PASSES_INTRO, "## Pipelines", STEPS_INTRO)
    assert all(level == tuple(step for step in LEVELS[-1] if step in level) for level in LEVELS), (
        "levels nest, or one table cannot show them"
    )
    rows = [(link(step.name), f"-O{_levels(step.name)[0]}", step.why) for step in LEVELS[-1]]
    yield table(("pass", "from", "why"), rows)
    yield PRECISIONS_INTRO
    yield table(("precision", "pass", "why"), [(f"`{name}`", link(step.name), step.why) for name, step in PRECISIONS.items()])
    yield MEMORY_INTRO
    yield table(("pass", "why"), [(link(MEMORY.name), MEMORY.why)])
    asked = [link(name) for name in PASSES if not _levels(name)]
    yield f"In none of them, but for `--enable` and `-p`: {', '.join(asked)}."
    yield "## Catalog"
    for entry in PASSES.values():
        yield from pass_entry(entry)


def pass_entry(entry: Pass) -> Iterator[str]:
    """The record, the module's own words, before and after, where it stands, and its golden cases."""
    yield f"### {entry.name}"
    yield sentence((inspect.getdoc(inspect.getmodule(entry.run)) or "").removeprefix(f"{entry.name}: "))
    traits = ("exact" if entry.exact else "lossy", "reads types" if entry.needs_types else "needs no types", _standing(entry.name))
    yield f"In the catalog: {escaped(entry.summary)}; {'; '.join(traits)}."
    yield from map(_example_or_words, (inspect.getdoc(entry.run) or "").split("\n\n"))
    yield from golden_cases(_golden(entry.name))


def golden_cases(path: Path) -> Iterator[str]:
    """What the cases of a file are about, by what comes of them."""
    yield f"Cases of `tests/golden/{path.name}`:"
    cases = load_cases(path)
    for outcome in OUTCOMES:
        if names := [case.name for case in cases if _outcome(case) == outcome]:
            yield f"*{outcome}*"
            yield "\n".join(f"- {escaped(name)}" for name in names)


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
        return escaped(paragraph)
    before, gap, after = paragraph.partition("After:")
    return "```\n" + "\n".join(filter(None, (before.rstrip(), f"{gap}  {after.strip()}" if gap else ""))) + "\n```"
