"""Every command that writes a report says in it what it said, and what it knows besides."""

from __future__ import annotations

import json
import re

import pytest

from convc.compiler.checking.graph_diff import with_names_of
from convc.tests.support.graphs import typed_graph
from convc.tests.support.reports import data_in, graphs_in, named_at
from convc.tests.support.shell import convc, refused


def report_of(folder, *words):
    done = convc(*words, "--html", "report.html", cwd=folder)
    assert done.code == 0, done.err
    assert "wrote report.html" in done.err
    return data_in((folder / "report.html").read_bytes()), done


def test_inspect_with_a_check_of_every_pass(tmp_path):
    data, _ = report_of(tmp_path, "inspect", "resnet20", "--verify-each")
    assert [text.partition(":")[0] for text, agrees in data["checks"] if agrees] == [
        step["pass"] for step in data["steps"] if step["rewrites"]
    ]
    assert set(data["verdicts"]) == {step["pass"] for step in data["steps"] if step["rewrites"]}
    shares = [float(re.search(r"greatest error \S+ at %\S+, (\S+) of its bound", text)[1]) for text in data["verdicts"].values()]
    assert all(0 <= share <= 1 for share in shares)
    assert any(shares)
    assert data["unchecked"] == ""


def test_without_one_it_says_how_to_check(tmp_path):
    data, _ = report_of(tmp_path, "inspect", "lenet5", "-O1")
    assert (data["checks"], data["verdicts"]) == ([], {})
    assert data["unchecked"] == "convc inspect lenet5 -O1 --verify-each, or convc verify lenet5"
    assert report_of(tmp_path, "diff", "lenet5", "lenet5")[0]["unchecked"] == "convc verify lenet5 lenet5"


def test_a_check_that_no_pass_needed_is_no_missing_one(tmp_path):
    data, _ = report_of(tmp_path, "inspect", "lenet5", "-O0", "--verify-each")
    assert (data["checks"], data["unchecked"]) == ([["no pass changed the network", True]], "")


@pytest.mark.parametrize(
    "words",
    [
        ("inspect", "resnet20", "-O2"),
        ("inspect", "lenet5", "--training"),
        ("compile", "mlp", "-o", "net"),
        ("plan", "lenet5", "--macs", "0.6", "--no-measure", "--check", "1", "--runs", "1"),
        ("bench", "mlp", "-b", "tvm", "--profile", "--runs", "1", "--threads", "1"),
    ],
    ids=lambda words: " ".join(words[:3]),
)
def test_but_for_what_was_measured_two_reports_are_the_same(tmp_path, words):
    (one, _), (other, _) = (report_of(tmp_path, *words) for _ in range(2))
    assert one.pop("measured").keys() == other.pop("measured").keys()
    assert list(one) == list(other)
    assert json.dumps(one) == json.dumps(other)


def test_compile_has_the_verdict_of_every_engine(tmp_path):
    data, done = report_of(tmp_path, "compile", "mlp", "-o", "net")
    assert data["subject"] == "compile -O2 -t cpu"
    assert data["checks"]
    assert all(agrees and text in done.err for text, agrees in data["checks"])
    assert {text.partition(":")[0] for text, _ in data["checks"]} == {"reference", "onnx", "tvm"}
    assert any("arena of" in note for note in data["notes"])
    assert [note.partition(" ")[0] for note in data["measured"]["notes"]] == ["measured:", "the"]


def test_optimize_has_the_passes_whose_result_was_written(tmp_path):
    assert convc("export", "resnet20", "-O0", "-o", "net.onnx", cwd=tmp_path).code == 0
    data, done = report_of(tmp_path, "optimize", "net.onnx", "better.onnx")
    assert [step["pass"] for step in data["steps"] if step["rewrites"]]
    assert data["checks"]
    assert all(text in done.err for text, _ in data["checks"])
    again, _ = report_of(tmp_path, "optimize", "better.onnx", "same.onnx")
    assert (again["steps"], again["notes"]) == ([], ["better.onnx cannot be improved"])


def test_diff_has_one_step_from_one_network_to_the_other(tmp_path):
    data, _ = report_of(tmp_path, "diff", "lenet5", "lenet5", "-O3")
    assert [step["pass"] for step in data["steps"]] == ["diff"]


def test_a_diff_changes_what_differs_and_nothing_else(tmp_path):
    """Weights of two files are two objects, and lines of two files two places: once every layer of the same network had changed."""
    import onnx

    assert convc("export", "lenet5", "-o", "a.onnx", cwd=tmp_path).code == 0
    (tmp_path / "again.onnx").write_bytes((tmp_path / "a.onnx").read_bytes())
    model = onnx.load(tmp_path / "a.onnx")
    weights = next(each for each in model.graph.initializer if len(each.dims) == 4)
    values = onnx.numpy_helper.to_array(weights).copy()
    values[0, 0, 0, 0] += 1
    weights.CopyFrom(onnx.numpy_helper.from_array(values, weights.name))
    onnx.save(model, tmp_path / "one.onnx")
    for other in ("a.onnx", "again.onnx"):
        assert "splices" not in report_of(tmp_path, "diff", "a.onnx", other)[0]["steps"][0]
    assert "splices" not in report_of(tmp_path, "diff", "lenet5", "lenet5")[0]["steps"][0]
    data, done = report_of(tmp_path, "diff", "a.onnx", "one.onnx")
    assert "1 difference between" in done.err
    before, after = map(set, graphs_in(data))
    assert named_at(data, [data["nodes"][row][0] for row in after - before]) == [weights.name]


