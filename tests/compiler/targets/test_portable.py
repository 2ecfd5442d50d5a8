"""One artifact with libraries for several processors: the best that runs here is loaded, from Python and from C, or the one that is chosen."""

from __future__ import annotations

import json
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from convc.backends.tvm.host import lacking
from convc.backends.tvm.library.c_interface import c_flags
from convc.backends.tvm.library.named_cpu import cpus_named
from convc.compiler.commands.bench import command as bench
from convc.compiler.commands.console import Console
from convc.compiler.compiling.compile import compile_network
from convc.compiler.compiling.module import Module
from convc.compiler.files.artifact import Artifact
from convc.compiler.targets.fields import WrongField
from convc.compiler.targets.portable import CHOICE, PortableBuilt
from convc.compiler.targets.table import built_of
from convc.ir.errors import ArtifactError, UsageError
from convc.tests.support.graphs import hold_to_reference, normal_inputs, typed_graph
from convc.tests.support.shell import convc, refused, without_tvm_settings

NET = typed_graph(
    """graph @g(%x: f32[N,3,8,8]) {
      %w = param : f32[16,3,3,3] %u = param : f32[5,16]
      %a = conv2d(%x, %w) {pads=[1,1,1,1]} %b = relu(%a)
      %d = global_avg_pool(%b) %e = flatten(%d) %y = dense(%e, %u) return %y }"""
)
APART = typed_graph("graph @g(%x: f32[1,16,10,10]) { %w = param : f32[16,16,3,3] %y = conv2d(%x, %w) {pads=[1,1,1,1]} return %y }")
LEAST, MIDDLE, NOWHERE = "x86-64-v2", "x86-64-v3", "diamondrapids"  # the last has what no machine that tests run on has
LOADED = '#include "model.h"\n#include <stdio.h>\nint main(int count, char **words) {\n  char why[400];\n'
LOADED += "  convc_model *model = convc_open(&model_g, words[count - 1], 1, why, sizeof why);\n"
LOADED += "  puts(model ? convc_processor(model) : why);\n  convc_close(model);\n  return model ? 0 : 3;\n}\n"


@pytest.fixture(scope="module")
def said() -> list[str]:
    return []


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, said: list[str]) -> Artifact:
    return compile_network(NET, tmp_path_factory.mktemp("portable") / "net", mcpu=f"{LEAST}, {NOWHERE},{MIDDLE}", say=said.append)


def test_libraries_stand_from_the_best_to_the_least(made: Artifact):
    assert isinstance(made.target, PortableBuilt)
    assert [each.mcpu for each in made.target.libraries] == [NOWHERE, MIDDLE, LEAST]
    assert {f"model.{name}.so" for name in (NOWHERE, MIDDLE, LEAST)} < made.files.keys()
    assert "model.so" not in made.files
    assert "\n  x86-64-v2: model.x86-64-v2.so with weights.packed, needs " in (made.path / "report.txt").read_text()


def test_each_that_runs_here_is_held_to_the_reference(made: Artifact, said: list[str]):
    held = [line.partition(": ")[0] for line in said if "agrees" in line]
    here = [name for name in (MIDDLE, LEAST) if not lacking(cpus_named(name, None)[0].needs)]
    assert held == ["reference", "onnx", *(f"tvm by model.{name}.so" for name in here)]
    assert any(f"{NOWHERE} (x86_64, Linux) is not this machine" in line for line in said)


