"""The directory of compiled kernels: what is read back, what is not trusted, what is thrown away, and several processes at once."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from convc.backends.tvm.store import cache as store
from convc.backends.tvm.store.cache import Cache, find_cache, usable_cache
from convc.ir.errors import UsageError
from convc.tests.support.spoiling import emptied, flipped, shortened, writable_by_others

MIB = 1 << 20


def key(number: int) -> str:
    return f"kernel_{number:032x}"


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    made = Cache(tmp_path / "deep" / "kernels", MIB)
    assert made.obstacle() == ""
    assert not made.is_read_only
    return made


def test_what_was_put_is_got_and_only_its_owner_may_read_it(cache: Cache) -> None:
    assert cache.get(key(1)) is None
    cache.put(key(1), b"code")
    cache.put(key(2), b"")
    assert (cache.get(key(1)), cache.get(key(2))) == (b"code", b"")
    assert cache.size() == (2, 4 + 2 * 64)
    assert cache.folder.stat().st_mode & 0o777 == 0o700
    assert {path.stat().st_mode & 0o777 for path in cache.folder.iterdir()} == {0o600}


def of_another_kernel(path: Path) -> None:
    Cache(path.parent, MIB).put(key(7), b"other code")
    os.replace(path.parent / key(7), path)


def a_link(path: Path) -> None:
    path.rename(path.parent / "elsewhere")
    path.symlink_to(path.parent / "elsewhere")


@pytest.mark.parametrize("spoil", [shortened, flipped, emptied, of_another_kernel, writable_by_others, a_link, Path.unlink])
def test_an_entry_that_was_touched_is_none_until_it_is_put_again(cache: Cache, spoil: Callable[[Path], None]) -> None:
    cache.put(key(1), b"code")
    spoil(cache.folder / key(1))
    assert cache.get(key(1)) is None
    cache.put(key(1), b"code")
    assert cache.get(key(1)) == b"code"


def test_what_cannot_be_kept_is_no_fault(cache: Cache) -> None:
    (cache.folder / key(1)).mkdir()
    cache.put(key(1), b"code")
    before = len(os.listdir("/dev/fd"))
    assert cache.get(key(1)) is None
    assert os.listdir(cache.folder) == [key(1)]
    assert len(os.listdir("/dev/fd")) == before


def test_what_was_used_longest_ago_goes_first(tmp_path: Path) -> None:
    cache = Cache(tmp_path, 3 * 164)  # room for three
    for number, age in enumerate((400, 300, 200, 100)):
        cache.put(key(number), bytes(100))
        os.utime(tmp_path / key(number), (time.time() - age,) * 2)
    assert cache.get(key(0)) is not None  # is used now
    cache.trim()
    assert sorted(os.listdir(tmp_path)) == [key(0), key(2), key(3)]


def test_trimming_takes_what_killed_processes_left_and_nothing_of_others(tmp_path: Path) -> None:
    names = [f".{key(1)}.old", f".{key(1)}.new", "thesis.tex", ".profile", "kernel_notes"]
    for name in names:
        (tmp_path / name).write_bytes(bytes(8 if name.startswith(f".{key(1)}") else 2 * MIB))
    os.utime(tmp_path / names[0], (time.time() - 7200,) * 2)
    Cache(tmp_path, MIB).trim()
    assert sorted(os.listdir(tmp_path)) == sorted(names[1:])


def test_the_environment_says_where_and_how_much(tmp_path: Path) -> None:
    assert find_cache({"CONVC_CACHE": "/a/b", "CONVC_CACHE_MIB": "3"}) == Cache(Path("/a/b"), 3 * MIB)
    assert find_cache({"XDG_CACHE_HOME": "/x"}) == Cache(Path("/x/convc"), 2048 * MIB)
    assert find_cache({"XDG_CACHE_HOME": "x"}) == Cache(Path.home() / ".cache" / "convc", 2048 * MIB)
    assert find_cache({"CONVC_CACHE": "off"}) is None
    assert usable_cache({"CONVC_CACHE": "off"}) == (None, "")
    assert usable_cache({"CONVC_CACHE": str(tmp_path)}) == (Cache(tmp_path, 2048 * MIB), "")


def test_without_a_home_directory_there_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "nowhere")
    assert find_cache({}) is None


@pytest.mark.parametrize(
    ("environ", "complaint"),
    [
        ({"CONVC_CACHE": "here"}, "CONVC_CACHE is 'here'; it takes an absolute path, or off"),
        ({"CONVC_CACHE_MIB": "0"}, "CONVC_CACHE_MIB is '0'"),
        ({"CONVC_CACHE_MIB": "-5"}, "CONVC_CACHE_MIB is '-5'"),
        ({"CONVC_CACHE_MIB": "1 GiB"}, "CONVC_CACHE_MIB is '1 GiB'"),
    ],
)
def test_an_environment_that_makes_no_sense_is_refused(environ: dict[str, str], complaint: str) -> None:
    with pytest.raises(UsageError, match=complaint):
        find_cache(environ)


def test_a_directory_that_others_can_write_to_is_not_used(tmp_path: Path) -> None:
    tmp_path.chmod(0o777)
    cache, obstacle = usable_cache({"CONVC_CACHE": str(tmp_path)})
    assert cache is None
    assert f"others can write to {tmp_path}, and what is kept gets executed; set CONVC_CACHE" in obstacle


def test_a_directory_of_another_user_is_not_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    owner = os.geteuid()
    monkeypatch.setattr(store, "ROOT", owner + 2)
    monkeypatch.setattr(os, "geteuid", lambda: owner + 1)
    assert "belongs to another user; set CONVC_CACHE" in usable_cache({"CONVC_CACHE": str(tmp_path)})[1]


def test_what_root_has_warmed_is_read(cache: Cache, monkeypatch: pytest.MonkeyPatch) -> None:
    """Unless others may write to it."""
    owner = os.geteuid()
    cache.put(key(1), b"code")
    cache.put(key(2), b"code")
    writable_by_others(cache.folder / key(2))
    monkeypatch.setattr(store, "ROOT", owner)
    monkeypatch.setattr(os, "geteuid", lambda: owner + 1)
    assert (cache.obstacle(), cache.get(key(1)), cache.get(key(2))) == ("", b"code", None)


ENTRY = f"kernel_{0:032x}"


def test_a_directory_that_cannot_be_written_is_read() -> None:
    """As a user who may: root may write everywhere."""
    with tempfile.TemporaryDirectory(dir="/tmp") as name:  # where pytest keeps its folders others may not go
        place = Path(name)
        made = Cache(place, 1 << 20)
        made.put(ENTRY, b"content")
        user = os.getuid() or 65534
        for path in (place, *place.iterdir()):
            os.chown(path, user, -1)
        place.chmod(0o555)
        before = os.getresuid()
        os.setresuid(user, user, before[2])
        try:
            cache, obstacle = usable_cache({"CONVC_CACHE": name})
            assert (cache, obstacle) == (Cache(place, 2048 << 20), "")
            assert cache.get(ENTRY) == b"content"
            assert cache.is_read_only
            cache.put(ENTRY, b"other")
            cache.trim()
            assert cache.get(ENTRY) == b"content"
        finally:
            os.setresuid(*before)
            place.chmod(0o755)


def test_a_directory_that_cannot_be_made_is_not_used(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    cache, obstacle = usable_cache({"CONVC_CACHE": str(tmp_path / "file" / "kernels")})
    assert cache is None
    assert "Not a directory; set CONVC_CACHE" in obstacle


HAMMER = """
import sys
from pathlib import Path
from convc.backends.tvm.store.cache import Cache

