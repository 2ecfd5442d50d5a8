"""Machines to compile for by name: LLVM's names of processors, and triples of what they run under."""

from __future__ import annotations

import functools
import platform
from dataclasses import dataclass, replace
from typing import Any

from ....ir.errors import UsageError
from ....ir.suggest import did_you_mean
from ..host import host_cpu, host_target, instruction_sets, lacking, tvm
from ..processor import Processor, processor_of

__all__ = ["NATIVE", "NamedCpu", "cpu_named", "cpus_named", "foreign_triples", "is_here"]

NATIVE = "native"  # this one, as compilers call it
NEAREST = 4  # names that are offered for one that does not exist


@dataclass(frozen=True, slots=True)
class CpuFamily:
    """`triple` is that of its machines unless said, `least` the processor that all of them have. Processors of the name that lack the
    instructions `needs` are of 32 bits, for which LLVM ends the process.
    """

    triple: str
    least: str
    needs: str
    spellings: tuple[str, ...]


ARCHITECTURES = {
    "x86_64": CpuFamily("x86_64-linux-gnu", "x86-64", "64bit", ("x86_64", "amd64")),
    "aarch64": CpuFamily("aarch64-linux-gnu", "generic", "neon", ("aarch64", "arm64")),
}
APPLE = "arm64-apple-macos"  # of LLVM's names that begin with apple-
TRIPLES = (*(each.triple for each in ARCHITECTURES.values()), APPLE)
SYSTEMS = {"linux": "Linux", "macos": "Darwin", "darwin": "Darwin"}  # as Python calls what triples name
ALIASES = ("apple-m1", "apple-m2", "apple-m3")  # names that LLVM knows, and leaves out of its list


@dataclass(frozen=True, slots=True)
class NamedCpu:
    """A processor by LLVM's name, under the system of a triple. Without a name it is the one that convc runs on, without a triple under
    the same system.
    """

    mcpu: str
    triple: str

    @property
    def target(self) -> Any:
        """TVM's."""
        if not self.mcpu:
            return host_target()
        whole = {"kind": "llvm", "mcpu": self.mcpu}
        return tvm().target.Target({**whole, "mtriple": self.triple} if self.is_foreign else whole)

    @property
    def cpu(self) -> str:
        return self.mcpu or host_cpu()

    @property
    def needs(self) -> tuple[str, ...]:
        """The instruction sets that its code may use."""
        return instruction_sets(self.target)

    @property
    def processor(self) -> Processor:
        return processor_of(self.cpu, self.needs)

    @property
    def kind(self) -> tuple[str, str]:
        """Architecture and system, as Python's platform has them."""
        return _kind(self.triple) if self.triple else _here()

    @property
    def is_foreign(self) -> bool:
        """Whether it is of another kind than this machine: no code for it runs here, and no linker of this machine's links it."""
        return self.kind != _here()

    @property
    def runs_here(self) -> bool:
        return not self.is_foreign and not lacking(self.needs)

    def __str__(self) -> str:
        architecture, system = self.kind
        return f"{self.cpu} ({architecture}, {system})"


def cpu_named(mcpu: str | None, triple: str | None) -> NamedCpu:
    """By either or both; without, or by the name native, the one that convc runs on. A processor that this architecture does not have is
    looked for in the others.

    Raises: UsageError for what does not exist, with the nearest that does.
    """
    mcpu = None if mcpu == NATIVE and not triple else mcpu
    if triple:
        architecture, _ = _kind(triple)
        name = mcpu or ARCHITECTURES[architecture].least
        if not _has(name, architecture):
            raise UsageError(_unknown(name, f" of {architecture}", [architecture]))
        return NamedCpu(name, triple)
    here = _here()
    if mcpu is None:
        return NamedCpu("", "")
    for architecture in sorted(ARCHITECTURES, key=lambda each: each != here[0]):
        if _has(mcpu, architecture):
            found = NamedCpu(mcpu, APPLE if mcpu.startswith("apple-") else ARCHITECTURES[architecture].triple)
            return replace(found, triple="") if architecture == here[0] and not mcpu.startswith("apple-") else found
    raise UsageError(_unknown(mcpu, "", list(ARCHITECTURES)))


def cpus_named(mcpus: str | None, triple: str | None) -> list[NamedCpu]:
    """By names with commas between them, those with the most instruction sets first: of those that a machine can run the first is the best.

    Raises: as `cpu_named`; UsageError for one that is named twice, and for those of several kinds of machines.
    """
    names = [name.strip() or None for name in mcpus.split(",")] if mcpus else [None]
    if len(names) > 1 and None in names:
        raise UsageError(f"--mcpu {mcpus}: write names with commas between them, such as x86-64-v3,znver4")
    found = [cpu_named(name, triple) for name in names]
    cpus = [each.cpu for each in found]
    if twice := next((cpu for cpu in cpus if cpus.count(cpu) > 1), None):
        raise UsageError(f"--mcpu {mcpus} names {twice} twice; name it once")
    if other := next((each for each in found if each.kind != found[0].kind), None):
        raise UsageError(f"{found[0]} and {other} are machines of two kinds, and an artifact is for one; compile for each alone")
    return sorted(found, key=lambda each: -len(each.needs)) if len(found) > 1 else found


def foreign_triples() -> list[str]:
    """Those of the kinds of machines that this one is not."""
    return [triple for triple in TRIPLES if _kind(triple) != _here()]


def is_here(architecture: str, system: str) -> bool:
    """Whether this machine is of both, the former by any of its spellings; a `system` of "" is any."""
    return (_plain(architecture), system or _here()[1]) == _here()


def _here() -> tuple[str, str]:
    return _plain(platform.machine()), platform.system()


def _plain(architecture: str) -> str:
    plain = architecture.lower()
    return next((name for name, each in ARCHITECTURES.items() if plain in each.spellings), plain)


def _kind(triple: str) -> tuple[str, str]:
    """Architecture and system.

    Raises: UsageError for others than those that are known.
    """
    first, *rest = triple.split("-")
    system = next((SYSTEMS[name] for word in rest for name in SYSTEMS if word.startswith(name)), None)
    if _plain(first) not in ARCHITECTURES or system is None:
        raise UsageError(f"--mtriple {triple} is not known; give {', '.join(TRIPLES[:-1])} or {TRIPLES[-1]}")
    return _plain(first), system


@functools.cache
def _has(mcpu: str, architecture: str) -> bool:
    """Whether LLVM knows it there, and with the instructions of 64 bits."""
    codegen, kind = tvm().target.codegen, ARCHITECTURES[architecture]
    if not codegen.llvm_is_valid_cpu(mcpu, kind.triple):
        return False
    target = tvm().target.Target({"kind": "llvm", "mcpu": mcpu, "mtriple": kind.triple})
    return kind.needs in set(map(str, codegen.llvm_get_cpu_features(target)))


def _unknown(mcpu: str, where: str, architectures: list[str]) -> str:
    host = tvm()
    triples = (ARCHITECTURES[architecture].triple for architecture in architectures)
    targets = (host.target.Target({"kind": "llvm", "mtriple": triple}) for triple in triples)
    names = {str(name) for target in targets for name in host.target.codegen.llvm_get_cpu_archlist(target)}
    known = sorted({name for name in {*names, *ALIASES} if any(_has(name, each) for each in architectures)})
    others = f"there are {', '.join(known[:NEAREST])} and {len(known) - NEAREST} more, which `clang --print-supported-cpus` lists"
    return f"there is no processor '{mcpu}'{where}{did_you_mean(mcpu.lower(), known, others, most=NEAREST)}"
