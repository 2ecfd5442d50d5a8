"""onnxruntime on a GPU: why it is not here, and what runs instead."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from convc.backends.onnx.session import CUDA_LIBRARIES, OPTIONS, Session, why_no_cuda
from convc.backends.onnx.write.export import to_model
from convc.compiler.commands.console import Console
from convc.compiler.commands.devices import placed
from convc.compiler.engines.table import engine_named
from convc.ir.errors import BackendMissing, UsageError
from convc.tests.support.graphs import typed_graph
from convc.tests.support.shell import convc

NET = "graph @net(%x: f32[N,4]) {\n  %y = tanh(%x)\n  return %y\n}\n"
NO_GPU = "onnx-cuda: no CUDA device is here: NVIDIA's driver (libcuda.so.1) is not installed"


@pytest.fixture
def net(tmp_path: Path) -> Path:
    path = tmp_path / "net.cir"
    path.write_text(NET)
    return path


def test_the_reason_is_what_the_loader_says(tmp_path: Path) -> None:
    """Libraries that load, and then one that lacks what CUDA would have."""
    shared, provider = (tmp_path / name for name in CUDA_LIBRARIES)
    source = tmp_path / "empty.c"
    source.write_text("int nothing;")
    subprocess.run(["cc", "-shared", "-fPIC", str(source), "-o", str(shared)], check=True)
    assert f"its provider does not load ({provider}: cannot open shared object file" in why_no_cuda(tmp_path)
    subprocess.run(["cc", "-shared", "-fPIC", str(source), "-o", str(provider)], check=True)
    assert why_no_cuda(tmp_path) == ""


def test_verify_falls_back_and_says_why(net: Path) -> None:
    done = convc("verify", net, "-b", "onnx-cuda")
    assert done.code == 0, done.err
    assert NO_GPU in done.err
    assert "; onnxruntime computes on the CPU" in done.err
    assert done.out.startswith("onnx: y agrees")


def test_bench_does_not_time_another_device(net: Path) -> None:
    done = convc("bench", net, "-b", "onnx-cuda", "--runs", "1")
    assert done.code == 5
    assert NO_GPU in done.err


def test_python_gets_no_other_device(net: Path) -> None:
    graph = typed_graph(NET)
    with pytest.raises(BackendMissing, match=f"^{re.escape(NO_GPU)}"):
        engine_named("onnx-cuda").start(graph, 1)


def test_it_is_not_emulated() -> None:
    with pytest.raises(UsageError, match=r"^--emulate is for a backend with a device of its own; name one with -b: cuda$"):
        placed(Console({}), [engine_named("onnx-cuda")], emulate=True)


def test_nothing_falls_back_unsaid() -> None:
    """onnxruntime would take the CPU; and on a GPU, by itself, round float32 to 10 bits."""
    graph = typed_graph(NET)
    with pytest.raises(BackendMissing, match=r"^onnxruntime cannot use CUDA here: "):
        Session(graph, to_model(graph).SerializeToString(), device="cuda")
    assert OPTIONS["cuda"]["use_tf32"] == "0"
    stand_in = engine_named("onnx-cuda").stand_in
    assert stand_in is not None
    assert stand_in.engine.name == "onnx"
