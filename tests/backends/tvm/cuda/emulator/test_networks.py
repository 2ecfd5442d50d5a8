"""What `-t cuda` emits for every op, and for the networks of the zoo, is executed and agrees."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from convc.models import ZOO
from convc.tests.support.emulated import run_emulated, run_fixed_emulated, run_zoo_emulated
from convc.tests.support.op_cases import CASES, text_of
from convc.tests.support.tiers import slow_if

SLOW_ON_CUDA = ("resize", "grid_sample-more")  # its scheduler takes formulas apart for minutes; others stand for them
EMPTY = ("random-none",)  # no kernel can be launched for no elements, which is refused: tests/backends/tvm/cuda/test_build.py
EMITTED = [case for case in CASES if not case.startswith((*SLOW_ON_CUDA, *EMPTY))] + ["resize-nearest-half_pixel"]
# A kind of kernel each: sums over lanes, scans, scatters, float16, whole numbers; and those that were wrong once.
KINDS = ("conv_transpose1d", "dense", "softmax", "half", "integers", "scatter", "running", "local_response_norm")
FEW = ("lenet5",)
NOTHING_RUNS = ("identity", "flatten", "reshape", "scalars")  # what is given comes back, under another shape


@pytest.mark.parametrize("case", slow_if(lambda case: case not in KINDS, EMITTED))
def test_every_op(apart: Callable[..., Any], case: str, tmp_path: Path) -> None:
    first, _ = apart(run_emulated, text_of(case), tmp_path, [{"N": 1}, {"N": 3}])
    assert (first["launches"] > 0) == (case not in NOTHING_RUNS)


@pytest.mark.slow
@pytest.mark.parametrize("case", EMITTED)
def test_every_op_at_fixed_sizes(apart: Callable[..., Any], case: str, tmp_path: Path) -> None:
    apart(run_fixed_emulated, text_of(case), tmp_path)


@pytest.mark.parametrize("name", slow_if(lambda name: name not in FEW, ZOO))
def test_every_network(apart: Callable[..., Any], name: str, tmp_path: Path) -> None:
    assert apart(run_zoo_emulated, name, tmp_path) == []
