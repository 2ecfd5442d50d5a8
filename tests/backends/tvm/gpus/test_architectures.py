"""Which machine code runs where."""

from __future__ import annotations

import pytest

from convc.backends.tvm.gpus.architectures import ARCHITECTURES, architecture, best_for, fitting
from convc.ir.errors import UsageError


@pytest.mark.parametrize(
    ("capability", "able", "best"),
    [
        ((8, 0), {"sm_80"}, "sm_80"),
        ((8, 6), {"sm_86"}, "sm_86"),
        ((8, 7), {"sm_80", "sm_86"}, "sm_86"),
        ((8, 9), {"sm_86", "sm_89"}, "sm_89"),
        ((9, 0), {"sm_90", "sm_90a"}, "sm_90"),
        ((10, 3), {"sm_100"}, "sm_100"),
        ((12, 0), {"sm_120"}, "sm_120"),
        ((12, 1), {"sm_120"}, "sm_120"),
        ((7, 5), set(), None),
    ],
)
def test_code_runs_on_its_generation_no_older_and_with_no_less_shared_memory(
    capability: tuple[int, int], able: set[str], best: str | None
) -> None:
    assert {name for name, each in ARCHITECTURES.items() if each.runs_on(capability)} == able
    found = fitting(capability)
    assert (found and found.name) == best


def test_the_gpu_here_gets_the_instructions_that_it_alone_has() -> None:
    """An H100 wgmma."""
    assert [best_for(each) for each in ((8, 9), (9, 0), (10, 3))] == [ARCHITECTURES[name] for name in ("sm_89", "sm_90a", "sm_100")]
    assert best_for((7, 5)) is None


def test_an_unknown_one_is_told_the_known() -> None:
    with pytest.raises(UsageError, match=r"^unknown GPU architecture 'sm_70'; known are sm_80 \(A100\), sm_86 "):
        architecture("sm_70")
