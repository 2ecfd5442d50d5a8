"""A build takes the forms that tuning found."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import numpy as np

from convc.backends.tvm.cpu.kernels.machine import machine
from convc.backends.tvm.cpu.plan import plan
from convc.backends.tvm.host import host_cpu, host_processor, physical_cores, tvm
from convc.backends.tvm.library.build import BuildOptions, build_cpu
from convc.backends.tvm.library.run import LoadedLibrary
from convc.backends.tvm.store.tuned_forms import FILE, Found, write_found
from convc.backends.tvm.tuning.survey import tunable_layers
from convc.tests.support.graphs import normal_inputs, typed_graph
from convc.tests.support.tuning import NETWORK


def test_compile_takes_the_forms_that_were_found(tmp_path: Path):
    graph = typed_graph(NETWORK)
    here = machine(host_cpu(), physical_cores(), tvm().__version__)
    kernels = [layer.kernel for layer in tunable_layers(plan(graph, processor=host_processor()))]
    for kernel in kernels:
        write_found(tmp_path / "db" / FILE, Found(here, kernel.key, asdict(kernel.forms()[0]), 2.0, 1.0, 1))
    rule = build_cpu(graph, tmp_path / "rule.so", BuildOptions(database="off"))
    tuned = build_cpu(graph, tmp_path / "tuned.so", BuildOptions(database=str(tmp_path / "db")))
    assert rule.tuned == {}
    assert tuned.tuned == {kernel.key: asdict(kernel.forms()[0]) for kernel in kernels}
    inputs = normal_inputs(graph, 0)
    one, other = (LoadedLibrary.load(built.library).run(inputs) for built in (rule, tuned))
    np.testing.assert_array_equal(one["y"], other["y"])


def test_a_form_that_a_kernel_does_not_have_is_passed_over(tmp_path: Path):
    graph = typed_graph(NETWORK)
    here = machine(host_cpu(), physical_cores(), tvm().__version__)
    (direct, _) = tunable_layers(plan(graph))
    write_found(tmp_path / FILE, Found(here, direct.kernel.key, {"width": 5, "blocks": 7, "is_rowwise": False}, 2.0, 1.0, 1))
    assert build_cpu(graph, tmp_path / "model.so", BuildOptions(database=str(tmp_path))).tuned == {}
