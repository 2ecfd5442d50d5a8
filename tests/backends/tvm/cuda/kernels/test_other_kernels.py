"""Kernels for GPUs besides convolutions: right in any order, faults found, nothing for sanitizers, and what nvcc makes of them."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from convc.backends.tvm.cuda.emulator.machine import Order
from convc.backends.tvm.cuda.emulator.sanitize import SANITIZERS, sanitized
from convc.ir.errors import KernelFault
from convc.tests.support.gpu_kernels import TRIALS, trial_of
from convc.tests.support.machine_code import compiled, needs_nvcc
from convc.tests.support.tiers import slow_if

BOUND = 1e-3  # of the greatest value: a rounding to float16
ORDERS = (Order(1, late=False), Order(2), Order(3, shuffled=False))
MULTIPLIES = ("transposed in groups",)
# loads of 16 bytes that stand there at least: of weights and vectors, in a round and in what is left of one
FULL_WIDTH = {
    "matvec": 2 * (4 + 1) * 2,
    "matvec, four vectors": 2 * (4 + 4),
    "matvec, in parts": 2 * (4 + 1) + 4 + 1,
    "direct": 1 + 8,
    "direct, shared": 1 + 8,
}
# the others are held to their meanings, quickly, by test_families.py
FEW = ("softmax", "global avg pool", "in place", "pad", "matvec", "direct")


@pytest.mark.parametrize("name", slow_if(lambda name: name not in FEW, TRIALS))
def test_each_is_right_in_any_order(name: str) -> None:
    for order in ORDERS:
        assert trial_of(name).error(order) < BOUND


Change = Callable[[str], str]


def _instead(pattern: str, to: str, count: int = 0) -> Change:
    """What matches in the kernel's body, as `to`; the first `count` of it where that is not 0."""

    def changed(source: str) -> str:
        at = source.rindex("__global__")
        return source[:at] + re.sub(pattern, to, source[at:], count=count)

    return changed


