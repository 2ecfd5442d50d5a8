"""CUDA C++ as TVM emits it to C++ for this machine's compiler: assembly, shared memory, and for each kernel how it is launched."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable
from dataclasses import dataclass

from .assembly import assembly_in_cpp
from .cpp_text import closing, spaced, split

__all__ = ["translate"]

ASSEMBLY = re.compile(r"\b(?:asm|__asm__)\s*(?:volatile|__volatile__)?\s*(?=\()")
KERNEL = re.compile(r"__global__\s+void\s+(?:__launch_bounds__\s*\(\s*(?P<most>\d+)[^)]*\)\s*)?(?P<name>\w+)\s*(?=\()")
ALIGNMENT = r"(?:(?:alignas|__align__)\s*\(\s*(?P<alignment>\d+)\s*\)\s*)?"
DYNAMIC = re.compile(rf"extern\s+__shared__\s+{ALIGNMENT}(?P<of>[\w ]+?)\s+(?P<name>\w+)\s*\[\s*\]\s*;")
STATIC = re.compile(rf"\b__shared__\s+{ALIGNMENT}(?P<of>[\w ]+?)\s+(?P<name>\w+)\s*(?P<sizes>(?:\[[^\]]*\])*)\s*;")
BODY = re.compile(r"\s*\{")
QUALIFIERS = re.compile(r"\b(?:__restrict__|__grid_constant__|const)\b")
HEADERS = '#include "mma.h"\n#include "cuda_runtime.h"\n'
MOST_THREADS = 1024


@dataclass(frozen=True, slots=True)
class _Kernel:
    """`parameters` are their types; `shared` the types of its __shared__ arrays."""

    name: str
    most_threads: int
    parameters: list[str]
    shared: list[str]


def translate(source: str) -> str:
    """Every line of the source stays the line that it was. The table `emu_kernels` is at the end."""
    text = _without_assembly(source)
    text = _replace(DYNAMIC, text, lambda match: f"{match['of']}* {match['name']} = ({match['of']}*)emu_dynamic_shared();")
    text, kernels = _kernels(text)
    return f'{HEADERS}#line 1 "source.cu"\n{text}\n{_table(kernels)}'


def _without_assembly(source: str) -> str:
    code, pieces, done = spaced(source), list[str](), 0
    for match in ASSEMBLY.finditer(code):
        end = closing(source, match.end())
        lines = "\n" * source.count("\n", match.start(), end)
        pieces += [source[done : match.start()], assembly_in_cpp(source[match.end() + 1 : end]), lines]
        done = end + 1
    return "".join(pieces) + source[done:]


def _kernels(text: str) -> tuple[str, list[_Kernel]]:
    """The text with the shared arrays of kernels asked for, and the kernels that have bodies."""
    code, pieces, done = spaced(text), list[str](), 0
    found: list[_Kernel] = []
    for match in KERNEL.finditer(code):
        end = closing(text, match.end())
        body = BODY.match(code, end + 1)
        if body is None:  # declared, to be defined below
            continue
        last = closing(text, body.end() - 1)
        kernel = _Kernel(match["name"], int(match["most"] or MOST_THREADS), _types(text[match.end() + 1 : end]), [])
        inside = _replace(STATIC, text[body.end() : last], functools.partial(_placed, kernel))
        pieces += [text[done : body.end()], inside]
        found.append(kernel)
        done = last
    return "".join(pieces) + text[done:], found


def _placed(kernel: _Kernel, array: re.Match[str]) -> str:
    """A shared array as a reference to where the machine has it."""
    whole = f"{array['of']}{array['sizes']}"
    place = f"emu_static_shared({len(kernel.shared)}, sizeof({whole}), {array['alignment'] or 16})"
    kernel.shared.append(whole)
    return f"{array['of']} (&{array['name']}){array['sizes']} = *({array['of']}(*){array['sizes']}){place};"


def _types(parameters: str) -> list[str]:
    """Of `float* __restrict__ x, int64_t n`"""
    plain = (QUALIFIERS.sub("", parameter) for parameter in split(parameters, ","))
    return [re.sub(r"\b\w+\s*$", "", parameter).strip() for parameter in plain]


def _table(kernels: list[_Kernel]) -> str:
    lines, rows = list[str](), list[str]()
    for number, kernel in enumerate(kernels):
        given = ", ".join(f"*({each}*)given[{i}]" for i, each in enumerate(kernel.parameters))
        sizes = ", ".join([*(f"(int)sizeof({each})" for each in kernel.parameters), "0"])
        shared = " + ".join([*(f"sizeof({each})" for each in kernel.shared), "0"])
        lines.append(f"static void emu_run_{number}(void** given) {{ (void)given; {kernel.name}({given}); }}")
        lines.append(f"static const int emu_sizes_{number}[] = {{{sizes}}};")
        count = len(kernel.parameters)
        rows.append(f'{{"{kernel.name}", emu_run_{number}, {kernel.most_threads}, {shared}, {count}, emu_sizes_{number}}},')
    return "\n".join([*lines, 'extern "C" const emu_kernel emu_kernels[] = {', *rows, "{}};", ""])


def _replace(pattern: re.Pattern[str], text: str, made: Callable[[re.Match[str]], str]) -> str:
    """As `sub`, but nothing is found in comments and strings."""
    pieces, done = list[str](), 0
    for match in pattern.finditer(spaced(text)):
        pieces += [text[done : match.start()], made(match)]
        done = match.end()
    return "".join(pieces) + text[done:]
