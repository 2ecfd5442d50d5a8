"""Machines by name: which triple a processor gets, what its kernels are cut to, and what is said of one that does not exist."""

from __future__ import annotations

import platform

import pytest

from convc.backends.tvm.host import host_cpu, instruction_sets
from convc.backends.tvm.library.named_cpu import NATIVE, cpu_named, cpus_named, foreign_triples, is_here
from convc.backends.tvm.processor import AVX2, AVX512, NEON, SSE, ZEN, ZEN_5, Processor
from convc.ir.errors import UsageError

X86, ARM, APPLE = ("x86_64", "Linux"), ("aarch64", "Linux"), ("aarch64", "Darwin")


@pytest.fixture
def x86(monkeypatch: pytest.MonkeyPatch):
    """This machine, as far as Python tells: names that several kinds have mean the one that is here."""
    monkeypatch.setattr(platform, "machine", lambda: "x86_64")
    monkeypatch.setattr(platform, "system", lambda: "Linux")


@pytest.mark.parametrize(
    ("mcpu", "triple", "kind", "processor"),
    [
        ("x86-64-v2", None, X86, SSE),
        ("x86-64-v3", None, X86, AVX2),
        ("skylake-avx512", None, X86, AVX512),
        ("znver4", None, X86, ZEN),
        ("znver5", "x86_64-unknown-linux-musl", X86, ZEN_5),
        (None, "x86_64-linux-gnu", X86, SSE),
        ("neoverse-n1", None, ARM, NEON),
        ("apple-m1", None, APPLE, NEON),
        ("apple-m3", "aarch64-linux-gnu", ARM, NEON),
        (None, "arm64-apple-darwin23", APPLE, NEON),
        ("generic", None, X86, SSE),
    ],
)
def test_a_machine_by_name(x86: None, mcpu: str | None, triple: str | None, kind: tuple[str, str], processor: Processor):
    machine = cpu_named(mcpu, triple)
    assert (machine.kind, machine.processor) == (kind, processor)
    assert machine.is_foreign == (kind != X86)
    assert ("mtriple" in machine.target.export()) == (kind != X86)  # so the cache knows the kernels of this machine's kind by one name


@pytest.mark.parametrize("name", [None, "native"])
def test_without_a_name_it_is_this_one(name: str | None):
    machine = cpu_named(name, None)
    assert (machine.cpu, machine.needs, machine.runs_here) == (host_cpu(), instruction_sets(), True)


@pytest.mark.parametrize(
    ("mcpu", "triple", "said"),
    [
        ("znver6", None, r"^there is no processor 'znver6'; did you mean (znver\d(, )?)+\?$"),
        ("apple-m9", None, r"^there is no processor 'apple-m9'; did you mean .*apple-m\d.*\?$"),
        ("neoverse-n1", "x86_64-linux-gnu", r"^there is no processor 'neoverse-n1' of x86_64; "),
        ("pentium3", None, r"^there is no processor 'pentium3'; "),  # LLVM has it, and ends the process over code of 64 bits for it
        ("?", None, r"^there is no processor '\?'; there are a64fx, .* and \d+ more, which `clang --print-supported-cpus` lists$"),
        ("znver4", "riscv64-linux-gnu", r"^--mtriple riscv64-linux-gnu is not known; give x86_64-linux-gnu, .* or arm64-apple-macos$"),
        (None, "x86_64-pc-windows-msvc", r"^--mtriple x86_64-pc-windows-msvc is not known; "),
        (None, "-", r"^--mtriple - is not known; "),
    ],
)
def test_one_that_does_not_exist(x86: None, mcpu: str | None, triple: str | None, said: str):
    with pytest.raises(UsageError, match=said):
        cpu_named(mcpu, triple)


def test_a_machine_of_another_kind(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(platform, "machine", lambda: "arm64")
    monkeypatch.setattr(platform, "system", lambda: "Darwin")
    assert is_here("aarch64", "Darwin")
    assert is_here("arm64", "")  # of an older manifest, which does not name the system
    assert not is_here("aarch64", "Linux")
    assert not cpu_named("apple-m1", None).is_foreign
    assert cpu_named("neoverse-n1", "aarch64-linux-gnu").is_foreign
    assert foreign_triples() == ["x86_64-linux-gnu", "aarch64-linux-gnu"]


def test_apples_processors_are_apples_on_any_machine_of_their_instructions(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(platform, "machine", lambda: "aarch64")
    monkeypatch.setattr(platform, "system", lambda: "Linux")
    assert (cpu_named("apple-m1", None).kind, cpu_named("apple-m1", None).is_foreign) == (APPLE, True)
    assert not cpu_named("neoverse-n1", None).is_foreign


@pytest.mark.parametrize(
    ("mcpus", "said"),
    [
        (f"{NATIVE},{host_cpu()}", f" names {host_cpu()} twice; name it once"),  # under two names
        ("neoverse-n1,apple-m1", r"neoverse-n1 \(aarch64, Linux\) and apple-m1 \(aarch64, Darwin\) are machines of two kinds"),
    ],
)
def test_those_that_do_not_go_together(mcpus: str, said: str):
    with pytest.raises(UsageError, match=said):
        cpus_named(mcpus, None)