BARRIER = r"tvm_builtin_cuda_cta_sync\(\);"
BEYOND_COUNTS = _instead(r"(condval(?:_\d+)?) = (?:-CUDART_INF_F|0x0p\+0f[^;]*);", r"\1 = 1.0f;")
FAULTS: dict[str, dict[str, Change]] = {
    "softmax": {
        "lanes that are not told the greatest": _instead(r"__shfl_xor_sync\(\(uint\)4294967295, _ptr\[0\], 1, 32\)", "_ptr[0]"),
        "lanes that are not told the sum": _instead(r"__shfl_xor_sync\(\(uint\)4294967295, _ptr\[1\], 1, 32\)", "_ptr[1]"),
        "what a lane of another pixel has": _instead(r", 1, 32\)", ", 2, 32)"),
        "a mask of half a warp": _instead(r"xor_sync\(\(uint\)4294967295", "xor_sync((uint)65535"),
        "channels beyond the last": BEYOND_COUNTS,
        "a pixel beyond the last": _instead(r"< 120\)", "< 128)"),
        "lanes of no pixel that read on": _instead(r"min\((\(\(\(int\)threadIdx.x\) >> 1\)), 59\)", r"\1"),
    },
    "softmax of scores": {
        "lanes that are told half": _instead(r"__shfl_xor_sync\(\(uint\)4294967295, _ptr\[1\], 16, 32\)", "0.0f"),
        "one step of two": _instead(r"(v_10 = 0; v_10) < 2", r"\1 < 1"),
        "a chunk beyond the last": _instead(r"< 19\)", "< 20)"),
    },
    "slice": {
        "a channel too early": _instead(r"_ptr\[0\] = _ptr_2\[3\]", "_ptr[0] = _ptr_2[2]"),
        "one chunk twice": _instead(r"\+ 120\)\)", "+ 112))"),
        "every row": _instead(r"\* 192\)", "* 96)"),
        "pieces of another image": _instead(r"< 8\)", "< 16)"),
    },
    "pad": {
        "a column beyond the last": _instead(r"< 14\)", "< 16)"),
        "no row above": _instead("18 <= ", "0 <= "),
        "channels of the pixel before": _instead(r"& 1\) == 1\)", "& 1) >= 0)"),
    },
    "pad by chunks": {
        "chunks behind the image": _instead(r"(% 3\)) < 2\)", r"\1 < 3)"),
        "a row beyond the last": _instead(r"< 108\)", "< 126)"),
    },
    "pad by reflection": {
        "a column that is turned too early": _instead(r": \(5 - ", ": (4 - "),
        "a row that is not turned": _instead(r"4 - ", "3 - "),
    },
    "softmax of a map": {
        "a chunk beyond the last": _instead(r"< 5\)", "< 6)"),
        "what a lane of another pixel has": _instead(r", 1, 32\)", ", 4, 32)"),
        "channels of the next image": _instead(r"\* 1200\)", "* 1230)"),
    },
    "logarithm": {"channels beyond the last": BEYOND_COUNTS, "a chunk beyond the last": _instead(r"< 120\)", "< 128)")},
    "gather": {
        "a channel twice": _instead(r"\(int64_t\)_ptr\[1\]", "(int64_t)_ptr[0]"),
        "a pixel beyond the last": _instead(r"< 480\)", "< 512)"),
    },
    "concat": {
        "as if nothing lay between": _instead(r"\+ 8\)\) = ", ")) = "),
        "pixels too close": _instead(r"\* 40\)", "* 32)"),
        "a chunk of the other operand": _instead(r"& 3\) < 2\)", "& 3) < 3)"),
    },
    "concat, channel by channel": {
        "a channel of its neighbour": _instead(r"_ptr\[0\] = _ptr_8\[2\]", "_ptr[0] = _ptr_8[3]"),
        "a chunk of the pixel before": _instead(r"(A1_ptr \+ .*) - 8\)\)", r"\1 - 16))"),
    },
    "in place": {
        "as if it were alone": _instead(r"\* 40\) \+ \((.*) \* 8\)\) \+ 8\)\) = ", r"* 16) + (\1 * 8)))) = "),
        "at the first channel": _instead(r"\+ 8\)\) = \*\(uint4\*\)\(_ptr_3", ")) = *(uint4*)(_ptr_3"),
        "a row above the first": _instead(r"\(1 <= \(\(\(\(\(\(int\)threadIdx.x\) % 12", "(0 <= ((((((int)threadIdx.x) % 12"),
    },
    "activation": {
        "the value before it": _instead(r"0x1p-1f[^ ]* \* v_4", "1.0f * v_4", 1),
        "as if it were of 16 bits": _instead(r"(D_ptr \+ .*) \+ 4\)\) = ", r"\1)) = "),
        "a chunk beyond the last": _instead(r"< 120\)", "< 128)"),
    },
    "gate": {"the gate of the first image": _instead(r"/ 60\) \* 16", "/ 60) * 0"), "channels of the first chunk": _instead(r"(B_ptr .*& 1\)) \* 8", r"\1 * 0")},
    "depthwise": {
        "a column beyond the last": _instead(r"\+ v_6\) < 7\)", "+ v_6) < 8)"),
        "no row above": _instead(r"\(\(1 <= ", "((0 <= "),
        "a filter of the next tap": _instead(r"v_5 \* 48\) \+ \(v_6 \* 16\)\)", "v_6 * 48) + (v_5 * 16))"),
    },
    "depthwise, four pixels": {
        "a column before the first": _instead(r">> 1\) == 1\)", ">> 1) >= 0)"),
        "results beyond the row": lambda source: _last(r"& 3\) < 2\)", "& 3) < 4)", source),
        "no row above": _instead(r"if \(1 <= ", "if (0 <= "),
    },
    "depthwise, two pixels": {"no row above": _instead(r"if \(1 <= ", "if (0 <= "), "the filter of the tap before": _instead(r"\+ 32\)\)", "+ 16))")},
    "depthwise, transposed": {
        "taps of another phase": _instead(r"% 2\) == 0\)", "% 2) != 0)"),
        "a row before the first": _instead(r"\(-1 <= ", "(-3 <= "),
        "a pixel beyond the last": _instead(r"< 912\)", "< 920)"),
    },
    "transposed in groups": {
        "no barrier among the steps": _instead(BARRIER, ";", 1),
        "no barrier before results are stored": lambda source: _last(BARRIER, ";", source),
        "a wait for no group": _instead(r"\w+wait_group_2\(\);", ";"),
        "a column of the next phase": _instead(r"< 19\)", "< 20)"),
        "a row beyond the last": _instead(r"\(5 - max\(((?:(?!, 3\)).)+), 3\)\)", r"(6 - max(\1, 4))"),
        "filters of the other group": _instead(r"% 12\) \* 2048\)", "% 6) * 2048)"),
    },
    "matvec": {
        "no barrier": _instead(BARRIER, ";"),
        "lanes that are told half": _instead(r"__shfl_xor_sync\(\(uint\)4294967295, _ptr\[0\], 16, 32\)", "0.0f"),
        "chunks of the next filter": _instead(r"& 127\) < 12\)", "& 127) < 13)"),
        "the first step twice": _instead(r"\+ 1024\)\)", "+ 0))"),
        "filters of the other warps": _instead(r">> 7\) \* 12672\)", ">> 7) * 0)"),
        "a warp that is left out": _instead(r" \+ _ptr_3\[12\]\)", ")"),
        "two warps in one place": _instead(r">> 5\) \* 4\)", ">> 6) * 4)"),
    },
    "matvec, four vectors": {
        "chunks of the next vector": _instead(r"& 127\) < 10\)", "& 127) < 11)"),
        "the first vector twice": _instead(r"(X_ptr .*) \+ 1104\)\)", r"\1 + 0))"),
        "a vector without results": _instead(r"threadIdx.x\) < 4\)", "threadIdx.x) < 3)"),
        "a vector beyond the last": _instead(r"threadIdx.x\) < 4\)", "threadIdx.x) < 5)"),
    },
    "matvec, in parts": {
        "what is left in each part": _instead(r"blockIdx.y\) == 1\)", "blockIdx.y) >= 0)"),
        "rounds beyond the last": _instead(r"min\(2, \(3 - ", "min(2, (4 - "),
        "parts in one place": _instead(r"blockIdx.y\) \* 16\)", "blockIdx.y) * 0)"),
    },
    "direct": {
        "no row above": _instead(r"1 <= \(\(\(\(min", "0 <= ((((min"),
        "a column beyond the last": _instead(r"& 1\)\) < 7\)", "& 1)) < 8)"),
        "a chunk beyond the last": _instead(r"threadIdx.x\) < 84\)", "threadIdx.x) < 85)"),
        "filters of the first chunk": _instead(r"/ 42\) \* 384", "/ 42) * 0"),
        "a channel of its neighbour": _instead(r"\(float\)_ptr_1\[4\]", "(float)_ptr_1[5]"),
        "a tap too few": _instead(r"v_8 < 6", "v_8 < 5"),
    },
    "direct, shared": {
        "lanes that are told half": _instead(r"__shfl_xor_sync\(\(uint\)4294967295, _ptr\[3\], 2, 32\)", "0.0f"),
        "what a lane of another pixel has": _instead(r", 1, 32\)", ", 4, 32)"),
        "taps beyond the last": _instead(r"< 9\)", "< 10)"),
        "lanes of no pixel that read on": _instead(r"min\(([^,]*), 79\)", r"\1"),
    },
    "direct, in groups": {"channels of the first group": _instead(r"/ 120\) \* 8\)", "/ 120) * 0)")},
    "avg pool": {
        "a row below the last": _instead(r"\+ v_5\) < 6\)", "+ v_5) < 7)"),
        "taps that are not counted": _instead(r"_ptr\[0\] = \(_ptr\[0\] \+ 0x1p\+0f[^)]*\)", "_ptr[0] = 6.0f"),
    },
    "global avg pool": {
        "no barrier": _instead(BARRIER, ";"),
        "a barrier of some threads": _instead(f"({BARRIER})", r"if (threadIdx.x < 128) { \1 }"),
        "a pixel beyond the last": _instead(r"< 35\)", "< 36)"),
        "threads that are left out": _instead(r"v_4 < 32", "v_4 < 31"),
        "chunks of another image": _instead(r"(>> 1\)\)) < 5\)", r"\1 < 8)"),
    },
    "local response norm": {
        "channels beyond the last": _instead(r"& 1\) < 1\)", "& 1) < 2)"),
        "channels of the pixel before": _instead(r"if \(\(\(\(int\)threadIdx.x\) & 1\) == 1\)", "if (true)"),
        "a neighbour too few": _instead(r"_ptr_2\[0\] = \(_ptr_2\[0\] \+ \(_ptr_4\[6\] .*;", ";"),
    },
    "batch norm": {"a gain of another chunk": _instead(r"gain_ptr \+ \(\(\(\(int\)threadIdx.x\) & 1\) \* 4\)", "gain_ptr"), "no shift": _instead(r" \+ _ptr_3\[2\]\)", ")")},
    "group norm": {
        "no barrier": _instead(BARRIER, ";"),
        "sums in one part": lambda source: _in_one_part(source),
        "lanes that are told half": _instead(r"__shfl_xor_sync\(\(uint\)4294967295, _ptr_4\[0\], 16, 32\)", "0.0f"),
        "a chunk beyond the last": _instead(r"< 286\)", "< 288)"),
        "chunks of the first group": _instead(r"& 1\) \* 16\)", "& 1) * 0)"),
    },
    "group norm, one group": {"channels beyond the last": BEYOND_COUNTS},
    "group norm, of pixels": {
        "channels beyond the last": _instead(r"% 38\) < 37\)", "% 38) < 38)"),
        "a pixel beyond the last": _instead(r", 11\) \* 304", ", 12) * 304"),
    },
    "instance norm": {"no barrier": _instead(BARRIER, ";"), "the mean of its neighbour": _instead(r"- _ptr_1\[2\]", "- _ptr_1[3]"), "sums of the chunk beside": _instead(r", 2, 32\)", ", 1, 32)")},
    "group norm, within chunks": {"channels beyond the last": BEYOND_COUNTS, "the mean of another group": _instead(r"- _ptr\[3\]", "- _ptr[4]")},
    "resize": {
        "a row beyond the last": _instead(r"min\(\(v_4 \+ 1\), 4\)", "(v_4 + 1)"),
        "shares that change places": _instead("v_9 = col_shares_ptr", "v_9 = 1.0f - col_shares_ptr"),
    },
    "enter": {"channels beyond the last": _instead(r"& 1\) < 1\)", "& 1) < 2)"), "images too close": _instead(r"\* 330\)", "* 300)")},
    "enter, scores": {"images too close": _instead(r"\* 11\)", "* 10)"), "channels beyond the last": _instead(r"& 15\) < 11\)", "& 15) < 12)")},
    "leave": {"channels beyond the last": _instead(r"& 1\) < 1\)", "& 1) < 2)"), "images too close": _instead(r"\* 330\)", "* 300)")},
    "leave, scores": {"images too close": _instead(r"/ 11\) \* 16\)", "/ 11) * 8)"), "a score beyond the last": _instead(r"< 33\)", "< 40)")},
}  # fmt: skip
QUICK = {"no barrier", "a mask of half a warp", "channels beyond the last", "as if it were alone", "a wait for no group"}


