"""Convolutions on tensor cores: right in every tile and at every edge, faults found, and what nvcc makes of them."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from convc.backends.tvm.cuda.emulator.machine import Order, machine
from convc.backends.tvm.cuda.emulator.sanitize import SANITIZERS, sanitized
from convc.backends.tvm.cuda.kernels.layout import ELEMENTS, as_factor
from convc.backends.tvm.cuda.kernels.sizes import ConvSizes, filters
from convc.backends.tvm.cuda.kernels.tiles import GROUP_TILES, WARP_TILES, GpuTile, Tiling, multiplied
from convc.ir.errors import KernelFault
from convc.tests.support.gpu_convolutions import Trial, innermost, tile_id
from convc.tests.support.machine_code import compiled, needs_nvcc

BOUND = {"f16": 1e-3, "bf16": 8e-3, "f32": 1e-3}  # a rounding of the result, of the greatest value
ALL_TILES = tuple(dict.fromkeys((*WARP_TILES.all, *GROUP_TILES.all)))  # narrow ones are in both
KINDS = {"mma.sync": WARP_TILES, "wgmma": GROUP_TILES}
EVEN, UNEVEN, QUICK = "small", "uneven", WARP_TILES.small
EVEN_TILES = (WARP_TILES.small, WARP_TILES.short, GROUP_TILES.small, GROUP_TILES.short)  # of a step that no tap ends in
OF_EVERY_TILE = [(tile, of) for tile in ALL_TILES for of, element in ELEMENTS.items() if not tile.by_groups or element.group_product]


EARLY, LATE = Order(1, late=False), Order(2)
# Odd rows and columns, remainders of pixels and channels, and what of a window lies outside.
EDGES = {
    "3x3 with remainders": (ConvSizes(1, 20, 24, 9, 7, (3, 3), pads=(1, 1, 1, 1)), UNEVEN, 1),
    "uneven in every way": (ConvSizes(3, 3, 70, 15, 14, (5, 2), (2, 1), (2, 0, 1, 3), (1, 2)), UNEVEN, 1),
    "sums in parts": (ConvSizes(3, 64, 72, 5, 5, (3, 3), pads=(1, 1, 1, 1)), EVEN, 3),
    "a last part that is shorter": (ConvSizes(1, 64, 8, 4, 4, (3, 3), pads=(1, 1, 1, 1)), EVEN, 2),
    "1x1": (ConvSizes(3, 64, 72, 5, 5, (1, 1)), EVEN, 1),
    "groups that are merged": (ConvSizes(2, 12, 30, 5, 5, (3, 3), (2, 2), (1, 1, 1, 1), groups=3), UNEVEN, 1),
    "merged by twos": (ConvSizes(2, 64, 64, 3, 3, (3, 3), pads=(1, 1, 1, 1), groups=8), UNEVEN, 1),
    "16 filters": (ConvSizes(2, 20, 16, 9, 7, (3, 3), (2, 1), (1, 1, 1, 1)), "narrow", 1),
    "32 filters, in parts": (ConvSizes(1, 24, 28, 9, 7, (3, 3), pads=(1, 1, 1, 1)), "narrow", 2),
    "a chunk alone": (ConvSizes(1, 24, 40, 9, 9, (1, 1)), "uneven_short", 1),
    "a chunk alone, in parts": (ConvSizes(2, 24, 136, 7, 5, (3, 3), pads=(1, 1, 1, 1)), "uneven_short", 2),
    "groups of 8": (ConvSizes(2, 24, 24, 9, 7, (3, 3), pads=(1, 1, 1, 1), groups=3), "narrow", 1),
    "24 filters": (ConvSizes(2, 16, 24, 5, 7, (3, 3)), "narrow", 1),
    "groups as they are": (ConvSizes(2, 48, 256, 5, 5, (3, 3), (2, 2), (1, 1, 1, 1), groups=2), UNEVEN, 1),
    "one channel": (ConvSizes(2, 1, 8, 9, 8, (3, 3), (1, 2), (1, 1, 1, 1)), UNEVEN, 1),
    "four channels, in parts": (ConvSizes(1, 4, 8, 11, 11, (5, 5)), UNEVEN, 2),
    "scores": (ConvSizes(9, 100, 10, 1, 1, (1, 1)), "scores", 1),
    "few rows": (ConvSizes(1, 64, 72, 7, 5, (3, 3), pads=(1, 1, 1, 1)), "short", 2),
    "a window with more columns than a word has bits": (ConvSizes(2, 4, 8, 2, 40, (1, 33), (1, 2), (0, 16, 0, 16)), UNEVEN, 1),
    "a window of 25 columns": (ConvSizes(2, 4, 8, 1, 40, (1, 25), pads=(0, 12, 0, 12)), UNEVEN, 1),
    "pads as wide as the window": (ConvSizes(1, 20, 24, 5, 7, (3, 2), (2, 1), (4, 3, 3, 4)), UNEVEN, 1),
    "warps without rows": (ConvSizes(1, 64, 72, 9, 9, (1, 1)), "large", 1),
}
FEW = {
    "mma.sync": (
        "uneven in every way",
        "sums in parts",
        "scores",
        "16 filters",
        "32 filters, in parts",
        "a chunk alone",
        "groups of 8",
        "no barrier among the steps",
        "an image one row high",
    ),
    "turned": ("a last chunk that is left out",),
    "wgmma": ("uneven in every way", "few rows", "no fence after copies", "a ring one slot small"),
}
TAIL = EDGES["3x3 with remainders"][0]


def _of_each_kind(names: Mapping[str, Iterable[str]]) -> Any:
    """A test of products by one warp and by groups of them, for names of each kind, of which few are quick."""
    marks = {True: [], False: [pytest.mark.slow]}
    pairs = [pytest.param(kind, name, marks=marks[name in FEW[kind]], id=f"{kind}-{name}") for kind in names for name in names[kind]]
    return pytest.mark.parametrize(("kind", "name"), pairs)


@_of_each_kind(dict.fromkeys(KINDS, EDGES))
def test_edges_are_right(kind: str, name: str) -> None:
    """And so much is multiplied as arithmetic says."""
    sizes, which, splits = EDGES[name]
    trial, tiles = Trial.drawn(sizes), KINDS[kind]
    narrow = tiles.for_few(sizes.pixels, sizes.group_out, sizes.per_tap)
    tile = {"narrow": narrow, "large": tiles.large[0]}.get(which) or getattr(tiles, which)
    device = machine()
    for order in (EARLY, LATE):
        device.counters()
        assert trial.error(Tiling(tile, splits), order) < BOUND["f16"]
        assert device.counters()["mma_macs"] == multiplied(sizes, tile, ELEMENTS["f16"])


@pytest.mark.slow
@pytest.mark.parametrize(("tile", "of"), OF_EVERY_TILE)
def test_every_tile_is_right(tile: GpuTile, of: str) -> None:
    trial, device = Trial.drawn(TAIL, of), machine()
    for order in (EARLY, LATE):
        device.counters()
        assert trial.error(Tiling(tile), order) < BOUND[of]
        assert device.counters()["mma_macs"] == multiplied(TAIL, tile, ELEMENTS[of])


def test_groups_that_are_merged_have_zeros_between_them() -> None:
    sizes = ConvSizes(1, 4, 4, 3, 3, (1, 1), groups=2)
    w = np.arange(1, 9, dtype=np.float16).reshape(4, 2, 1, 1)
    packed = filters(sizes, ELEMENTS["f16"]).pack(w)
    np.testing.assert_array_equal(packed[:4, :4], [[1, 2, 0, 0], [3, 4, 0, 0], [0, 0, 5, 6], [0, 0, 7, 8]])
    assert packed.shape == (8, 8)
    assert packed.sum() == w.sum()


@pytest.mark.parametrize("tile", [QUICK, *(pytest.param(tile, marks=pytest.mark.slow) for tile in ALL_TILES if tile != QUICK)], ids=tile_id)
def test_a_whole_tile_wastes_nothing(tile: GpuTile) -> None:
    """Every product is one that the network asks for, and no two rows that ldmatrix reads meet in a bank."""
    sizes = ConvSizes(1, 64, tile.cols, 8, tile.rows // 8, (1, 1))
    device = machine()
    device.counters()
    assert Trial.drawn(sizes).error(Tiling(tile)) < BOUND["f16"]
    counted = device.counters()
    assert counted["mma_macs"] == sizes.macs
    assert counted["ldmatrix_cycles"] == counted["ldmatrix_matrices"]
    assert (counted["wgmma"] > 0, counted["ldmatrix"] > 0) == (tile.by_groups, not tile.by_groups)


def _nth(pattern: str, number: int, to: str) -> Callable[[str], str]:
    """What replaces the number-th match in the kernel's body."""

    def changed(source: str) -> str:
        head, body = source[: source.rindex("__global__")], source[source.rindex("__global__") :]
        match = list(re.finditer(pattern, body))[number]
        return head + body[: match.start()] + match.expand(to) + body[match.end() :]

    return changed


