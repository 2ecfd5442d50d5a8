"""Bounds by physics: what no time can be below."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from convc.ir.limits import CLOCKS, MachineLimits, cache_bytes

MACHINE = MachineLimits(flops=100e9, bandwidth=10e9, cache=1e6)


def test_arithmetic_takes_its_time():
    assert MACHINE.least(1e9) == pytest.approx(0.01 / CLOCKS)
    assert MACHINE.least(1e9, saved=4) == pytest.approx(0.0025 / CLOCKS)


def test_so_does_what_no_cache_holds():
    assert MACHINE.least(0, 1e6) == 0
    assert MACHINE.least(0, 101e6) == pytest.approx(0.01 / CLOCKS)
    assert MACHINE.least(1e9, 51e6) == MACHINE.least(1e9), "the longer of both"
    assert MachineLimits(100e9).least(0, 1e15) == 0, "nobody measured the memory"
    assert MachineLimits(100e9, 10e9).least(0, 1e15) == 0, "nobody knows the caches"


def cache(cpus: Path, cpu: int, index: int, level: int, size: str, shared: str) -> None:
    folder = cpus / f"cpu{cpu}" / "cache" / f"index{index}"
    folder.mkdir(parents=True)
    for name, text in (("level", str(level)), ("size", size), ("shared_cpu_list", shared)):
        (folder / name).write_text(text + "\n")


def test_caches_of_the_last_level_are_counted_once_each(tmp_path: Path):
    for cpu in range(4):
        cache(tmp_path, cpu, 0, 1, "32K", str(cpu))
        cache(tmp_path, cpu, 1, 3, "32M", "0-1" if cpu < 2 else "2-3")
    assert cache_bytes(tmp_path) == 64 << 20


@pytest.mark.parametrize(("size", "counted"), [("32768K", 32 << 20), ("32M", 32 << 20), ("1G", 1 << 30), ("4096", 4096)])
def test_units_of_a_cache(tmp_path: Path, size: str, counted: int):
    cache(tmp_path, 0, 2, 3, size, "0")
    assert cache_bytes(tmp_path) == counted


def test_a_machine_that_says_nothing_of_its_caches(tmp_path: Path):
    assert cache_bytes(tmp_path / "none") == math.inf
    cache(tmp_path, 0, 0, 2, "much", "0")
    assert cache_bytes(tmp_path) == math.inf
