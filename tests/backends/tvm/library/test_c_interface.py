"""Artifacts from C: the example is compiled and run against TVM's own libraries, and its results held to the reference."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from convc.backends.tvm import host
from convc.backends.tvm.cpu.plan import plan
from convc.backends.tvm.library.c_interface import C_FILES, c_flags
from convc.backends.tvm.library.packed import write_packed
from convc.compiler.compiling.compile import compile_network
from convc.compiler.engines.table import ENGINES
from convc.compiler.files.artifact import Artifact
from convc.compiler.targets.target import PACKED
from convc.compiler.training.trainer import Trainer
from convc.ir.graph import Graph
from convc.ir.types import DTYPES, Array
from convc.tests.compiler.training.networks import residual
from convc.tests.support.graphs import hold_to_reference, normal_inputs, typed_graph
from convc.tests.support.places import DATA
from convc.tests.support.shell import convc, without_tvm_settings

DRIVER = DATA / "c" / "driver.c"
CC = ["cc", "-std=c11", "-Wall", "-Wextra", "-Werror", "-pedantic", "-pthread"]
RELU = "graph @relu(%x: f32[N,5]) { %y = relu(%x) return %y, %x }"
CONVS = """graph @net(%x: f32[N,3,16,16], %k: f32[N,4]) {
    %w = param : f32[24,3,3,3]
    %v = param : f32[20,24,3,3]
    %u = param : f32[4,20,1,1]
    %b = param {init=small} : f32[24]
    %a = conv2d(%x, %w, %b) {pads=[1,1,1,1]}
    %r = relu(%a)
    %c = conv2d(%r, %v) {pads=[1,1,1,1]}
    %d = conv2d(%c, %u)
    %mean = global_avg_pool(%d)
    %flat = flatten(%mean)
    %y = add(%flat, %k)
    return %y, %r
}"""
TYPES = """graph @t(%a: i32[2,3], %b: bool[2,3], %c: f64[2,3], %d: u8[2,3], %e: f16[4], %f: i64[]) {
    %y = where(%b, %a, %a)
    %z = neg(%c)
    return %y, %z, %b, %d, %e, %f
}"""
MORE_TYPES = """graph @t(%a: bf16[2,3], %b: i16[3], %c: u16[2], %d: u32[4], %e: u64[2]) {
    %p = param : bf16[3]
    %y = add(%a, %p)
    %z = neg(%b)
    return %y, %z, %c, %d, %e
}"""
SIZES = "graph @m(%x: f32[N,3]) { %p = param : f32[2,3] %y = reshape(%x) {shape=[3*N]} %z = concat(%x, %p) {axis=0} return %y, %z }"


def compiled(graph: Graph, folder: Path, *, in_place: bool = False) -> Artifact:
    return compile_network(graph, folder, level=0, check=False, in_place=in_place)


def built(artifact: Artifact, program: Path, *more: str) -> Path:
    made = artifact.path.parent / f"{artifact.path.name}.{program.stem}"
    sources = [program, artifact.path / "convc.c"]
    subprocess.run([*CC, *more, f"-I{artifact.path}", *map(str, sources), *c_flags(), "-o", str(made)], check=True)
    return made


def by_example(artifact: Artifact, example: Path, inputs: dict[str, Array], batch: int) -> dict[str, Array]:
    graph = artifact.structure()
    folder = example.parent
    given = [folder / f"in{i}" for i in range(len(graph.inputs))]
    made = [folder / f"out{i}" for i in range(len(graph.outputs))]
    for path, node in zip(given, graph.inputs, strict=True):
        path.write_bytes(np.ascontiguousarray(inputs[node.name]).tobytes())
    subprocess.run([str(word) for word in (example, artifact.path, 1, batch, *given, *made)], check=True, capture_output=True)
    types = {node.name: node.typed.with_sizes({"N": batch}) for node in graph.outputs}
    return {
        name: np.fromfile(path, DTYPES[type_.dtype]).reshape(type_.concrete())
        for (name, type_), path in zip(types.items(), made, strict=True)
    }


@pytest.mark.parametrize("text", [CONVS, TYPES, MORE_TYPES, SIZES, RELU], ids=["convs", "types", "more", "sizes", "relu"])
def test_the_example_computes_what_the_module_does(text: str, tmp_path: Path) -> None:
    graph = typed_graph(text)
    artifact = compiled(graph, tmp_path / "net")
    example, module = built(artifact, artifact.path / "example.c"), ENGINES["tvm"].open(artifact, 1)
    for batch in (1, 3, 1) if graph.symbols else (2,):
        inputs = normal_inputs(graph, batch, N=batch)
        got = by_example(artifact, example, inputs, batch)
        hold_to_reference(graph, got, inputs)
        for name, values in module(inputs).items():
            assert np.array_equal(got[name], values), name


def test_what_the_example_is_given_wrongly_is_said(relu: Artifact, tmp_path: Path) -> None:
    fixed = compiled(typed_graph(RELU.replace("N", "2")), tmp_path / "fixed")
    (tmp_path / "in").write_bytes(bytes(40))
    for artifact, threads, batch, given, refusal in (
        (fixed, "1", "4", "in", "batch: 4 is given, and 'x' was compiled for 2 alone"),
        (fixed, "1", "2", "absent", "absent: cannot be opened: No such file or directory"),
        (relu, "1", "3", "in", "in: 40 bytes, and input 'x' of a batch of 3 has 60"),
        (relu, "1", "1", "in", "in: 40 bytes, and input 'x' of a batch of 1 has 20"),
        (relu, "two", "2", "in", "threads: 'two' is given, expected a whole number from 1"),
        (relu, "1", "-1", "in", "batch: '-1' is given, expected a whole number from 1"),
    ):
        example = Path(f"{artifact.path}.example")
        program = example if example.exists() else built(artifact, artifact.path / "example.c")
        words = [program, artifact.path, threads, batch, given, "out0", "out1"]
        done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True)
        assert (done.returncode, done.stderr) == (1, f"{refusal}\n")


@pytest.mark.parametrize("in_place", [False, True])
def test_a_network_is_trained_from_c(tmp_path: Path, in_place: bool) -> None:
    """Three steps, each of which gets what the one before gave; every bit is the trainer's. In place the memory of an input is the output's."""
    trainer = Trainer(residual, engine="tvm", threads=1)
    artifact = compiled(trainer.made.graph, tmp_path / "net", in_place=in_place)
    assert len(artifact.target.in_place) == (len(trainer.values) if in_place else 0)
    example = built(artifact, artifact.path / "example.c")
    draws = np.random.default_rng(0)
    images, labels = draws.standard_normal((6, 1, 8, 8)).astype(np.float32), draws.integers(0, 4, 6)
    values = {name: np.array(value) for name, value in trainer.values.items()}
    losses = list[float]()
    for _ in range(3):
        feed = values | {"image": images, "label": labels, "learning_rate": np.array(0.1, np.float32)}
        got = by_example(artifact, example, feed, 6)
        values = {name: got[f"{name}.next"] for name in values}
        losses.append(trainer.step(images, labels, learning_rate=0.1).loss)
        assert float(got["loss"]) == losses[-1]
    assert losses[-1] < losses[0]
    assert [name for name, value in trainer.values.items() if not np.array_equal(value, values[name])] == []


def test_names_that_c_does_not_have(tmp_path: Path) -> None:
    text = RELU.replace("%y", "%a.b.y").replace("@relu", "@int.2")
    artifact = compiled(typed_graph(text), tmp_path / "net")
    header = (artifact.path / "model.h").read_text()
    assert "static const convc_network model_int_2 = " in header
    assert '"a.b.y"' in header
    built(artifact, artifact.path / "example.c")


@pytest.fixture(scope="module")
def relu(tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    return compiled(typed_graph(RELU), tmp_path_factory.mktemp("c") / "relu")


@pytest.fixture(scope="module")
def driver(relu: Artifact) -> Path:
    return built(relu, DRIVER, "-DNETWORK=model_relu")


def drive(driver: Path, what: str, artifact: Path | None = None, threads: int = 1, **env: str) -> tuple[int, list[str]]:
    """Its exit code and what it says, with the artifact that it was built for, which lies beside it, or another."""
    words = [str(word) for word in (driver, what, artifact or driver.with_suffix(""), threads)]
    done = subprocess.run(words, capture_output=True, text=True, timeout=120, env={**without_tvm_settings(), **env})
    assert not done.stderr
    return done.returncode, done.stdout.splitlines()


def test_many_threads_have_a_model_each(driver: Path) -> None:
    assert drive(driver, "many") == (0, ["right"] * 4)


def test_inputs_and_outputs_are_used_where_they_lie(driver: Path) -> None:
    """The network returns its input: its address is that of the caller's array, where that is aligned."""
    assert drive(driver, "addresses") == (0, ["aligned shared", "unaligned copied", "beyond nothing"])


