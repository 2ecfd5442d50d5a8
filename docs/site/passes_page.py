"""The pages of passes, from `PASSES`, the pipelines and the golden files: an index, and a page a pass with what its golden file shows."""

from __future__ import annotations

import difflib
import inspect
import re
from collections.abc import Iterator
from pathlib import Path

from convc.compiler.engines.onnxruntime import ONNXRUNTIME
from convc.docs.site.markdown import NOTICE, details, escaped, fence, sentence, table
from convc.ir.parser import parse_graph
from convc.passes.catalog import PASSES, Pass
from convc.passes.manager import Stage, Step, run_passes
from convc.passes.pipelines import LEVELS, MEMORY, PRECISIONS
from convc.tests.support.cases import Case, load_cases

__all__ = ["passes_pages"]

GOLDEN = Path(__file__).parents[2] / "tests" / "golden"
INTRO = """\
A pass is one record of `PASSES` (`passes/catalog.py`), and text in, text out: `convc opt net.cir -p infer-shapes,fuse-conv-bn`. An *exact*
one computes the same function up to rounding; the pipelines hold no other. Each page shows what its pass does by the cases of its golden
file, which are tested: the text that comes out, equal results in float64, and that the pass finds nothing to do a second time."""
STEPS_INTRO = (
    "A level runs, from top to bottom, the steps that begin at it or below. *Why* says what a step is for, or why it stands there."
)
PRECISIONS_INTRO = "`--precision` adds one, after those of the level:"
MEMORY_INTRO = "`--memory` adds one, which stops at the share that was asked for:"
ELSEWHERE = "On demand: `--enable {name}` adds it at the end of a level, `-p` runs it by itself."
STAYS = re.compile(r"  +%\S+ = param\b")
# Steps with the reason that they stand where they do, in no level.
ADDED = {
    **{step.name: (f"`--precision {name}`", step.why) for name, step in PRECISIONS.items()},
    MEMORY.name: ("`--memory`", MEMORY.why),
}


def passes_pages() -> dict[str, Iterator[str]]:
    """Blocks of Markdown by the file's name in docs/passes."""
    return {"README.md": _index()} | {f"{entry.name}.md": _page(entry) for entry in PASSES.values()}


def _index() -> Iterator[str]:
    yield from (NOTICE, "# Passes", INTRO, "## Pipelines", STEPS_INTRO)
    assert all(level == tuple(step for step in LEVELS[-1] if step in level) for level in LEVELS), (
        "levels nest, or one table cannot show them"
    )
    rows = [(_link(step.name), f"-O{_levels(step.name)[0]}", step.why) for step in LEVELS[-1]]
    yield table(("pass", "from", "why"), rows)
    yield PRECISIONS_INTRO
    yield table(("precision", "pass", "why"), [(f"`{name}`", _link(step.name), step.why) for name, step in PRECISIONS.items()])
    yield MEMORY_INTRO
    yield table(("pass", "why"), [(_link(MEMORY.name), MEMORY.why)])
    yield "On demand, by `--enable` and `-p`:"
    asked = [entry for entry in PASSES.values() if not _levels(entry.name) and entry.name not in ADDED]
    yield table(("pass", "what it does"), [(_link(entry.name), escaped(entry.summary)) for entry in asked])


def _page(entry: Pass) -> Iterator[str]:
    """The module's own words, the record, where it stands; then what it rewrites, and what it does not."""
    yield NOTICE
    yield f"# {entry.name}"
    words, sources = _module_words(entry)
    yield from words
    yield "\n".join(f"- **{name}**: {said}" for name, said in _facts(entry, sources))
    yield from map(_example_or_words, (inspect.getdoc(entry.run) or "").replace("\n\nAfter:", "\nAfter:").split("\n\n"))
    path = GOLDEN / f"{entry.name.replace('-', '_')}.cir"
    cases = [(case, _run(entry, case)) for case in load_cases(path)]
    yield from _rewrites(entry, [(case, stage) for case, stage in cases if stage is not None and not case.is_refusal])
    yield from _left(entry, [(case, stage) for case, stage in cases if stage is not None and case.is_refusal])
    yield from _refused([case for case, stage in cases if stage is None])
    yield f"All of this is `tests/golden/{path.name}`."


