"""convc optimize"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import click

from ...ir.errors import Mismatch, UsageError
from ...ir.files import write_file
from ...ir.graph import Graph
from ...ir.types import Array
from ...ir.usual_sizes import counting_sizes, other_sizes
from ...passes.manager import Stage
from ..compiling.better_onnx import Better, better_file, check_better
from ..compiling.figures import Figures
from ..compiling.no_worse import RunPasses
from ..files.inputs import random_inputs, read_inputs
from ..files.model import pairs
from ..files.photographs import Said
from ..report.html.report import Report, Verdict
from .console import Console, emit_json, print_table
from .html_file import write_html
from .options import PassOptions, gather, html_option, pass_options
from .outputs import OUTPUT_FILE
from .pipeline import named_passes, run_pipeline, steps_of

__all__ = ["command"]


@dataclass(frozen=True, slots=True)
class OptimizeOptions:
    """What `convc optimize` was asked for; the help of its options says what each means."""

    shapes: tuple[str, ...]
    opset: int | None
    strict: bool
    check: bool
    files: tuple[str, ...]
    seed: int
    html: Path | None
    as_json: bool


@click.command("optimize")
@click.argument("source", metavar="IN.onnx", type=click.Path(path_type=Path))
@click.argument("output", metavar="OUT.onnx", type=OUTPUT_FILE)
@pass_options
@click.option("--input", "shapes", multiple=True, metavar="NAME:SHAPE", help="Pin or free dimensions of an input: image:N,3,256,256.")
@click.option("--opset", type=int, help="ONNX opset of the new file, 7 or newer; default: that of the old one.")
@click.option("--strict", is_flag=True, help="Refuse operators that convc does not have, which else are kept as they are.")
@click.option(
    "--verify/--no-verify", "check", default=True, show_default=True, help="Hold the result to the original, in float64 and in onnxruntime."
)
@click.option("-i", "--inputs", "files", multiple=True, help="Also check on a photograph, .npy or .npz file.")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Seed of the random inputs of the check.")
@html_option
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
@gather("given", OptimizeOptions)
@click.pass_obj
def command(console: Console, source: Path, output: Path, given: OptimizeOptions, passes: PassOptions) -> None:
    """Read IN.onnx, run the passes, and write OUT.onnx: fewer nodes, the same answers.

    A file that cannot be improved is copied unchanged, and a pass of a level that would make a figure worse is left out. One that is named,
    with -p or --enable, is done whatever it makes worse. Nothing is written when the check fails. OUT.onnx may be IN.onnx, which it then
    replaces.
    """
    from ...backends.onnx.file.saving import save_model
    from ...backends.onnx.write.export import need_opset

    if source.suffix != ".onnx" or output.suffix != ".onnx":
        raise UsageError(f"'{source}' to '{output}': both must be .onnx files")
    need_opset(given.opset)
    shapes = pairs("--input", given.shapes, ":")
    named = named_passes(passes)
    better = better_file(source, _pipeline(console, passes), shapes, given.opset, strict=given.strict, named=named, say=console.say)
    if better.imported.note:
        console.say(better.imported.note)
    why = "" if better.model is not None else f"{source} cannot be improved"
    checked: list[str] = []

    def say(line: str) -> None:
        checked.append(line)
        console.say(line)

    if better.model is not None and given.check:
        feeds = _feeds(better.before, given.files, given.seed, console.say)
        if not check_better(better, feeds, given.seed, say):
            why = f"onnxruntime's own optimizer computes the new file wrong, though it is right, and not {source}"
            if any(stage.changed and stage.name in named for stage in better.trace):
                raise Mismatch(f"{why}; nothing was written; --no-verify writes it all the same")
            better = replace(better, model=None)
    if better.model is None:
        console.say(f"{why}; {output} is the same file")
        _copy(better, source, output)
    else:
        save_model(better.model, output, values=better.values)
        _sweep(console, better, source, output)
    _report(console, better, source, output, given.as_json)
    if given.html is not None:
        write_html(console, given.html, _seen(better, passes, checked, why))


def _seen(better: Better, passes: PassOptions, checked: list[str], why: str) -> Report:
    """The passes whose result was written; of a file that stays as it is there are none."""
    trace = better.trace if better.model is not None else []
    warnings = [line for line in checked if line.startswith("warning: ")]
    checks = [Verdict(line, True) for line in checked if line not in warnings]
    return Report(better.before, trace, f"optimize -O{passes.level}", checks, [*warnings, *([why] if why else [])])


def _pipeline(console: Console, passes: PassOptions) -> RunPasses:
    """The passes that were asked for, without some. What they do is shown once: where all that are named run, or nothing is left out."""
    named = named_passes(passes)

    def run(graph: Graph, left_out: tuple[str, ...]) -> tuple[Graph, list[Stage]]:
        if not left_out:
            return run_pipeline(console, graph, passes)
        is_last = bool(named) and named.isdisjoint(left_out)
        level = {step.name for step in steps_of(replace(passes, enable=()))}
        fewer = replace(
            passes,
            skip=(*passes.skip, *(name for name in left_out if name in level)),
            enable=tuple(name for name in passes.enable if name not in left_out),
            dump_dir=passes.dump_dir if is_last or not named else None,
        )
        return run_pipeline(console if is_last else replace(console, verbosity=-1), graph, fewer)

    return run


def _feeds(graph: Graph, files: tuple[str, ...], seed: int, say: Said) -> Iterator[dict[str, Array]]:
    """Random inputs, of two sizes where rows or columns have names, and the ones that were given."""
    yield random_inputs(graph, seed)
    if sizes := other_sizes(graph):
        yield random_inputs(graph, seed, sizes=sizes)
    if files:
        yield read_inputs(graph, files, say=say)


def _copy(better: Better, source: Path, output: Path) -> None:
    """With what lies in files beside the original."""
    from ...backends.onnx.file.external import copy_files

    if output.resolve() == source.resolve():
        return
    if output.parent.resolve() != source.parent.resolve():
        copy_files(better.imported.model.folder, better.imported.model.files, output.parent)
    write_file(output, source.read_bytes())


def _sweep(console: Console, better: Better, source: Path, output: Path) -> None:
    """What a file that was replaced kept in others is no longer read: those that bear its name go, of others it is said."""
    from ...backends.onnx.file.external import unchanged_files

    if output.resolve() != source.resolve():
        return
    console.say(f"{source} is replaced by the new file")
    for path in unchanged_files(better.imported.model.folder, better.imported.model.files):
        if path.name.startswith(f"{source.name}."):
            path.unlink()
            console.say(f"removed {path}, which the file before kept its weights in")
        else:
            console.say(f"note: {output} has its weights inside, and reads '{path}' no longer")


def _report(console: Console, better: Better, source: Path, output: Path, as_json: bool) -> None:
    """Before and after: nodes, those of each type that changed, and what they cost."""
    before, after = better.figures if better.model is not None else (better.figures[0], better.figures[0])
    rows = [("nodes", before.nodes, after.nodes)]
    types = sorted({*before.operators, *after.operators}, key=lambda kind: (-before.operators.get(kind, 0), kind))
    changed = [kind for kind in types if before.operators.get(kind, 0) != after.operators.get(kind, 0)]
    rows += [(f"  {kind}", before.operators.get(kind, 0), after.operators.get(kind, 0)) for kind in changed]
    for name in ("params", "macs", "file_bytes", "arena"):
        rows.append((name.replace("_", " "), getattr(before, name), getattr(after, name)))
    if as_json:
        emit_json({"changed": better.model is not None, "before": _figures(before), "after": _figures(after)})
        return
    if sizes := counting_sizes(better.before):
        console.say(f"figures are counted where {', '.join(f'{name}={size}' for name, size in sizes.items())}")
    print_table([(name, f"{old:,}", f"{new:,}", _share(old, new)) for name, old, new in rows], ("", source.name, output.name, ""))


def _figures(of: Figures) -> dict[str, Any]:
    counts = {"nodes": of.nodes, "operators": dict(of.operators), "params": of.params, "macs": of.macs}
    return counts | {"file_bytes": of.file_bytes, "arena_bytes": of.arena, "estimated_nanoseconds": of.nanoseconds}


def _share(old: int, new: int) -> str:
    return f"{new / old - 1:+.1%}" if old and new != old else ""
