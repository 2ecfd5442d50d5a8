"""Concatenations and slices of whole blocks: views in the arena, with results that are right whatever else lies there."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from convc.backends.tvm.cpu.plan import VIEW, plan, single_image
from convc.backends.tvm.library.arena import Arena
from convc.backends.tvm.library.build import BuildOptions, build_cpu
from convc.backends.tvm.library.profile import call_times
from convc.backends.tvm.library.run import LoadedLibrary
from convc.compiler.files.inputs import random_inputs
from convc.ir.graph import Graph
from convc.tests.support.graphs import hold_to_reference, normal_inputs, typed_graph
from convc.tests.support.tvm_modules import build_and_hold

BLOCK = 16 * 6 * 5 * 4  # bytes of 16 channels

HEAD = """graph @g(%x: f32[1,16,6,5]) {
  %w = param : f32[16,16,1,1]
  %v = param : f32[32,16,1,1]
  %u = param : f32[20,16,1,1]
  %a = conv2d(%x, %w)
  %b = conv2d(%x, %v)
"""


def built(graph: Graph, tmp_path: Path) -> tuple[Arena, LoadedLibrary]:
    """With the results held to the reference."""
    made = build_cpu(graph, tmp_path / "model.so")
    module = LoadedLibrary.load(made.library)
    for seed in range(2):
        inputs = normal_inputs(graph, seed)
        hold_to_reference(graph, module.run(inputs), inputs)
    assert made.arena is not None
    return made.arena, module


@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize(
    ("text", "views", "blocks"),
    [
        ("%y = concat(%a, %b) %z = global_avg_pool(%y) return %z", {"y"}, 4),  # with %x in blocks
        ("%y = concat(%a, %b) %q = concat(%y, %a) %z = global_avg_pool(%q) return %z", {"y"}, 7),  # %a would lie twice
        ("%c = conv2d(%a, %u) %y = concat(%b, %c) %z = global_avg_pool(%y) return %z", {"y"}, 6),  # the last has odd channels
        ("%c = conv2d(%a, %u) %y = concat(%c, %b) %z = global_avg_pool(%y) return %z", set(), 8),
        ("%y = concat(%a, %x) %q = concat(%y, %b) %z = global_avg_pool(%q) return %z", {"y", "q"}, 4),  # %x is packed there
        ("%y = concat(%a, %b) %q = concat(%a, %b, %x) %r = global_avg_pool(%y) %s = global_avg_pool(%q) return %r, %s", {"y", "q"}, 4),
        ("%y = concat(%a, %b) %q = concat(%b, %a) %r = concat(%y, %q) %z = global_avg_pool(%r) return %z", {"y", "r"}, 7),
        ("%y = concat(%a, %b) %s = slice(%y) {axes=[1], starts=[16], ends=[48]} %z = global_avg_pool(%s) return %z", {"y", "s"}, 4),
        ("%y = concat(%a, %b) %s = slice(%y) {axes=[1], starts=[16], ends=[41]} %z = global_avg_pool(%s) return %z", {"y"}, 5),
        ("%s = slice(%b) {axes=[1], starts=[16], ends=[32]} %y = concat(%s, %a) %z = global_avg_pool(%y) return %z", {"s", "y"}, 4),
        ("%y = concat(%a, %b) %n = concat(%a, %b) return %y, %n, %a", {"y", "n"}, 4),  # outputs lie elsewhere
        ("%y = concat(%a) %z = global_avg_pool(%y) return %z", {"y"}, 2),
    ],
)
def test_what_is_a_view(text: str, views: set[str], blocks: int, batch: int, tmp_path: Path):
    """`blocks` are those of the fullest moment, of each image, means not counted."""
    graph = typed_graph(f"{HEAD}  {text}\n}}\n".replace("1,16,6,5", f"{batch},16,6,5"))
    assert {node.name for node in plan(graph).views} == views
    arena, _ = built(graph, tmp_path)
    assert arena.views == len(views)
    assert arena.size == arena.lower_bound
    assert arena.size // (batch * BLOCK) == blocks


@pytest.mark.parametrize(
    ("text", "in_place"),
    [
        # A piece of %y dies, but the others do not.
        ("%y = concat(%a, %b) %c = conv2d(%x, %w) %d = conv2d(%c, %w) %r = add(%d, %a) %z = add(%y, %y) return %r, %z", 0),
        # The sum of all of %y takes its place.
        ("%y = concat(%a, %b) %p = relu(%y) %c = conv2d(%p, %t) %r = add(%c, %y) %z = max_pool(%r) {kernel=[2,2]} return %z", 1),
        # And so does a slice of the sum.
        (
            "%y = concat(%a, %b) %p = relu(%y) %c = conv2d(%p, %t) %r = add(%c, %y) "
            "%s = slice(%r) {axes=[1], starts=[32], ends=[48]} %z = max_pool(%s) {kernel=[2,2]} %m = relu(%r) return %z, %m",
            1,
        ),
        # Both are parts of %q, by %a.
        (
            "%y = concat(%a, %b) %p = relu(%y) %c = conv2d(%p, %t) %r = add(%c, %y) %q = concat(%r, %a) "
            "%z = max_pool(%q) {kernel=[2,2]} return %z",
            0,
        ),
        ("%c = conv2d(%a, %w) %r = add(%c, %x) %y = concat(%r, %b) %z = max_pool(%y) {kernel=[2,2]} return %z", 0),  # into a piece
        # A piece of one stretch into a piece of another, as large: that has a part already.
        (
            "%p = conv2d(%x, %w) %y = concat(%a, %p) %g = global_avg_pool(%y) %d = conv2d(%x, %w) %c = conv2d(%d, %w) "
            "%r = add(%c, %a) %m = concat(%d, %r) %z = global_avg_pool(%m) return %z, %g",
            0,
        ),
    ],
)
def test_what_is_written_over_is_nobody_elses(text: str, in_place: int, tmp_path: Path):
    head = HEAD.replace("  %a =", "  %t = param : f32[48,48,1,1]\n  %a =") if "%t" in text else HEAD
    arena, _ = built(typed_graph(f"{head}  {text}\n}}\n"), tmp_path)
    assert arena.in_place == in_place


@pytest.mark.parametrize(("was", "now"), [("1,16,6,5", "2,16,6,5"), ("1,16,6,5", "N,16,6,5"), ("6,5])", "6,5], %k: f32[M,3])")])
def test_several_images_are_shown_as_one_is(was: str, now: str, tmp_path: Path):
    text = (
        f"{HEAD}  %y = concat(%a, %b) %s = slice(%y) {{axes=[1], starts=[16], ends=[48]}} %z = max_pool(%s) {{kernel=[2,2]}}\n  return %z"
    )
    graph = typed_graph(f"{text}\n}}\n".replace(was, now))
    assert {node.name for node in plan(graph).views} == {"y", "s"}
    build_and_hold(graph, *[{"N": 1}, {"N": 3}] if "N" in now else [{"M": 2}] if "M" in now else [{}])
    one = single_image(plan(graph))
    assert (one is None) == ("2," in now)
    assert one is None or {node.name for node in one.views} == {"y", "s"}
    arena = build_cpu(graph, tmp_path / "several.so", BuildOptions(single=False)).arena
    assert arena is not None
    assert arena.views == 2


def joined_at_random(seed: int, batch: str) -> str:
    """Convolutions, sums, concatenations and slices of whatever there is, most often of what came last."""
    draw = random.Random(seed)
    channels = {"x": 16}
    lines: list[str] = []

    def add(name: str, made: int, line: str) -> None:
        channels[name] = made
        lines.append(f"%{name} = {line}")

    for i in range(14):
        recent = list(channels)[-5:]
        of, kind = draw.choice(recent), draw.choice(["conv", "conv", "sum", "concat", "concat", "slice"])
        if kind == "conv":
            made = draw.choice([16, 16, 32, 20])
            lines.append(f"%w{i} = param : f32[{made},{channels[of]},1,1]")
            add(f"n{i}", made, f"conv2d(%{of}, %w{i})")
        elif kind == "sum":
            alike = [name for name in channels if channels[name] == channels[of]]
            lines.append(f"%w{i} = param : f32[{channels[of]},{channels[of]},1,1]")
            add(f"c{i}", channels[of], f"conv2d(%{of}, %w{i})")
            add(f"n{i}", channels[of], f"add(%c{i}, %{draw.choice(alike)})")
        elif kind == "concat" and channels[of] < 200:
            parts = [of, *draw.choices([name for name in channels if channels[name] < 100], k=draw.randint(1, 2))]
            add(f"n{i}", sum(channels[name] for name in parts), f"concat({', '.join(f'%{name}' for name in parts)})")
        else:
            start = 16 * draw.randrange((channels[of] + 15) // 16)
            stop = draw.randint(start + 1, channels[of])
            add(f"n{i}", stop - start, f"slice(%{of}) {{axes=[1], starts=[{start}], ends=[{stop}]}}")
    read = draw.sample(list(channels)[1:], 3)
    ends = " ".join(f"%y{i} = global_avg_pool(%{name})" for i, name in enumerate(read))
    body = "\n  ".join(lines)
    return f"graph @g(%x: f32[{batch},16,3,2]) {{\n  {body}\n  {ends}\n  return %y0, %y1, %y2, %{list(channels)[-1]}\n}}\n"


@pytest.mark.parametrize("seed", range(8))
def test_whatever_is_joined_and_cut(seed: int, tmp_path: Path):
    graph = typed_graph(joined_at_random(seed, str(1 + seed % 2)))
    arena, _ = built(graph, tmp_path)
    assert arena.views == len(plan(graph).views)


@pytest.mark.parametrize("seed", range(8, 12))
def test_whatever_is_joined_and_cut_of_so_many_images_as_come(seed: int, tmp_path: Path):
    graph = typed_graph(joined_at_random(seed, "N"))
    build_and_hold(graph, {"N": 1}, {"N": 3})
    arena = build_cpu(graph, tmp_path / "again.so", BuildOptions(single=False)).arena
    assert arena is not None
    assert arena.views == len(plan(graph).views)


def test_what_lies_beyond_a_slice_reaches_no_sum():
    """An infinity there would be NaN, times the weight of 0 that a kernel has for lanes beyond the last channel."""
    graph = typed_graph("""graph @g(%x: f32[2,20,4,4]) {
        %w = param : f32[16,9,3,3]
        %e = mul(%x, %x)
        %a = slice(%e) {axes=[1], starts=[0], ends=[9]}
        %c = conv2d(%a, %w)
        return %c
    }""")
    x = normal_inputs(graph, 0)["x"]
    x[:, 9:] = 1e30
    build_and_hold(graph, inputs={"x": x})


def test_a_profile_shows_views_and_takes_no_time_for_them(tmp_path: Path):
    text = "%y = concat(%a, %b) %n = concat(%b, %a) %f = flatten(%y) %z = max_pool(%y) {kernel=[2,2]} %m = relu(%n) return %f, %z, %m"
    graph = typed_graph(f"{HEAD}  {text}\n}}\n")
    _, module = built(graph, tmp_path)
    times = call_times(module, random_inputs(graph), 1)
    calls = [call for time in times for call in time.calls]
    assert sorted((call.kernel, call.node.name) for call in calls) == sorted((call.kernel, call.node.name) for call in plan(graph).calls)
    assert [(time.calls[0].node.name, time.microseconds) for time in times if time.calls[0].kernel == VIEW] == [("y", 0.0)]
    assert "concat" in {call.kernel for call in calls}
