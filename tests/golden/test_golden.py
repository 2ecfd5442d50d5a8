"""Every pass against its golden file: text, equal results, idempotence, the cap on rewrites."""

from __future__ import annotations

from pathlib import Path

import pytest

from convc.compiler.checking.verify import verify
from convc.compiler.engines.onnxruntime import ONNXRUNTIME
from convc.ir.errors import ConvcError
from convc.ir.graph import Graph
from convc.ir.parser import parse_graph
from convc.ir.printer import print_graph
from convc.passes.catalog import PASSES
from convc.passes.manager import Step, run_passes
from convc.passes.rewriting.ledger import Ledger
from convc.tests.support.cases import load_cases

HERE = Path(__file__).parent
FILES = {name: HERE / f"{name.replace('-', '_')}.cir" for name in PASSES}
CASES = [(name, case) for name, path in FILES.items() if path.exists() for case in load_cases(path)]


def test_every_pass_has_a_golden_file_and_every_file_a_pass():
    assert {path.name for path in FILES.values()} == {path.name for path in HERE.glob("*.cir")}


@pytest.mark.parametrize("name", PASSES)
def test_every_golden_file_has_a_success_and_a_refusal(name):
    kinds = {case.is_refusal for pass_name, case in CASES if pass_name == name}
    assert kinds == {True, False}


@pytest.mark.parametrize(("name", "case"), CASES, ids=[f"{name}: {case.name}" for name, case in CASES])
def test_case(name, case):
    steps = [Step(name, "golden")]
    if case.error is not None:
        with pytest.raises(ConvcError) as refusal:
            run_passes(parse_graph(case.text), steps, ONNXRUNTIME.prices)
        assert case.error in str(refusal.value)
        return
    before = parse_graph(case.text)
    after, _ = run_passes(before, steps, ONNXRUNTIME.prices)
    assert print_graph(after) == case.expected
    again, trace = run_passes(after, steps, ONNXRUNTIME.prices)
    assert print_graph(again) == case.expected, "the pass is not idempotent"
    assert not trace[0].rewrites, "the pass records rewrites it did not make"
    if after is not before and all(node.type is not None for node in before.nodes):
        kept = Graph.of(after.name, after.inputs, after.outputs[: len(before.outputs)])  # a pass may add to them
        assert verify(before, kept if PASSES[name].adds_outputs else after)


@pytest.mark.parametrize(("name", "case"), CASES, ids=[f"{name}: {case.name}" for name, case in CASES])
def test_a_cap_of_none_changes_nothing_and_caps_add_up(name, case):
    if case.error is not None:
        return
    graph = parse_graph(case.text)
    assert PASSES[name].run(graph, Ledger(ONNXRUNTIME.prices, 0)) is graph
    whole = Ledger(ONNXRUNTIME.prices)
    PASSES[name].run(graph, whole)
    for limit in range(1, len(whole.rewrites) + 1):
        capped = Ledger(ONNXRUNTIME.prices, limit)
        PASSES[name].run(graph, capped)
        assert len(capped.rewrites) == limit


@pytest.mark.parametrize(("name", "case"), CASES, ids=[f"{name}: {case.name}" for name, case in CASES])
def test_what_a_pass_made_names_the_line_of_what_it_was_made_from(name, case):
    if case.error is not None:
        return
    after, _ = run_passes(parse_graph(case.text, "net.cir"), [Step(name, "golden")], ONNXRUNTIME.prices)
    assert [node.where for node in after.nodes if "(net.cir:" not in node.where] == []


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "no cases"),
        ("graph @x\n# case: a\n# expect: unchanged\n", "before the first"),
        ("# case: a\ngraph\n", "0 verdicts"),
        ("# case: a\nx\n# expect: unchanged\n# expect: unchanged\n", "2 verdicts"),
        ("# case: a\nx\n# expect: unchanged\nleft over\n", "after 'unchanged'"),
        ("# case: a\nx\n# expect:\n", "below '# expect:'"),
        ("# case: a\nx\n# expect: unchanged\n# case: a\nx\n# expect: unchanged\n", "same name"),
    ],
)
def test_the_loader_swallows_nothing(tmp_path, text, complaint):
    path = tmp_path / "bad.cir"
    path.write_text(text)
    with pytest.raises(ValueError, match=complaint):
        load_cases(path)