cache = Cache(Path(sys.argv[1]), 60 * 1064)  # less than all of them
for turn in range(2000):
    number = turn * int(sys.argv[2]) % 101
    key, code = f"kernel_{number:032x}", bytes([number]) * 1000
    assert cache.get(key) in (None, code)
    cache.put(key, code)
    if turn % 50 == 0:
        cache.trim()
cache.trim()
"""


def test_processes_share_a_directory_without_a_lock(cache: Cache) -> None:
    runs = [
        subprocess.Popen([sys.executable, "-c", HAMMER, cache.folder, str(step)], stderr=subprocess.PIPE, text=True) for step in (1, 7, 13)
    ]
    failures = [run.communicate()[1] for run in runs]
    assert failures == ["", "", ""]
    kept, size = cache.size()
    assert 0 < size <= 60 * 1064
    assert all(cache.get(path.name) is not None for path in cache.folder.iterdir())
    assert kept == len(os.listdir(cache.folder))


@pytest.mark.parametrize("spoil", [shortened, flipped, emptied, of_another_kernel, writable_by_others, a_link, Path.unlink])
def test_what_is_large_is_mapped_by_the_same_rules(cache: Cache, spoil: Callable[[Path], None]) -> None:
    cache.put(key(1), iter([b"weights", memoryview(b" in pieces")]))
    pages = cache.mapped(key(1))
    assert pages is not None
    assert (bytes(pages), pages.flags.writeable, pages.ctypes.data % 64) == (b"weights in pieces", False, 0)
    spoil(cache.folder / key(1))
    assert cache.mapped(key(1)) is None


@pytest.mark.skipif(not Path("/proc/self/mem").exists(), reason="no file is known here that can be opened and not read")
def test_what_cannot_be_read_is_not_there() -> None:
    assert Cache(Path("/proc/self"), 1 << 20).get("mem") is None


def test_what_cannot_be_mapped_is_not_there(cache: Cache, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*given: object) -> object:
        raise OSError(errno.ENODEV, "No such device")

    cache.put(key(1), b"content")
    assert cache.mapped(key(1)) is not None
    monkeypatch.setattr(np, "memmap", refused)
    assert cache.mapped(key(1)) is None
    assert cache.get(key(1)) == b"content"


def test_what_was_dropped_is_gone(cache: Cache) -> None:
    cache.put(key(1), b"content")
    for _ in range(2):
        cache.drop(key(1))
        assert cache.get(key(1)) is None


def test_pages_stay_when_their_entry_goes(cache: Cache) -> None:
    cache.put(key(1), b"weights")
    pages = cache.mapped(key(1))
    cache.put(key(1), b"others!")
    (cache.folder / key(1)).unlink()
    assert pages is not None
    assert bytes(pages) == b"weights"