def test_what_cannot_run_is_refused_and_the_model_works_on(driver: Path) -> None:
    code, lines = drive(driver, "refusals")
    assert code == 0
    assert lines[0] == "-1 input 'x' is NULL"
    assert lines[1:3] == ["-1 a batch of 0 does not fit input 'x'", "-1 a batch of -3 does not fit input 'x'"]
    assert lines[3].endswith("does not fit input 'x'")
    assert lines[4] == "0 "


@pytest.mark.parametrize("threads", [0, -1, 10**9])
def test_threads_must_be_positive_and_few(driver: Path, threads: int) -> None:
    code, lines = drive(driver, "open", threads=threads)
    assert code == 3
    assert lines == [f"{threads} threads; at least 1 and at most {host.most_threads()}, four a processor, are possible"]


def test_more_threads_than_tvm_was_told_of(driver: Path) -> None:
    code, lines = drive(driver, "open", threads=3, TVM_NUM_THREADS="2")
    assert (code, lines) == (3, ["TVM gives 2 of 3 threads; set TVM_NUM_THREADS to 3 or more before the program starts"])


@pytest.mark.parametrize("processor", sorted(os.sched_getaffinity(0))[-2:])
def test_the_caller_stays_on_the_processors_that_it_was_given(driver: Path, processor: int) -> None:
    given = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {processor})  # the driver inherits it
    try:
        assert drive(driver, "processors") == (0, ["ran 0 2", str(processor)])
    finally:
        os.sched_setaffinity(0, given)