def test_weights_that_are_read_alike_are_kept_once(made: Artifact, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Those of Winograd's tiles are not, where processors take other ones."""
    assert isinstance(made.target, PortableBuilt)
    assert [each.weights for each in made.target.libraries] == ["weights.packed"] * 3
    assert [name for name in made.files if name.endswith(".packed")] == ["weights.packed"]
    apart = compile_network(APART, tmp_path / "net", mcpu="x86-64-v2,x86-64-v3,skylake-avx512", check=False)
    assert isinstance(apart.target, PortableBuilt)
    assert [(each.tiles, each.weights) for each in apart.target.libraries] == [
        ({"y": 2}, "weights.packed"),
        ({"y": 4}, "weights.x86-64-v3.packed"),
        ({"y": 4}, "weights.x86-64-v3.packed"),
    ]
    inputs = normal_inputs(APART)
    for chosen in ("x86-64-v2", "x86-64-v3"):
        monkeypatch.setenv(CHOICE, chosen)
        hold_to_reference(APART, {"y": Module.open(apart.path, threads=1)(**inputs)}, inputs)


@pytest.mark.parametrize("chosen", ["", MIDDLE, LEAST])
def test_the_best_that_runs_here_or_the_chosen_one(made: Artifact, chosen: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv(CHOICE, chosen)
    assert made.library().path.name == f"model.{chosen or MIDDLE}.so"
    for batch in (1, 2):
        inputs = normal_inputs(NET, batch, N=batch)
        hold_to_reference(NET, {"y": Module.open(made.path, threads=1)(**inputs)}, inputs)


def test_a_choice_that_there_is_not_or_that_does_not_run(made: Artifact, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv(CHOICE, "znver4")
    with pytest.raises(UsageError, match=rf"^CONVC_CPU is 'znver4', and '.*' has libraries for {NOWHERE}, {MIDDLE}, {LEAST}; name one"):
        made.library()
    monkeypatch.setenv(CHOICE, NOWHERE)
    with pytest.raises(ArtifactError, match=r"was compiled for a processor with .*avx10\.2.*; compile the network again on this one$"):
        made.library()


def test_none_that_runs_here(made: Artifact):
    assert isinstance(made.target, PortableBuilt)
    nowhere = PortableBuilt(tuple(replace(made.target.libraries[0], mcpu=name) for name in ("one", "two")))
    said = r"^'.*' has libraries for one, two, and none runs here: two's was compiled for a processor with .*avx10\.2"
    with pytest.raises(ArtifactError, match=said):
        replace(made, target=nowhere).library()
    other = PortableBuilt(tuple(replace(each, machine="riscv64") for each in made.target.libraries))
    with pytest.raises(ArtifactError, match=r"none runs here: x86-64-v2's was compiled for riscv64 Linux, and this is "):
        replace(made, target=other).library()


def test_c_chooses_as_python_does(made: Artifact, tmp_path: Path):
    program = tmp_path / "loaded.c"
    program.write_text(LOADED)
    words = ["cc", "-std=c11", "-Wall", "-Wextra", "-Werror", "-pedantic", program, made.path / "convc.c", f"-I{made.path}", *c_flags()]
    subprocess.run([*map(str, words), "-o", str(tmp_path / "loaded")], check=True)

    def loaded(**env: str) -> tuple[int, str]:
        command = [str(tmp_path / "loaded"), str(made.path)]
        done = subprocess.run(command, capture_output=True, text=True, env={**without_tvm_settings(), **env}, check=False)
        return done.returncode, done.stdout.strip()

    assert loaded() == (0, MIDDLE)
    assert loaded(CONVC_CPU="") == (0, MIDDLE)
    assert loaded(CONVC_CPU=LEAST) == (0, LEAST)
    assert loaded(CONVC_CPU="znver4") == (3, "CONVC_CPU is znver4, and g has no library for that; leave it out")
    code, why = loaded(CONVC_CPU=NOWHERE)
    assert (code, why.startswith("g was compiled for a processor with ")) == (3, True)


def test_the_example_in_c_computes_the_same(made: Artifact, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv(CHOICE, LEAST)
    words = ["cc", "-O1", made.path / "example.c", made.path / "convc.c", *c_flags(), "-o", tmp_path / "example"]
    subprocess.run([*map(str, words)], check=True)
    inputs = normal_inputs(NET, 1, N=3)
    (tmp_path / "in").write_bytes(inputs["x"].tobytes())
    subprocess.run([str(word) for word in (tmp_path / "example", made.path, 1, 3, tmp_path / "in", tmp_path / "out")], check=True)
    assert np.array_equal(np.fromfile(tmp_path / "out", np.float32).reshape(3, 5), Module.open(made.path, threads=1)(**inputs))


def test_doctor_and_inspect_say_which_is_loaded(made: Artifact):
    told = f"'{made.path}': model.{MIDDLE}.so is what runs here; others are model.{NOWHERE}.so, model.{LEAST}.so"
    assert json.loads(convc("doctor", made.path, "--json").out)["found"]["artifact"] == told
    assert told in convc("inspect", made.path).err
    refused(convc("doctor", made.path.with_name("nett")), 2, f"nett'; did you mean '{made.path}'?")


def test_bench_says_that_it_times_no_library(made: Artifact, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    def stop(*words: object, **more: object) -> None:
        raise UsageError("far enough")

    monkeypatch.setattr("convc.compiler.commands.bench.measure", stop)
    with pytest.raises(UsageError, match="far enough"):
        bench.main([str(made.path), "-b", "reference"], standalone_mode=False, obj=Console({}))
    assert f"'{made.path}': its network is compiled anew for this machine, and that is timed" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("mcpu", "why"),
    [
        ("x86-64-v3,x86-64-v3", "--mcpu x86-64-v3,x86-64-v3 names x86-64-v3 twice; name it once"),
        ("x86-64-v3,,x86-64-v2", "--mcpu x86-64-v3,,x86-64-v2: write names with commas between them"),
        ("x86-64-v3,znver44", "there is no processor 'znver44'; did you mean znver4"),
        ("neoverse-n1,x86-64-v3", "neoverse-n1 (aarch64, Linux) and x86-64-v3 (x86_64, Linux) are machines of two kinds"),
    ],
)
def test_names_that_do_not_go_together(mcpu: str, why: str, tmp_path: Path):
    done = convc("compile", "lenet5", "-o", tmp_path / "net", "--mcpu", mcpu)
    assert (done.code, done.out) == (2, "")
    assert why in done.err
    assert not (tmp_path / "net").exists()


def test_it_is_replaced_and_it_moves(made: Artifact, tmp_path: Path):
    moved = Path(shutil.copytree(made.path, tmp_path / "net"))
    assert Artifact.open(moved).check().library().path.name == f"model.{MIDDLE}.so"
    compile_network(NET, moved, check=False)
    assert "model.so" in Artifact.open(moved).files
    assert not list(moved.glob(f"*{MIDDLE}*"))


@pytest.mark.parametrize(
    ("libraries", "field"),
    [([], "libraries"), (5, "libraries"), ([1, 2], "libraries"), ("one", "libraries"), ("twice", "mcpu"), ("path", "weights")],
)
def test_a_manifest_that_convc_cannot_have_written(made: Artifact, libraries: object, field: str):
    record = made.target.record()["libraries"]
    edited = {"one": record[:1], "twice": [record[0], record[0]], "path": [record[0], record[1] | {"weights": 5}]}
    with pytest.raises(WrongField, match=f"^{field}$"):
        built_of({"kind": "cpu", "libraries": edited.get(libraries, libraries) if isinstance(libraries, str) else libraries})


def test_a_manifest_restores_what_was_built(made: Artifact):
    assert built_of(json.loads(json.dumps(made.target.record()))) == made.target