def _every(pattern: str, to: str) -> Callable[[str], str]:
    """What replaces each match in the kernel's body."""

    def changed(source: str) -> str:
        body = source.rindex("__global__")
        return source[:body] + re.sub(pattern, to, source[body:], flags=re.DOTALL)

    return changed


# what is planted alike whatever multiplies
COMMON_FAULTS = (
    "no barrier before the stages become results",
    "no barrier before results are stored",
    "an image one row high",
    "an image one column wide",
    "a test of pixels one off",
    "no zeros outside",
    "a chunk that does not change places",
    "sums that are not finished",
    "a ring one slot small",
)
BARRIER = r"tvm_builtin_cuda_cta_sync\(\);"
WARP_FAULTS: dict[str, Callable[[str], str]] = {
    "no barrier before the first step": _nth(BARRIER, 0, ";"),
    "no barrier among the steps": _nth(BARRIER, 1, ";"),
    "no barrier before the stages become results": _nth(BARRIER, 2, ";"),
    "no barrier before results are stored": _nth(BARRIER, 3, ";"),
    "a wait one group short": lambda source: source.replace("cp.async.wait_group 2;", "cp.async.wait_group 3;"),
    "a ring one slot small": lambda source: re.sub(r"(\+ \(uint\))(\d+)\) == \(uint\)(\d+)", _a_slot_less, source),
    "a step that is written one slot early": _nth(r"\(uint\)24576;", 0, "(uint)16384;"),
    "an image one row high": _every(r"\(9 - max\((.{10,150}?), 6\)", r"(10 - max(\1, 7)"),
    "an image one column wide": _every(r"\(7 - max\((.{10,150}?), 4\)", r"(8 - max(\1, 5)"),
    "a test of pixels one off": lambda source: source.replace("threadIdx.x) < 120)", "threadIdx.x) < 128)"),
    "no zeros outside": _every(r": \(uint\)0\)\)", ": (uint)16))"),
    "rows of the other warp": lambda source: source.replace(">> 5) * 512", ">> 6) * 512"),
    "a chunk that does not change places": lambda source: source.replace("& 3) ^ ((((int)threadIdx.x) & 31) >> 3)", "& 3)"),
    "sums that are not finished": _nth(r"< \(6 - \(", 0, "< (5 - ("),
    "the other pair of a step": _nth(r"\^ \(uint\)32", 0, "^ (uint)0"),
}
# of a warp whose lines are filters, and of what is left out of products
TURNED_FAULTS: dict[str, Callable[[str], str]] = {
    **{name: WARP_FAULTS[name] for name in COMMON_FAULTS if name != "a test of pixels one off"},
    "no barrier among the steps": WARP_FAULTS["no barrier among the steps"],
    "a wait one group short": WARP_FAULTS["a wait one group short"],
    "a warp without work that has some": _every(r"< 64(\) \{\s*(?:if \(\S+ == 0\) \{\s*)?tvm_builtin_ptx_(?:ldmatrix|mma))", r"< 32\1"),
    "columns of the last block alone": lambda source: source.replace("(((int)blockIdx.x) == 0)", "(((int)blockIdx.x) == 1)"),
    "a last chunk that is left out": _every(r"tvm_builtin_ptx_mma_\w+m16n8k8_[^;]+;", ";"),
    "the other chunk at last": _every(r"(m16n8k8_\w+\((?:\w+\[\d+\], ){4})(\w+)\[0\], \w+\[1\]", r"\1\2[2], \2[3]"),
    "registers of the pair before": _nth(r"(mma_\w+m16n8k16_\w+\((?:\w+\[\d+\], ){4})_ptr_6\[0\]", 0, r"\1_ptr_4[0]"),
    "pixels and filters the wrong way round": lambda source: re.sub(r"& 3\) \* 144\)", "& 3) * 72)", source),
}
GROUP_FAULTS: dict[str, Callable[[str], str]] = {
    **{name: WARP_FAULTS[name] for name in COMMON_FAULTS},
    "no barrier among the steps": _nth(BARRIER, 0, ";"),
    "a wait for copies one group short": lambda source: source.replace("cp.async.wait_group 2;", "cp.async.wait_group 3;"),
    "a wait for products one group short": lambda source: source.replace(
        "wgmma.wait_group.sync.aligned 1;", "wgmma.wait_group.sync.aligned 2;"
    ),
    "no wait for the last products": _nth(r"tvm_builtin_ptx_wgmma_wait_group\w+_0\(\);", 0, ";"),
    "a last wait one group short": lambda source: source.replace("wgmma.wait_group.sync.aligned 0;", "wgmma.wait_group.sync.aligned 1;"),
    "products that are not committed": lambda source: source.replace("wgmma.commit_group.sync.aligned;", ""),
    "no fence before products": lambda source: source.replace("wgmma.fence.sync.aligned;", ""),
    "no fence after copies": lambda source: source.replace("fence.proxy.async.shared::cta;", ""),
    "a fence before copies are there": _every(
        r"(tvm_builtin_ptx_cp_async_wait_group\w+\(\);)(\s*)(tvm_builtin_ptx_fence_proxy\w+\(\);)", r"\3\2\1"
    ),
    "a stride of 7 rows": lambda source: _described(source, (8 * 64 // 16, 7 * 64 // 16)),
    "swizzled by 128 bytes": lambda source: _described(source, (2 << 30, 1 << 30)),
    "not swizzled": lambda source: _described(source, (2 << 30, 0)),
    "a half of the step twice": lambda source: source.replace("(uint64_t)2ULL", "(uint64_t)0ULL"),
}


def _a_slot_less(match: re.Match[str]) -> str:
    return f"{match[1]}{match[2]}) == (uint){int(match[3]) - int(match[2])}"


def _described(source: str, change: tuple[int, int]) -> str:
    """With other upper halves of descriptors."""

    def changed(match: re.Match[str]) -> str:
        low, high = int(match[1]) & 0xFFFFFFFF, (int(match[1]) >> 32) & 0xFFFFFFFF
        number = (high - change[0] + change[1]) << 32 | low
        return f"(int64_t){number - (number >> 63 << 64)}"

    return re.sub(r"\(int64_t\)(-?\d{15,})", changed, source)


def _is_seen(tile: GpuTile, trial: Trial, source: str) -> bool:
    """In results, or by a sanitizer where threads happen to meet in time in all these orders, or what is written beside lies in a gap."""
    for order in (EARLY, LATE, Order(3, late=False, late_products=False), Order(4), Order(5)):
        try:
            if not trial.error(Tiling(tile), order, source) < BOUND["f16"]:
                return True
        except KernelFault:
            return True
    kernel = trial.kernel(Tiling(tile))
    given = [trial.arrays[name] for name in kernel.order]
    return any(sanitized(source, kernel.launch, given, each, EARLY).lines for each in SANITIZERS)


FAULTS = {"mma.sync": WARP_FAULTS, "turned": TURNED_FAULTS, "wgmma": GROUP_FAULTS}
FAULTY = {"mma.sync": WARP_TILES.uneven, "turned": WARP_TILES.uneven_short, "wgmma": GROUP_TILES.uneven}


@_of_each_kind(FAULTS)
def test_faults_are_seen(kind: str, name: str) -> None:
    trial, tile = Trial.drawn(TAIL), FAULTY[kind]
    source = trial.kernel(Tiling(tile)).source
    planted = FAULTS[kind][name](source)
    assert planted != source
    assert _is_seen(tile, trial, planted)


@pytest.mark.slow
@pytest.mark.parametrize("sanitizer", SANITIZERS)
@pytest.mark.parametrize("order", [EARLY, LATE], ids=["early", "late"])
@pytest.mark.parametrize("tile", ALL_TILES, ids=tile_id)
def test_sanitizers_find_nothing(tile: GpuTile, order: Order, sanitizer: str) -> None:
    trial = Trial.drawn(TAIL)
    kernel = trial.kernel(Tiling(tile))
    found = sanitized(kernel.source, kernel.launch, [trial.arrays[name] for name in kernel.order], sanitizer, order)
    assert found.lines == ()
    assert trial.off(found.arrays[kernel.order.index("Y")]) < BOUND["f16"]


# A block of 8 warps may have all 255 of a thread, and is alone with that. 128x256 has 192 for sums and two pairs of chunks.
REGISTERS = {
    (64, 16): 128,
    (64, 32): 128,
    (16, 64): 128,
    (56, 64): 128,
    (64, 64): 128,
    (128, 64): 168,
    (128, 128): 224,
    (128, 256): 240,
}


def _is_lean(tile: GpuTile, sizes: ConvSizes, of: str, folder: Path, arch: str) -> None:
    needed = ("HGMMA", "LDGSTS", "BAR") if tile.by_groups else ("HMMA", "LDSM", "LDGSTS", "BAR")
    (code,) = compiled(Trial.drawn(sizes, of).kernel(Tiling(tile)).source, folder, arch).values()
    assert (code.stack, code.spilled, code.counts["STL"], code.counts["LDL"]) == (0, 0, 0, 0)
    assert not code.is_serialized
    assert code.registers <= REGISTERS[tile.rows, tile.cols]
    assert min(code.counts[name] for name in needed) > 0


@needs_nvcc
@pytest.mark.slow
@pytest.mark.parametrize("of", ELEMENTS)
@pytest.mark.parametrize("tile", [tile for tile in ALL_TILES if tile not in EVEN_TILES], ids=tile_id)
def test_machine_code_of_stems(tile: GpuTile, of: str, tmp_path: Path) -> None:
    """Chunks of two taps have twice the tests."""
    if tile.by_groups and ELEMENTS[of].group_product is None:
        return
    stem = ConvSizes(1, 3, 64, 224, 224, (7, 7), (2, 2), (3, 3, 3, 3))
    _is_lean(tile, stem, of, tmp_path, "sm_90a" if tile.by_groups else "sm_90")


@needs_nvcc
@pytest.mark.parametrize(("tile", "arch"), [(WARP_TILES.uneven, "sm_90"), (GROUP_TILES.uneven, "sm_90a")], ids=["mma.sync", "wgmma"])
def test_machine_code_has_tensor_cores_and_no_stack(tile: GpuTile, arch: str, tmp_path: Path) -> None:
    _is_lean(tile, TAIL, "f16", tmp_path, arch)


# for channels that fill no step the table has uneven tiles in place of the small and the short one
CODE = [
    pytest.param(tile, of, channels, arch, id=f"{tile_id(tile)}-{channels}-{of}-{arch}")
    for (tile, of), channels in itertools.product(OF_EVERY_TILE, (20, 64))
    if tile not in EVEN_TILES or channels * ELEMENTS[of].bytes % tile.depth == 0
    for arch in (("sm_90a",) if tile.by_groups else ("sm_80", "sm_90"))
]


@needs_nvcc
@pytest.mark.slow
@pytest.mark.parametrize(("tile", "of", "channels", "arch"), CODE)
def test_machine_code_of_every_tile(tile: GpuTile, of: str, channels: int, arch: str, tmp_path: Path) -> None:
    _is_lean(tile, ConvSizes(1, channels, 256, 14, 14, (3, 3), pads=(1, 1, 1, 1)), of, tmp_path, arch)


@needs_nvcc
@pytest.mark.slow
def test_machine_code_of_few_steps(tmp_path: Path) -> None:
    """Which nvcc writes out, as of MobileNet's last layers: with no limit a thread takes 182 registers, with ptxas's own some are spilled."""
    _is_lean(WARP_TILES.short, ConvSizes(1, 160, 960, 7, 7, (1, 1)), "f16", tmp_path, "sm_90")


@needs_nvcc
@pytest.mark.slow
def test_products_that_wait_for_each_other_are_seen(tmp_path: Path) -> None:
    """By sums that change before they are committed; nvcc says so, and it is no error."""
    source = Trial.drawn(TAIL).kernel(Tiling(GROUP_TILES.uneven)).source
    changed = _nth(r"tvm_builtin_ptx_wgmma_commit_group\w+\(\);", 1, r"_ptr_1[0] *= 2.0f; \g<0>")(source)
    assert [code.is_serialized for each in (source, changed) for code in compiled(each, tmp_path, "sm_90a").values()] == [False, True]


# What a loop over steps asks for, in its order: of warps the next fragments before the products of those that are there, and copies between
# them; of groups the copies while products go on, which are waited for a step later.
CALL = re.compile(r"tvm_builtin_(?:ptx|cuda)_(ldmatrix|mma|wgmma_commit|wgmma_wait|cp_async_commit|cp_async_wait)|for \(")
IN_TURN = {
    WARP_TILES.uneven: "ldmatrix cp_async_commit mma cp_async_wait ldmatrix mma",
    WARP_TILES.uneven_short: "ldmatrix cp_async_commit mma cp_async_wait ldmatrix mma",
    GROUP_TILES.uneven: "cp_async_wait wgmma_commit cp_async_commit wgmma_wait",
}


@pytest.mark.parametrize("tile", IN_TURN, ids=["mma.sync", "turned", "wgmma"])
def test_loads_and_copies_are_asked_for_before_products_that_need_them_not(tile: GpuTile) -> None:
    source = Trial.drawn(TAIL).kernel(Tiling(tile)).source
    called = [name for name, _ in itertools.groupby(match[1] or "for" for match in CALL.finditer(source, source.rindex("__global__")))]
    assert " ".join(called[called.index("for") + 1 :]).startswith(IN_TURN[tile])


@pytest.mark.parametrize("tile", [WARP_TILES.uneven, WARP_TILES.uneven_short], ids=["mma.sync", "turned"])
def test_images_in_tf32_are_rounded_and_not_cut_off(tile: GpuTile) -> None:
    """Whichever side of a product they are: 10 bits after the point stay."""
    sizes = ConvSizes(1, 16, 8, 8, 7, (1, 1))
    x, w, nothing = (
        np.full((1, 16, 8, 7), 1 + 0.75 * 2**-10, np.float32),
        np.ones((8, 16, 1, 1), np.float32),
        np.zeros((1, 8, 8, 7), np.float32),
    )
    arrays = {
        "X": innermost(x, "f32"),
        "W": filters(sizes, ELEMENTS["f32"]).pack(w),
        "R0": innermost(nothing, "f32"),
        "bias": np.zeros(8, np.float32),
    }
    trial = Trial(sizes, "f32", {**arrays, "Y": np.full((1, 8, 7, 8), np.nan, np.float32)}, nothing)
    np.testing.assert_array_equal(trial.kernel(Tiling(tile)).run(trial.arrays)["Y"], 16 * (1 + 2**-10))


def test_float32_is_rounded_as_tensor_cores_round_it() -> None:
    """To 10 bits after the point, halves away from 0; what is no number stays."""
    given = np.array([1 + 2**-11, -1 - 2**-11, 1 + 2**-11 - 2**-20, 1 + 2**-10, np.inf, np.nan], np.float32)
    np.testing.assert_array_equal(as_factor(given), [1 + 2**-10, -1 - 2**-10, 1, 1 + 2**-10, np.inf, np.nan])
    assert as_factor(np.float16([0.1]))[0] == np.float16(0.1)