def test_plan_has_its_splits_their_errors_and_the_plans_that_it_was_chosen_from(tmp_path):
    data, done = report_of(tmp_path, "plan", "lenet5", "--macs", "0.6", "--no-measure", "--check", "1", "--runs", "1", "--threads", "1")
    (step,) = data["steps"]
    assert len(step["rewrites"]) == len(
        [line for line in done.out.splitlines()[1:] if not line.startswith(("multiply", "param", "bytes", "lat", "output"))]
    )
    assert all("predicted" in rule for rule, *_ in step["rewrites"])
    assert data["frontier"]["cost"] == "macs"
    assert len(data["frontier"]["curve"]) > 2
    assert all(note in done.out for note in data["notes"])
    latency, *doubts = data["measured"]["notes"]
    assert latency.startswith("latency in onnx: ")
    assert latency.endswith(", in doubt") == bool(doubts)
    assert all(doubt in done.err for doubt in doubts)


def test_bench_has_each_kernel_and_the_roofs_that_were_measured(tmp_path):
    data, done = report_of(tmp_path, "bench", "mlp", "-b", "tvm", "--profile", "--runs", "1", "--threads", "1")
    ((engine, kernels),) = data["measured"]["times"]
    assert engine == "tvm"
    *_, last = graphs_in(data)
    known = {data["nodes"][row][0] for row in last}
    assert all(set(nodes) <= known for _, nodes, *_ in kernels)
    assert sum(share for _, _, _, share, *_ in kernels) == pytest.approx(1)
    assert all(spread >= 1 for *_, spread, _ in kernels)
    assert all(limit == "-" or re.fullmatch(r"\d+% (products|memory)", limit) for *_, limit in kernels)
    assert all(" ".join(named_at(data, nodes)) in done.out for _, nodes, *_ in kernels)
    assert data["measured"]["peaks"]["how"] == "measured here on 1 thread"


def test_bench_has_what_every_engine_takes_for_a_node(tmp_path):
    data, _ = report_of(tmp_path, "bench", "mlp", "-b", "onnx,onnx@0", "--profile", "--runs", "1", "--threads", "1")
    times = dict(data["measured"]["times"])
    *_, last = graphs_in(data)
    computed = {data["nodes"][row][0] for row in last if data["names"][data["nodes"][row][0]] in ("fc1", "relu1", "softmax1")}
    assert len(computed) == 3
    for kernels in times.values():
        assert computed <= {name for _, nodes, *_ in kernels for name in nodes}
    assert list(times) == ["onnx", "onnx@0"]


def test_verify_has_the_error_of_every_value_as_a_share_of_its_bound(tmp_path):
    data, done = report_of(tmp_path, "verify", "lenet5", "-b", "onnx", "--nodes")
    assert [agrees for _, agrees in data["checks"]] == [True, True]
    assert all(text in done.out + done.err for text, _ in data["checks"])
    ((engine, shares),) = data["bounds"]
    assert engine == "onnx"
    assert {"softmax1", "output"} <= {data["names"][int(place)] for place in shares}
    assert all(0 <= share <= 1 for share in shares.values())
    assert f"onnx: {len(shares)} values within their local bounds" in done.err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("bench", "mlp", "--html", "x.html"), "give --profile too"),
        (("plan", "mlp", "--advise", "--html", "x.html"), "--html shows a plan of bottlenecks"),
        (("compile", "none.cir", "-o", "net", "--html", "none/x.html"), "there is no folder 'none'"),
        (("optimize", "none.onnx", "x.onnx", "--html", "none/x.html"), "there is no folder 'none'"),
        (("diff", "none.cir", "none.cir", "--html", "x.pdf"), "--html 'x.pdf' is none of"),
    ],
)
def test_what_cannot_be_is_refused_before_the_work(tmp_path, words, said):
    refused(convc(*words, cwd=tmp_path), 2, said)
    assert list(tmp_path.iterdir()) == []


def test_what_computes_the_same_has_the_same_name():
    one = typed_graph("graph @g(%x: f32[N,4]) { %a = relu(%x) %b = sigmoid(%a) %c = tanh(%b) return %c }")
    other = typed_graph("graph @g(%x: f32[N,4]) { %q = relu(%x) %a = exp(%q) %b = sigmoid(%q) %c = tanh(%b) return %c }")
    assert [node.name for node in with_names_of(one, one.renamed({one.nodes[1]: "z"})).nodes] == ["x", "a", "b", "c"]
    assert {node.name for node in with_names_of(one, other).nodes} >= {"x", "b", "c"}
    assert len({node.name for node in with_names_of(one, other).nodes}) == len(with_names_of(one, other).nodes)
