"""Targets: another one takes its own file and a line in the table, and what a manifest says of one is restored or refused."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

import convc as cc
from convc.backends.tvm.cpu.plan import plan
from convc.backends.tvm.library.arena import Arena
from convc.backends.tvm.library.build import BuildOptions, build_cpu
from convc.backends.tvm.library.built import Library
from convc.compiler.commands.console import Console
from convc.compiler.commands.doctor import command as doctor
from convc.compiler.compiling.compile import compile_network
from convc.compiler.files.artifact import Artifact, sealed
from convc.compiler.targets.cpu import CPU
from convc.compiler.targets.cpu_built import CpuBuilt
from convc.compiler.targets.cuda import CUDA, CudaBuilt
from convc.compiler.targets.fields import WrongField, is_text, refuse_wrong
from convc.compiler.targets.options import CompileOptions
from convc.compiler.targets.table import TARGETS, built_of, target_named
from convc.compiler.targets.target import Held, Peak, Say, Target
from convc.ir.errors import ArtifactError, UsageError
from convc.ir.graph import Graph
from convc.tests.support.graphs import typed_graph

NET = "graph @g(%x: f32[N,16,8,8]) { %w = param : f32[16,16,3,3] %y = conv2d(%x, %w) return %y }"
PACKING = {"layout": "", "bytes": 128, "entries": [["w", "f32[4]", 64]]}
BUILT = (
    CpuBuilt("model.so", "{}", {"y": 4}, ("avx2",), {}, Arena(64, 64, 64, 1, 0, 0), "x86_64", 1.5, PACKING, Peak(1, 2)),
    CpuBuilt("model.so", "{}", {}, (), {"key": {"rows": 2}}, None, "x86_64", 1.5, PACKING),
    CudaBuilt(
        *("model.so", "model.cu", "sm_90", "model.cubin", "{}", "x86_64", "not checked: not asked for", 1.5, PACKING),
        *({"8": 512}, True, "one", ["conv: a"], "fp16"),
    ),
)


@dataclass(frozen=True)
class OlderBuilt:
    """What a target of the test leaves: a library for an older processor, whose weights are packed when it is loaded."""

    library: str
    tvm: str
    kind: str = "older"
    device: str = "cpu"
    precision: str = "fp32"

    @property
    def tiles(self) -> Mapping[str, int]:
        return {}

    @property
    def in_place(self) -> Mapping[str, str]:
        return {}

    def record(self) -> dict[str, Any]:
        return {"kind": self.kind, "library": self.library, "tvm": self.tvm}

    def opened(self, held: Held) -> Library:
        graph = held.graph()
        return Library(held.file(self.library), graph, plan(graph, self.tiles).arguments)

    def measured(self, measure: Callable[[], Peak | None]) -> OlderBuilt:
        return self

    def report(self, unit: str) -> list[str]:
        return ["", f"For older processors, {unit} at a time"]


def _of(record: Mapping[str, Any]) -> OlderBuilt:
    refuse_wrong(record, {"library": is_text, "tvm": is_text})
    return OlderBuilt(record["library"], record["tvm"])


def _build(graph: Graph, folder: Path, tiles: Mapping[str, int], options: CompileOptions, say: Say) -> OlderBuilt:
    built = build_cpu(graph, folder / "older.so", BuildOptions(tiles, mcpu="x86-64-v2", single=False, jobs=options.jobs))
    say("built for older processors")
    return OlderBuilt("older.so", built.target)


OLDER = Target("older", _build, _of, is_here=lambda options: True, word=lambda: "runs nearly everywhere")


def test_a_target_is_a_record_and_a_line_in_the_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(TARGETS, OLDER.name, OLDER)
    said: list[str] = []
    made = compile_network(typed_graph(NET), tmp_path / "net", "older", jobs=1, say=said.append)
    assert "built for older processors" in said
    assert [line.split(":")[0] for line in said[-3:]] == ["reference", "onnx", "tvm"]
    assert isinstance(made.target, OlderBuilt)
    assert json.loads(made.target.tvm)["mcpu"] == "x86-64-v2"
    report = (made.path / "report.txt").read_text()
    assert report.startswith("@g for older (")
    assert "\nFor older processors, an image at a time\n" in report
    assert "Fewer products" not in report
    assert cc.Module.open(made.path).graph.name == "g"
    with pytest.raises(UsageError, match="'older' cannot be called from memory; write an artifact with `convc compile -t older`"):
        cc.compile(typed_graph(NET), "older")
    manifest = json.loads((made.path / "manifest.json").read_text())
    (made.path / "manifest.json").write_bytes(sealed({**manifest, "target": {"kind": "older", "library": "older.so"}}))
    with pytest.raises(ArtifactError, match=r"the target in manifest.json has no valid 'tvm'"):
        Artifact.open(made.path)


def test_doctor_tells_of_a_target(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(TARGETS, OLDER.name, OLDER)
    done = CliRunner().invoke(doctor, ["--json"], obj=Console({}))
    assert json.loads(done.stdout)["found"]["older"] == "runs nearly everywhere"


def test_an_unknown_target_is_refused(tmp_path: Path):
    with pytest.raises(UsageError, match=r"^unknown target 'tpu'; known are cpu, cuda$"):
        compile_network(typed_graph(NET), tmp_path / "net", "tpu")
    assert list(TARGETS.values()) == [CPU, CUDA]


@pytest.mark.parametrize(
    ("name", "said"),
    [
        (
            "cuda:sm_70",
            r"^unknown target 'cuda:sm_70'; known are cuda:sm_80, cuda:sm_86, cuda:sm_89, cuda:sm_90, cuda:sm_90a, cuda:sm_100, cuda:sm_120$",
        ),
        ("cuda:90-A", r"^unknown target 'cuda:90-A'; did you mean 'cuda:sm_90a'\?$"),
        ("Cpu", r"^unknown target 'Cpu'; did you mean 'cpu'\?$"),
        ("cuda:", r"^unknown target 'cuda:'; known are cuda:sm_80, "),
        ("cpu:znver5", r"^unknown target 'cpu:znver5'; cpu has no kinds$"),
    ],
)
def test_an_unknown_kind_of_a_target_is_refused(name: str, said: str):
    with pytest.raises(UsageError, match=said):
        target_named(name)
    assert target_named("cuda:sm_90a") is CUDA


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("architecture", "sm_70"),
        ("architecture", None),
        ("cubin", 5),
        ("memory", {"8": -1}),
        ("memory", {"all": 1}),
        ("memory", {}),
        ("cuda_graph", None),
    ],
)
def test_machine_code_that_convc_cannot_have_made(field: str, value: object):
    with pytest.raises(WrongField, match=f"^{field}$"):
        built_of(BUILT[2].record() | {field: value})


@pytest.mark.parametrize("built", BUILT, ids=["measured", "tuned", "cuda"])
def test_a_manifest_restores_what_was_built(built: CpuBuilt | CudaBuilt):
    assert built_of(json.loads(json.dumps(built.record()))) == built


@pytest.mark.parametrize(
    ("field", "value"), [("arena", 5), ("arena", {"size": 1}), ("measured", {"run": "1", "process": 2}), ("tuned", [])]
)
def test_what_only_people_read_is_left_out_where_nobody_wrote_it(field: str, value: object):
    built = built_of(BUILT[0].record() | {field: value})
    assert isinstance(built, CpuBuilt)
    assert not {"arena": built.arena, "measured": built.peak, "tuned": built.tuned}[field]


@pytest.mark.parametrize("kind", [None, "", "tpu", 5, ["cpu"]])
def test_a_kind_that_does_not_exist(kind: object):
    with pytest.raises(WrongField, match=r"^kind$"):
        built_of({**asdict(BUILT[2]), "kind": kind})