def _in_one_part(source: str) -> str:
    """The second sums where the first may still be read."""
    source = re.sub(
        r"(_ptr\[\(\(\(int\)threadIdx.x\) >> 5\)) \+ 8\)\]",
        r"\1)]",
        source.replace("_ptr[((((int)threadIdx.x) >> 5) + 8)]", "_ptr[(((int)threadIdx.x) >> 5)]"),
    )
    return re.sub(r"\b_ptr\[(8|9|1[0-5])\]", lambda match: f"_ptr[{int(match[1]) - 8}]", source)


def _last(pattern: str, to: str, source: str) -> str:
    *_, match = re.finditer(pattern, source)
    return source[: match.start()] + to + source[match.end() :]


def _each_fault() -> list[Any]:
    pairs = [(kernel, fault) for kernel, faults in FAULTS.items() for fault in faults]
    return [pytest.param(*pair, marks=[] if pair[1] in QUICK else [pytest.mark.slow]) for pair in pairs]


@pytest.mark.parametrize(("name", "fault"), _each_fault())
def test_faults_are_seen(name: str, fault: str) -> None:
    """In results, by the rules of the device, or, where threads happen to meet in time in all these orders, by a sanitizer."""
    trial = trial_of(name)
    emitted = trial.emitted
    source = FAULTS[name][fault](emitted.source)
    assert source != emitted.source
    for order in ORDERS:
        try:
            if not trial.error(order, source) < BOUND:
                return
        except KernelFault:
            return
    given = [trial.arrays[each] for each in emitted.order]
    assert any(sanitized(source, emitted.launch, given, sanitizer, ORDERS[0]).lines for sanitizer in SANITIZERS)


