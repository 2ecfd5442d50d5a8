"""Which batches of an artifact are held, and how often each is run."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from convc.backends.tvm.library.built import FixedBatches
from convc.compiler.engines.cuda import CUDA_ENGINE, least_batch
from convc.compiler.engines.engine import FixedRuns

FIXED = FixedBatches({32: 1, 1: 1, 256: 1, 8: 1}, True)


def artifact(fixed: FixedBatches | None) -> Any:
    return SimpleNamespace(target=SimpleNamespace(device="cuda"), library=lambda: SimpleNamespace(fixed=fixed))


@pytest.mark.parametrize(("cuda_graph", "turns"), [(True, 3), (False, 2)])
def test_a_batch_is_run_until_it_runs_as_it_will_ever_after(cuda_graph: bool, turns: int) -> None:
    """By launches, by what was captured and run, by its replay; the second time in another's memory. Emulated the smallest two batches are."""
    of = artifact(replace(FIXED, cuda_graph=cuda_graph))
    assert CUDA_ENGINE.stand_in is not None
    emulated = CUDA_ENGINE.stand_in.engine
    assert CUDA_ENGINE.within(of).fixed == FixedRuns((1, 8, 32, 256), (), turns)
    assert emulated.within(of).fixed == FixedRuns((1, 8), (32, 256), turns)
    assert least_batch(of) == 1
