"""Which processor's figures the rules take."""

from __future__ import annotations

import pytest

from convc.backends.tvm import host
from convc.backends.tvm.host import host_processor, host_target, instruction_sets, lacking, tvm
from convc.backends.tvm.library.c_interface import SOURCES
from convc.backends.tvm.processor import (
    AVX2,
    AVX512,
    INSTRUCTION_SETS,
    NEON,
    SSE,
    ZEN,
    ZEN_5,
    Processor,
    cpu_text,
    named_instruction_sets,
    processor_of,
)


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


TWO = """processor : 0
flags : fpu pni ssse3 sse4_1 avx avx2 bmi1 avx512f avx512_vnni amx_int8
processor : 1
flags : fpu pni ssse3 sse4_1 avx avx2 bmi1 avx512f avx512_vnni"""


def test_what_linux_names_the_processor_has():
    assert named_instruction_sets(TWO) == {"sse3", "ssse3", "sse4.1", "avx", "avx2", "bmi", "avx512f", "avx512vnni"}
    assert named_instruction_sets("Features : fp asimd asimdrdm asimddp sve i8mm") == {"neon", "rdm", "dotprod", "sve", "i8mm"}
    assert named_instruction_sets(TWO.replace(" avx512f", "", 1)) == named_instruction_sets(TWO) - {"avx512f"}
    assert named_instruction_sets("") == set()
    assert named_instruction_sets(cpu_text()) <= set(instruction_sets())


def test_only_what_the_system_does_not_name_is_asked_of_the_compiler(monkeypatch: pytest.MonkeyPatch):
    asked: list[object] = []
    monkeypatch.setattr(host, "cpu_text", lambda: TWO)
    monkeypatch.setattr(host, "instruction_sets", lambda: asked.append(None) or ("fma",))
    assert (lacking(["avx2", "avx512vnni"]), len(asked)) == ([], 0)
    assert (lacking(["avx2", "fma", "sve"]), len(asked)) == (["sve"], 1)