def test_every_kernel_has_faults_planted() -> None:
    assert set(FAULTS) == set(TRIALS)
    assert {fault for faults in FAULTS.values() for fault in faults} >= QUICK


@pytest.mark.parametrize("sanitizer", SANITIZERS)
@pytest.mark.parametrize("name", slow_if(lambda name: name != "global avg pool", TRIALS))
def test_sanitizers_find_nothing(name: str, sanitizer: str) -> None:
    trial = trial_of(name)
    emitted = trial.emitted
    found = sanitized(emitted.source, emitted.launch, [trial.arrays[each] for each in emitted.order], sanitizer, ORDERS[1])
    assert found.lines == ()
    assert trial.off(dict(zip(emitted.order, found.arrays, strict=True))) < BOUND


@needs_nvcc
@pytest.mark.slow
@pytest.mark.parametrize("arch", ["sm_80", "sm_90"])
@pytest.mark.parametrize("name", TRIALS)
def test_machine_code_has_no_stack(name: str, arch: str, tmp_path: Path) -> None:
    (code,) = compiled(trial_of(name).emitted.source, tmp_path, arch).values()
    assert (code.stack, code.spilled, code.counts["STL"], code.counts["LDL"]) == (0, 0, 0, 0)
    assert code.registers <= (128 if name in MULTIPLIES or name.startswith("depthwise, four") else 64)
    assert (code.counts["HMMA"] > 0) == (name in MULTIPLIES)
    assert code.counts["LDG.128"] >= FULL_WIDTH.get(name, 0)
