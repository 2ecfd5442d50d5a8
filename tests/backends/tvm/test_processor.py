"""Which processor's figures the rules take."""

from __future__ import annotations

import pytest

from convc.backends.tvm.host import host_processor, host_target, instruction_sets, tvm
from convc.backends.tvm.library.c_interface import SOURCES
from convc.backends.tvm.processor import AVX2, AVX512, INSTRUCTION_SETS, NEON, SSE, ZEN, ZEN_5, Processor, processor_of


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
    assert ("avx512f" in instruction_sets()) == (host_processor().lanes == 16)


@pytest.mark.parametrize(
    ("mcpu", "other", "needs"),
    [
        ("sapphirerapids", "znver4", ("avx512fp16",)),
        ("znver4", "skylake-avx512", ("avx512bf16", "avx512ifma", "avx512vbmi", "avx512vnni", "gfni", "sse4a")),
        ("haswell", "sandybridge", ("avx2", "bmi2", "f16c", "fma", "lzcnt", "movbe")),
        ("x86-64-v2", "x86-64", ("popcnt", "sse4.2", "ssse3")),
    ],
)
def test_what_a_processor_has_and_another_lacks(mcpu: str, other: str, needs: tuple[str, ...]):
    have, lack = (instruction_sets(tvm().target.Target({"kind": "llvm", "mcpu": name})) for name in (mcpu, other))
    assert set(needs) <= set(have) - set(lack)


def test_what_is_switched_off_is_not_used(monkeypatch: pytest.MonkeyPatch):
    """As a hypervisor does: the processor's name still promises it."""
    used, asked, get = instruction_sets()[0], "tvm.codegen.llvm.GetHostCPUFeatures", tvm().get_global_func
    found = dict(get(asked)())
    assert all(found.get(name, True) for name in instruction_sets())
    monkeypatch.setattr(tvm(), "get_global_func", lambda name: (lambda: {**found, used: False}) if name == asked else get(name))
    assert used not in instruction_sets(host_target.__wrapped__())  # this machine's is found once


def test_c_programs_can_ask_for_each():
    """A name that convc.c does not know would be refused on every processor."""
    text = (SOURCES / "processor.h").read_text()
    assert {name for name in INSTRUCTION_SETS if f'"{name}"' not in text} == set()
