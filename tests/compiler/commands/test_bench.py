"""convc bench: what it measures and says."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from convc.compiler.bench.layer_times import LayerTime
from convc.compiler.bench.measure import Measured
from convc.compiler.bench.worker import Assignment
from convc.compiler.commands.bench import _anew, _print_kernels
from convc.compiler.engines.optimize import optimize
from convc.ir.binding import specialize
from convc.ir.limits import MachineLimits
from convc.ir.load import Load
from convc.models import ZOO
from convc.passes.analysis.cost import graph_cost
from convc.tests.support.shell import RELU, convc, refused


def test_the_precision_of_an_artifact_is_kept_or_what_is_timed_said() -> None:
    assert _anew("fp16").endswith(", and that is timed, not the library in it, in fp16 as it is")
    assert _anew("tf32").endswith("; that is float32, for tf32 is no type of the network")
    assert _anew("fp32").endswith("not the library in it")


def test_engines_are_timed_turn_by_turn():
    done = convc("bench", "lenet5", "-b", "onnx,onnx@0,reference", "--runs", "2", "--batch", "2", "--threads", "1", "--json")
    assert done.code == 0, done.err
    report = json.loads(done.out)
    assert [engine["engine"] for engine in report["engines"]] == ["onnx", "onnx@0", "reference"]
    assert (report["batch"], report["threads"], report["streams"], report["turns"]) == (2, 1, 1, 2)
    flops = graph_cost(optimize(ZOO["lenet5"].network(), 2)[0], {"N": 2}).flops
    for engine in report["engines"]:
        assert 0 < engine["p10_ms"] <= engine["p50_ms"] <= engine["p90_ms"] <= (engine["p99_ms"] or 1e9)
        assert engine["runs"] >= 2
        assert engine["gflops"] == pytest.approx(flops / engine["p50_ms"] / 1e6)
        assert engine["peak_share"] == pytest.approx(engine["gflops"] / report["peak_gflops"])
        assert 0 < engine["images_per_second"] <= 2e3 / (0.9 * engine["p10_ms"])  # of ten runs nine take as long or longer
        assert engine["process_bytes"] > 10e6
    assert [engine["arena_bytes"] for engine in report["engines"]] == [None] * 3
    assert "numpy" in report["versions"]
    assert report["load"]["processors"] == os.cpu_count()
    assert report["load"]["seconds"] > 0
    assert 0 < report["got"] <= 1 <= report["slowed"]


def test_streams_a_duration_and_files(tmp_path: Path):
    """Half the threads for twice the streams."""
    done = convc("bench", "lenet5", "-b", "tvm", "--streams", "2", "--threads", "1", "--duration", "0.3", "--warmup", "0.05", "--profile",
                 "--csv", "b.csv", "--trace", "t.json", "--json", cwd=tmp_path)  # fmt: skip
    assert done.code == 0, done.err
    report = json.loads(done.out)
    (engine,) = report["engines"]
    assert (report["streams"], report["threads"], report["warmup_seconds"]) == (2, 1, 0.05)
    assert engine["runs"] / engine["images_per_second"] >= 0.3
    assert engine["arena_bytes"] > 10_000
    row, *kernels = csv.DictReader((tmp_path / "b.csv").read_text().splitlines())
    assert (row["model"], row["engine"], row["streams"]) == ("lenet5", "tvm", "2")
    assert float(row["p50_ms"]) == engine["p50_ms"]
    events = json.loads((tmp_path / "t.json").read_text())["traceEvents"]
    layers = report["profiles"][0]["layers"]
    assert [each["kernel"] for each in kernels] == [layer["kernel"] for layer in layers]
    assert [event["dur"] for event in events if event["ph"] == "X"] == pytest.approx([layer["microseconds"] for layer in layers], abs=0.001)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--streams", "1000000"), "'--streams': 1000000 is not in the range 1<=x<=1024"),
        (("--streams", "0"), "'--streams': 0 is not in the range 1<=x<=1024"),
        (("--duration", "0"), "'--duration': 0.0 is not in the range 0<x<=86400"),
        (("--duration", "nan"), "'--duration': 'nan' is no number"),
        (("--duration", "1e9"), "'--duration': 1000000000.0 is not in the range 0<x<=86400"),
        (("--duration", "1", "--runs", "3"), "--runs and --duration both say how long"),
        (("--warmup", "-1"), "'--warmup': -1.0 is not in the range 0<=x<=86400"),
        (("--trace", "t.json"), "--trace shows where the time of a run goes; give --profile too"),
        (("--profile", "--trace", "t.txt"), "--trace 't.txt' is none of .json"),
        (("--csv", "none/b.csv"), "--csv 'none/b.csv': there is no folder 'none'; make it first"),
        (("--csv", "folder.csv"), "--csv 'folder.csv': that is a folder, and a file is wanted"),
    ],
)
def test_what_cannot_be_measured_or_written_is_refused_before(tmp_path: Path, words: tuple[str, ...], said: str):
    (tmp_path / "net.cir").write_text(RELU)
    (tmp_path / "folder.csv").mkdir()
    refused(convc("bench", "net.cir", *words, cwd=tmp_path), 2, said)
    assert sorted(each.name for each in tmp_path.iterdir()) == ["folder.csv", "net.cir"]


@pytest.mark.parametrize(("rows", "code"), [("1", 2), ("8", 0), ("N", 0)])
def test_a_batch_that_the_network_does_not_take_is_refused(tmp_path: Path, rows: str, code: int):
    (tmp_path / "net.cir").write_text(f"graph @g(%x: f32[{rows},4]) {{ %y = relu(%x) return %y }}")
    done = convc("bench", tmp_path / "net.cir", "-b", "reference", "--batch", "8", "--runs", "1")
    assert (done.code, "input 'x' is f32[1,4], of no batch of 8; try --input x:N,4" in done.err) == (code, code == 2)


def test_a_file_of_eight_images_is_timed_as_such(tmp_path: Path):
    (tmp_path / "net.cir").write_text("graph @g(%x: f32[8,4]) { %y = relu(%x) return %y }")
    report = json.loads(convc("bench", tmp_path / "net.cir", "-b", "reference", "--runs", "1", "--json").out)
    assert report["batch"] == 8
    refused(convc("bench", tmp_path / "net.cir", "-b", "reference", "--batch", "1"), 2, "is f32[8,4], of no batch of 1; try --input x:N,4")


def test_a_table_for_people():
    done = convc("bench", "lenet5", "--backends", "reference", "--runs", "2", "--threads", "1")
    assert done.code == 0, done.err
    assert "median ms" in done.out
    assert "over reference" in done.out
    assert "batch 1, 1 threads of " in done.err


@pytest.fixture(scope="module")
def resnet20() -> dict[str, Any]:
    """The report on two engines."""
    done = convc("bench", "resnet20", "-b", "tvm,onnx", "--runs", "1", "--threads", "1", "--profile", "--json")
    assert done.code == 0, done.err
    return json.loads(done.out)


def test_a_profile_has_every_node_once(resnet20: dict[str, Any]):
    """Also shortcuts that skip pixels and pad channels."""
    layers = resnet20["profiles"][0]["layers"]
    graph = specialize(optimize(ZOO["resnet20"].network(), 2)[0], {"N": 1})
    computed = [name for layer in layers if layer["kernel"] not in ("pack", "unpack") for name in layer["nodes"]]
    assert sorted(computed) == sorted(node.name for node in graph.ops)
    assert sum(layer["macs"] for layer in layers) == graph_cost(graph).macs
    assert sum(layer["share"] for layer in layers) == pytest.approx(1)
    assert {"direct", "winograd F(4x4)", "pad channels", "unpack"} < {layer["kernel"] for layer in layers}
    assert all(layer["bytes"] > 0 for layer in layers)
    assert any(layer["on_longest_path"] for layer in layers)
    assert all((layer["of_limit"] is None) == (layer["limit"] is None) for layer in layers)
    assert all((layer["gflops"] > 0) == (layer["macs"] > 0) == (layer["products"] > 0) for layer in layers)
    saved = {(layer["kernel"], layer["macs"] / layer["products"]) for layer in layers if layer["macs"]}
    assert ("winograd F(4x4)", 4.0) in saved
    assert all(1 <= each < 1.5 for kernel, each in saved if kernel == "direct"), "but for taps beside the image"


def test_what_engines_take_for_the_same_nodes_adds_up(resnet20: dict[str, Any]):
    """onnxruntime sums in the convolution where it may, and goes in and out of blocks where TVM does not."""
    graph = specialize(optimize(ZOO["resnet20"].network(), 2)[0], {"N": 1})
    rows = resnet20["same_nodes"]
    assert sorted(name for row in rows for name in row["nodes"]) == sorted(node.name for node in graph.ops)
    assert {"bn1", "relu1"} in [set(row["nodes"]) for row in rows]
    assert {"conv2_1.bn2", "conv2_1.add1", "conv2_1.relu2"} in [set(row["nodes"]) for row in rows]
    assert [row["kernels"] for row in rows if not row["nodes"]][-1]["onnx"] == ["ReorderInput"] * 5
    for profile in resnet20["profiles"]:
        layers = profile["layers"]
        assert sum(layer["macs"] for layer in layers) == graph_cost(graph).macs
        assert sum(layer["microseconds"] for layer in layers) == pytest.approx(profile["microseconds"])
        assert sum(row["microseconds"].get(profile["engine"], 0) for row in rows) == pytest.approx(profile["microseconds"])


def test_a_table_of_both_engines_ends_with_what_they_take_in_all():
    done = convc("bench", "lenet5", "-b", "onnx,onnx@0", "--runs", "1", "--threads", "1", "--profile")
    assert done.code == 0, done.err
    *slowest, head = done.out.split("\n\n")[1].splitlines()[:3]
    assert [line.partition(":")[0] for line in slowest] == ["the slowest of onnx", "the slowest of onnx@0"]
    rows = [line for line in done.out.split("\n\n")[1].splitlines()[3:] if "us in " not in line and not line.startswith("~:")]
    assert head.split()[:4] == ["onnx", "us", "onnx@0", "us"]
    assert rows[-1].endswith("in all")
    for column in (0, 1):
        times = [float(row.split()[column].lstrip("~")) for row in rows if row.split()[column] != "-"]
        assert sum(times[:-1]) == pytest.approx(times[-1], abs=0.06 * len(times))


def layer(kernel: str, nodes: list[str], spread: float, **worth: float) -> LayerTime:
    known: dict[str, Any] = {
        "microseconds": 2.0,
        "share": 0.5,
        "macs": 0,
        "products": 0,
        "gflops": 0.0,
        "bytes": 8,
        "gbytes": 1.0,
        "on_longest_path": True,
    }
    return LayerTime(kernel, nodes, **(known | worth), moves=not nodes, spread=spread)


def test_times_that_two_rounds_disagree_on_are_marked(capsys: pytest.CaptureFixture[str]):
    ours = [layer("direct", ["a"], 1.6), layer("dense", ["b"], 1.4), layer("unpack", [], 2.0)]
    theirs = [layer("Conv", ["a"], 1.0), layer("Gemm", ["b"], 3.0)]
    _print_kernels(Measured([], None, {"tvm": ours, "onnx": theirs}, Load(9.0, 2, 0.0, 0.0)), everything=False)
    _, slowest, _, head, *rows, total, _, _, legend = capsys.readouterr().out.splitlines()
    assert slowest == "the slowest of tvm: direct of a, 33.3% of all by the fastest run of each (~50.0% by the middle one)"
    assert head.split()[:7] == ["tvm", "us", "onnx", "us", "share", "of", "tvm"]
    assert [row.split()[:3] for row in rows] == [["~2.0", "2.0", "33%"], ["2.0", "~2.0", "33%"], ["~2.0", "-", "33%"]]
    assert total.split()[:3] == ["6.0", "4.0", "100%"]
    assert legend.startswith("~: in the slower of its two rounds")


def test_a_kernel_has_a_share_of_the_limit_where_one_is_known(capsys: pytest.CaptureFixture[str]):
    limits = MachineLimits(1e9)
    fast, slow = layer("direct", ["a"], 1.0, products=2000), layer("direct", ["b"], 1.0, products=500).held_to(limits)
    _print_kernels(Measured([], limits, {"tvm": [fast, slow]}, Load(9.0, 2, 0.0, 0.0)), everything=False)
    _, head, first, second, *_ = capsys.readouterr().out.strip().splitlines()
    assert "of limit" in head
    assert [row.split()[5:-2] for row in (first, second)] == [["-"], ["50%", "products"]]


def test_an_engine_that_is_not_there():
    assert "did you mean 'onnx'" in convc("bench", "lenet5", "--backends", "onx").err
    assert convc("bench", "lenet5", "--backends", "tvm", "--threads", "0").code == 2
    done = convc("bench", "lenet5", "--backends", "onnx@9")
    assert (done.code, "there is no level '9'" in done.err) == (2, True)
    done = convc("bench", "lenet5", "--backends", "reference", "--profile")
    assert (done.code, "name it among --backends" in done.err) == (2, True)


def test_a_peer_that_cannot_be_loaded_is_refused_or_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "openvino.py").write_text("raise ImportError('libtbb is missing')")
    (tmp_path / "torch.py").write_text("raise ImportError('libc10 is missing')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    done = convc("bench", "lenet5", "--backends", "openvino", "--runs", "1")
    assert done.code == 5
    assert "libtbb is missing" in done.err
    (tmp_path / "net.cir").write_text(RELU)
    done = convc("bench", tmp_path / "net.cir", "--runs", "1", "--json")
    assert done.code == 0, done.err
    assert "openvino is left out" in done.err
    assert [engine["engine"] for engine in json.loads(done.out)["engines"]] == ["tvm", "onnx"]


def test_an_engine_that_dies_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "openvino.py").write_text("import os, signal; os.kill(os.getpid(), signal.SIGKILL)")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    done = convc("bench", "lenet5", "--backends", "openvino", "--runs", "1")
    assert done.code == 3
    assert "the process that ran openvino ended with -9" in done.err


def test_a_worker_ends_with_its_input(tmp_path: Path):
    """So that none is left behind by a bench that was killed."""
    task = Assignment("peak", 0, 1, {}, str(tmp_path))
    worker = subprocess.Popen(
        [sys.executable, "-m", "convc.compiler.bench.worker", json.dumps(asdict(task))], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert worker.stdout is not None
    assert b"amount" in worker.stdout.readline()
    os.kill(worker.pid, signal.SIGINT)  # a terminal sends it to all; the bench hears it and hangs up
    worker.communicate()
    assert worker.returncode == 0


def test_a_profile_of_a_network_without_kernels(tmp_path: Path):
    (tmp_path / "net.cir").write_text("graph @g(%x: f32[N,4]) {\n  %d = dropout(%x)\n  %y = identity(%d)\n  return %y\n}\n")
    done = convc("bench", tmp_path / "net.cir", "-b", "tvm", "-O", "0", "--runs", "1", "--profile", "--json")
    assert done.code == 0, done.err
    assert {layer["share"] for layer in json.loads(done.out)["profiles"][0]["layers"]} <= {0.0, 1.0}


def test_bench_and_tune_look_at_what_compile_makes(tmp_path: Path):
    """By onnxruntime's prices the concatenation goes and the convolution after it is two."""
    (tmp_path / "net.cir").write_text("""graph @g(%x: f32[N,16,14,14]) {
  %w = param : f32[16,16,1,1]
  %v = param : f32[64,32,1,1]
  %a = conv2d(%x, %w)
  %r = relu(%a)
  %c = concat(%r, %x)
  %b = conv2d(%c, %v)
  return %b
}
""")
    done = convc("bench", tmp_path / "net.cir", "-b", "tvm", "--runs", "1", "--profile", "--json")
    assert done.code == 0, done.err
    assert "b" in {node for layer in json.loads(done.out)["profiles"][0]["layers"] for node in layer["nodes"]}
    done = convc("tune", tmp_path / "net.cir", "--layer", "none", "--database", tmp_path / "db")
    refused(done, 2, "no tunable kernel begins at a node 'none'; there are a, b...")