def test_a_directory_that_is_not_the_networks(driver: Path, relu: Artifact, tmp_path: Path) -> None:
    other = compiled(typed_graph("graph @g(%x: f32[N,5]) { %p = param : f32[5] %y = mul(%x, %p) return %y, %x }"), tmp_path / "other")
    taller = compiled(typed_graph("graph @g(%x: f32[N,6]) { %y = relu(%x) return %y, %x }"), tmp_path / "taller")
    for directory, words in (
        (tmp_path / "absent", "cannot be opened; is it the artifact of relu?"),
        (other.path, "has another size than this program's model.h says; build it with the one in that directory"),
        (taller.path, "has another layout than this program's model.h says; build it with the one in that directory"),
    ):
        code, lines = drive(driver, "open", directory)
        assert code == 3
        assert len(lines) == 1
        assert words in lines[0]
    broken = Path(shutil.copytree(relu.path, tmp_path / "broken"))
    (broken / "model.so").write_text("not a library")
    code, lines = drive(driver, "open", broken)
    assert code == 3
    assert len(lines) == 1
    assert "model.so fails in TVM" in lines[0]


def test_a_processor_that_is_not_the_one(relu: Artifact, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(relu.path, tmp_path / "net"))
    header = folder / "model.h"
    header.write_text(header.read_text().replace("_needs[] = {", '_needs[] = {"sve9", '))
    driver = built(replace(relu, path=folder), DRIVER, "-DNETWORK=model_relu")
    done = subprocess.run([driver, "open", folder, "1"], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (3, "relu was compiled for a processor with sve9; compile the network again on this one\n")


def test_an_artifact_that_was_compiled_again_for_a_wider_processor(driver: Path, relu: Artifact, tmp_path: Path) -> None:
    """The program was built before, and has asked for less."""
    folder = Path(shutil.copytree(relu.path, tmp_path / "net"))
    write_packed(plan(relu.structure(), relu.target.tiles), folder / PACKED, [*relu.target.needs, "sve9"])
    code, lines = drive(driver, "open", folder)
    assert code == 3
    assert lines[0].endswith("has another layout than this program's model.h says; build it with the one in that directory")


def test_weights_that_were_altered(driver: Path, relu: Artifact, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(relu.path, tmp_path / "net"))
    assert drive(driver, "load", folder) == (0, ["0 opened"] * 3)
    weights = bytearray((folder / PACKED).read_bytes())
    for at in (64, len(weights) - 1):  # the first byte after the layout, and the digest's last
        altered = weights.copy()
        altered[at] ^= 1
        (folder / PACKED).write_bytes(altered)
        code, lines = drive(driver, "load", folder)
        refusal = f"-3 {folder}/{PACKED} was altered since convc wrote it; compile the network again"
        assert (code, lines) == (0, [refusal, refusal, "0 opened"])
    example = built(replace(relu, path=folder), folder / "example.c")
    done = subprocess.run([example, folder, "1", "1", *"abc"], capture_output=True, text=True)
    assert done.returncode == 3
    assert "was altered since convc wrote it" in done.stderr


def test_weights_that_are_altered_while_a_program_knows_them(relu: Artifact, tmp_path: Path) -> None:
    """It reads a file once, and the file is then another, though of the same name and number."""
    folder = Path(shutil.copytree(relu.path, tmp_path / "net"))
    program = tmp_path / "twice.c"
    program.write_text(
        '#include "model.h"\n#include <stdio.h>\n'
        "static int loaded(void) {\n  convc_model *model;\n"
        f'  int code = convc_load(&model_relu, "{folder}", 1, 0, &model, NULL, 0);\n  convc_close(model);\n  return code;\n}}\n'
        "int main(void) {\n  int first = loaded(), again = loaded();\n"
        f'  FILE *file = fopen("{folder / PACKED}", "r+b");\n  fseek(file, -1, SEEK_END);\n  int last = fgetc(file);\n'
        "  fseek(file, -1, SEEK_END);\n  fputc(last ^ 1, file);\n  fclose(file);\n"
        '  printf("%d %d %d\\n", first, again, loaded());\n}\n'
    )
    made = built(replace(relu, path=folder), program)
    assert subprocess.run([made], capture_output=True, text=True, check=True).stdout == "0 0 -3\n"


def test_the_digest_in_c_is_that_of_python(relu: Artifact, tmp_path: Path) -> None:
    """Around the 128 bytes that are taken at once, and none at all."""
    program = tmp_path / "digest.c"
    program.write_text(
        '#include "digest.h"\n#include <stdio.h>\n'
        "int main(void) {\n  unsigned char bytes[1000], digest[DIGEST];\n"
        "  for (int i = 0; i < 1000; i++) bytes[i] = (unsigned char)(i * 7 + i / 256);\n"
        "  for (int size = 0; size <= 1000; size += size % 128 == 1 ? 126 : 1) {\n    digest_of(bytes, (size_t)size, digest);\n"
        '    for (int i = 0; i < DIGEST; i++) printf("%02x", digest[i]);\n    printf(" %d\\n", size);\n  }\n}\n'
    )
    subprocess.run([*CC, f"-I{relu.path}", str(program), "-o", str(tmp_path / "digest")], check=True)
    lines = subprocess.run([tmp_path / "digest"], capture_output=True, text=True, check=True).stdout.splitlines()
    data = bytes((i * 7 + i // 256) % 256 for i in range(1000))
    sizes = [int(line.split()[1]) for line in lines]
    assert {0, 1, 127, 128, 129, 255, 256, 257} <= set(sizes)
    assert lines == [f"{hashlib.blake2b(data[:size]).hexdigest()} {size}" for size in sizes]


def test_an_artifact_that_is_replaced_while_it_is_open(driver: Path, relu: Artifact, tmp_path: Path) -> None:
    """The linker knows its path; new weights must not meet the old code."""
    shutil.copytree(relu.path, tmp_path / "net")
    compiled(typed_graph(RELU.replace("= relu", "= neg")), tmp_path / "net.new")
    assert drive(driver, "replaced", tmp_path / "net") == (0, ["old 0 2", "new 1 -2", "old 0 2"])


def test_two_networks_in_one_program(relu: Artifact, tmp_path: Path) -> None:
    other = compiled(typed_graph(CONVS), relu.path.parent / "net")
    both = tmp_path / "both.c"
    both.write_text(
        '#include "relu/model.h"\n#include "net/model.h"\n#include <stdio.h>\n'
        "int main(void) {\n"
        f'  convc_model *one = convc_open(&model_relu, "{relu.path}", 1, NULL, 0);\n'
        f'  convc_model *two = convc_open(&model_net, "{other.path}", 1, NULL, 0);\n'
        '  printf("%s %s\\n", one ? model_relu.name : "", two ? model_net.name : "");\n'
        "  convc_close(one);\n  convc_close(two);\n}\n"
    )
    made = built(relu, both, f"-I{relu.path.parent}")
    assert subprocess.run([made], capture_output=True, text=True, check=True).stdout == "relu net\n"


def test_sizes_that_c_cannot_give(tmp_path: Path) -> None:
    (tmp_path / "net.cir").write_text("graph @g(%x: f32[N,3,H,W]) {\n  %y = relu(%x)\n  return %y\n}\n")
    done = convc("compile", tmp_path / "net.cir", "-o", tmp_path / "net")
    assert done.code == 0, done.err
    assert "no C files: a C program gives one batch, and the sizes of @g are N, H, W; fix others with --input" in done.err
    assert not set(C_FILES) & set(os.listdir(tmp_path / "net"))


def test_the_flags_are_those_that_doctor_prints() -> None:
    done = convc("doctor", "--c-flags")
    assert (done.code, done.out.split()) == (0, c_flags())
