"""Helpers of the TVM tests: build, load and hold to the reference."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from graphs import hold_to_reference, normal_inputs, typed_graph

from convc.backends.tvm.library.build import BuildOptions, build_cpu
from convc.backends.tvm.library.run import LoadedLibrary
from convc.ir.graph import Graph
from convc.ir.types import Array


@pytest.fixture(scope="session")
def typed() -> Callable[[str], Graph]:
    return typed_graph


@pytest.fixture(scope="session")
def draw() -> Callable[..., dict[str, Array]]:
    return normal_inputs


@pytest.fixture
def agrees(tmp_path: Path) -> Callable[..., LoadedLibrary]:
    """Build a graph for this machine and compare it with the reference, once for each setting of its named sizes."""

    def check(graph: Graph, *settings: dict[str, int], inputs: dict[str, Array] | None = None) -> LoadedLibrary:
        built = build_cpu(graph, tmp_path / "model.so", BuildOptions(single=False))
        assert os.listdir(tmp_path) == ["model.so"]
        module = LoadedLibrary.load(built.library)
        for seed, sizes in enumerate(settings or ({},)):
            arrays = inputs if inputs is not None else normal_inputs(graph, seed, **sizes)
            hold_to_reference(graph, module.run(arrays), arrays)
        return module

    return check
