"""Which processor's figures the rules take."""

from __future__ import annotations

import pytest

from convc.backends.tvm.host import host_processor, vector_features
from convc.backends.tvm.processor import AVX2, AVX512, NEON, SSE, ZEN, ZEN_5, Processor, processor_of


@pytest.mark.parametrize(
    ("mcpu", "features", "wanted"),
    [
        ("znver4", ("avx2", "avx512f"), ZEN),
        ("znver5", ("avx2", "avx512f"), ZEN_5),
        ("emeraldrapids", ("avx2", "avx512f"), AVX512),
        ("haswell", ("avx", "avx2"), AVX2),
        ("neoverse-n1", ("neon",), NEON),
        ("x86-64", ("sse4.2",), SSE),
    ],
)
def test_a_name_counts_before_instructions(mcpu: str, features: tuple[str, ...], wanted: Processor):
    assert processor_of(mcpu, features) == wanted


def test_this_machine_has_as_many_lanes_as_its_instructions_say():
    assert ("avx512f" in vector_features()) == (host_processor().lanes == 16)