def _module_words(entry: Pass) -> tuple[list[str], str]:
    """Paragraphs of the module's docstring, and what it names as its source."""
    paragraphs = (inspect.getdoc(inspect.getmodule(entry.run)) or "").removeprefix(f"{entry.name}: ").split("\n\n")
    sources = [paragraph.removeprefix("Source: ") for paragraph in paragraphs if paragraph.startswith("Source: ")]
    first, *rest = [paragraph for paragraph in paragraphs if not paragraph.startswith("Source: ")]
    return [sentence(first), *map(escaped, rest)], " ".join(sources)


def _facts(entry: Pass, sources: str) -> Iterator[tuple[str, str]]:
    yield "in the catalog", escaped(entry.summary)
    yield "exact", "yes: the same function up to rounding" if entry.exact else "no: it runs only where it is asked for"
    yield "types", "reads them: `infer-shapes` comes first" if entry.needs_types else "needs none"
    yield "runs", _standing(entry.name)
    if why := ADDED.get(entry.name, ("", ""))[1] or next((step.why for step in LEVELS[-1] if step.name == entry.name), ""):
        yield "why there", escaped(why)
    names = [step.name for step in LEVELS[-1]]
    if entry.name in names:
        place = names.index(entry.name)
        yield "after", ", ".join(map(_link, names[max(place - 1, 0) : place])) or "nothing: it is the first"
        yield "before", ", ".join(map(_link, names[place + 1 : place + 2])) or "nothing: it is the last"
    if sources:
        yield "source", escaped(sources)


def _rewrites(entry: Pass, cases: list[tuple[Case, Stage]]) -> Iterator[str]:
    """The first case whole, with the command that does it; of the others what changes."""
    (case, stage), *others = cases
    yield "## Before and after"
    yield sentence(case.name)
    yield fence(case.text, 'text title="net.cir"')
    yield fence(f"$ convc opt net.cir -p {entry.name}\n{case.expected}", "console")
    yield from filter(None, (_told(stage),))
    if others:
        yield "More cases, each with the lines that go and come, without parameters that stay:"
    for case, stage in others:
        yield details(case.name, _told(stage), fence(_changes(case), "diff"))


def _left(entry: Pass, cases: list[tuple[Case, Stage]]) -> Iterator[str]:
    """What comes out as it went in. A reason is what the pass says under `-v`; without one the case itself says it."""
    if cases:
        yield "## What it leaves alone"
    for case, stage in cases:
        yield details(case.name.removeprefix("leaves "), _told(stage), fence(case.text, "text"))


def _refused(cases: list[Case]) -> Iterator[str]:
    if cases:
        yield "## What it refuses"
    for case in cases:
        yield details(case.name.removeprefix("refuses "), f"The error says: `{case.error}`.", fence(case.text, "text"))


def _run(entry: Pass, case: Case) -> Stage | None:
    """What the pass did to it; None for a case that is an error."""
    if case.error is not None:
        return None
    return run_passes(parse_graph(case.text), [Step(entry.name, "")], ONNXRUNTIME.prices)[1][0]


def _told(stage: Stage) -> str:
    """The ledger: which rules took what, and what was declined for which reason."""
    done = [f"- `{each.rule}` at `%{each.root}`" for each in stage.rewrites]
    left = [f"- `{each.rule}` is declined at `%{each.root}`: {escaped(each.why)}" for each in stage.declined]
    return "\n".join((*done, *left))


def _changes(case: Case) -> str:
    """The lines of both, once; those of the graph before alone with -, of the one after with +. Parameters that stay are left out."""
    lines = difflib.ndiff(case.text.splitlines(), (case.expected or "").splitlines())
    return "\n".join(line for line in lines if not line.startswith("?") and not STAYS.match(line))


def _levels(name: str) -> list[int]:
    return [number for number, level in enumerate(LEVELS) if name in {step.name for step in level}]


def _standing(name: str) -> str:
    levels = _levels(name)
    if name in ADDED:
        return f"by {ADDED[name][0]}, after the passes of the level"
    if not levels:
        return ELSEWHERE.format(name=name)
    place = [step.name for step in LEVELS[-1]].index(name) + 1
    return f"from -O{levels[0]} on, as step {place} of the {len(LEVELS[-1])} of -O3"


def _link(name: str) -> str:
    return f"[{name}]({name}.md)"


def _example_or_words(paragraph: str) -> str:
    """`Before: ...    After: ...` as two lines of code, anything else as it is."""
    if not paragraph.startswith(("Before:", "After:")):
        return escaped(paragraph)
    before, gap, after = paragraph.partition("After:")
    return fence("\n".join(filter(None, (before.rstrip(), f"{gap}  {after.strip()}" if gap else ""))), "text")
