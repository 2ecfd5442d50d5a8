"""What is replaced is there at every moment, for readers and after a kill; what killed processes left is gone with the next write."""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
import signal
import subprocess
import sys
import threading
from contextlib import contextmanager

import pytest

from convc.ir.errors import UsageError
from convc.ir.files import replace_directory, scratch_folder, swap, write_file, write_together
from convc.ir.holding import _new, held_folder, new_folder, new_token, sweep  # between a name and its hold there is no other way in

IMPORTS = """
import os, signal, sys
from pathlib import Path
from convc.ir.files import replace_directory, scratch_folder, swap, write_file, write_together
from convc.ir.holding import exchange, held_folder, new_file, new_folder, new_token, set_aside
folder = Path(sys.argv[1])

def die():
    os.kill(os.getpid(), signal.SIGKILL)
    yield b""
"""
GENERATIONS = 300


def killed(folder, code):
    """A process that runs `code` to the point where it dies without a chance to tidy up."""
    done = subprocess.run([sys.executable, "-c", IMPORTS + code, str(folder)], check=False)
    assert done.returncode == -signal.SIGKILL


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def anything(path):
    return []


def put(path, text):
    with replace_directory(path, anything) as draft:
        for name in ("a", "b"):
            (draft / name).write_text(text)


def test_readers_find_a_whole_folder_beside_hundreds_of_replacements(tmp_path):
    put(tmp_path / "art", "0")
    done = threading.Event()

    def replace():
        for number in range(GENERATIONS):
            put(tmp_path / "art", str(number))
        done.set()

    writer = threading.Thread(target=replace)
    writer.start()
    reads = 0
    while not done.is_set():
        hold = held_folder(tmp_path / "art")
        first = (hold.place / "a").read_text()
        assert (hold.place / "b").read_text() == first
        hold.close()
        reads += 1
    writer.join()
    assert reads > 10
    assert names(tmp_path) == ["art"]


def test_the_name_is_never_without_a_folder(tmp_path):
    put(tmp_path / "art", "0")
    done = threading.Event()
    missed = []

    def look():
        while not done.is_set():
            try:
                os.stat(tmp_path / "art")
            except FileNotFoundError as error:
                missed.append(error)

    reader = threading.Thread(target=look)
    reader.start()
    for number in range(GENERATIONS):
        put(tmp_path / "art", str(number))
    done.set()
    reader.join()
    assert not missed


def test_what_a_reader_holds_stays_until_it_lets_go(tmp_path):
    put(tmp_path / "art", "old")
    reader = held_folder(tmp_path / "art")
    new, hold = new_folder(tmp_path / "art", new_token())
    (new / "a").write_text("new")
    swap(new, tmp_path / "art", new_token())
    hold.close()
    sweep(tmp_path)
    assert (reader.place / "a").read_text() == "old"
    assert (tmp_path / "art" / "a").read_text() == "new"
    reader.close()
    sweep(tmp_path)
    assert names(tmp_path) == ["art"]


def test_leftovers_of_the_killed_are_swept_by_the_next_write_and_those_of_the_living_are_not(tmp_path):
    put(tmp_path / "art", "0")
    killed(
        tmp_path, "with replace_directory(folder / 'art', lambda path: []) as draft:\n    (draft / 'x').write_text('x')\n    next(die())"
    )
    living, hold = new_folder(tmp_path / "art", new_token())
    for write in ("write_file(folder / 'net.onnx', die())", "write_together(folder, {'w.data': [b'1'], 'w.onnx': die()})"):
        killed(tmp_path, write)
        assert len(names(tmp_path)) > 2, "the kill left something, and took away what the one before had left"
    write_file(tmp_path / "other.txt", b"1")
    assert names(tmp_path) == sorted([living.name, "art", "other.txt"])
    hold.close()


@pytest.mark.parametrize("is_removed", [True, False])
def test_a_new_folder_that_a_slow_sweep_has_alone_is_waited_for(tmp_path, is_removed):
    """Swept between its name and its hold: the name is still there as it is tried again."""
    sweeps = []

    def made(name):
        name.mkdir()
        if not sweeps:
            lock = os.open(name, os.O_RDONLY)
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            sweeps.append(threading.Timer(0.05, lambda: (is_removed and name.rmdir(), os.close(lock))))
            sweeps[0].start()

    name, hold = _new(tmp_path / "new", made, os.O_DIRECTORY)
    sweeps[0].join()
    assert hold.is_still(name)
    assert name.is_dir()
    hold.close()


def test_a_name_that_is_taken_is_not_anybody_elses(tmp_path):
    token = new_token()
    first, hold = new_folder(tmp_path / "art", token)
    with pytest.raises(FileExistsError):
        new_folder(tmp_path / "art", token)
    hold.close()
    assert names(tmp_path) == [first.name]


def test_a_kill_after_the_exchange_leaves_the_new_folder(tmp_path):
    put(tmp_path / "art", "old")
    killed(
        tmp_path,
        "new, hold = new_folder(folder / 'art', new_token())\n(new / 'a').write_text('new')\nexchange(new, folder / 'art')\nnext(die())",
    )
    assert (tmp_path / "art" / "a").read_text() == "new"
    write_file(tmp_path / "other.txt", b"1")
    assert names(tmp_path) == ["art", "other.txt"]


def test_without_an_exchange_a_kill_between_two_renames_loses_nothing(tmp_path):
    put(tmp_path / "art", "old")
    killed(
        tmp_path,
        "token = new_token()\nnew, hold = new_folder(folder / 'art', token)\n(new / 'a').write_text('new')\n"
        "set_aside(folder / 'art', token)\nnext(die())",
    )
    assert not (tmp_path / "art").exists()
    sweep(tmp_path)
    assert (tmp_path / "art" / "a").read_text() == "old"
    assert names(tmp_path) == ["art"]


def test_without_an_exchange_folders_are_replaced_all_the_same(tmp_path):
    put(tmp_path / "art", "old")
    token = new_token()
    new, hold = new_folder(tmp_path / "art", token)
    (new / "a").write_text("new")
    hold.close()
    swap(new, tmp_path / "art", token, exchange=lambda one, other: False)
    assert (tmp_path / "art" / "a").read_text() == "new"
    assert names(tmp_path) == ["art"]


BETWEEN = """
replace, names = os.replace, iter(range(3))
os.replace = lambda *paths: next(die()) if next(names) == 1 else replace(*paths)
write_together(folder, {"w.data": [b"new"], "w.onnx": [b"new"]})
"""


def contents(folder):
    return {path.name: path.read_text() for path in folder.iterdir()}


@pytest.mark.parametrize("before", [("w.data", "w.onnx"), ("w.onnx",), ("w.data",), ()])
def test_of_files_that_belong_together_a_kill_between_two_leaves_the_new_ones(tmp_path, before):
    for name in before:
        (tmp_path / name).write_text("old")
    killed(tmp_path, BETWEEN)
    assert (tmp_path / "w.data").read_text() == "new"
    assert not (tmp_path / "w.onnx").exists() or (tmp_path / "w.onnx").read_text() == "old"
    sweep(tmp_path)
    assert contents(tmp_path) == {"w.data": "new", "w.onnx": "new"}


def test_of_files_that_belong_together_a_kill_before_the_first_leaves_the_old_ones(tmp_path):
    old = {"w.data": "old", "w.onnx": "old"}
    write_together(tmp_path, {name: [text.encode()] for name, text in old.items()})
    killed(tmp_path, BETWEEN.replace("== 1", "== 0"))
    assert len(names(tmp_path)) > 4, "both drafts, and a journal"
    sweep(tmp_path)
    assert contents(tmp_path) == old


def by_hand(path, text):
    path.write_text(text)


def as_editors_do(path, text):
    path.with_name("draft").write_text(text)
    os.replace(path.with_name("draft"), path)


@pytest.mark.parametrize("write", [by_hand, as_editors_do])
@pytest.mark.parametrize("touched", [("w.data",), ("w.onnx",), ("w.data", "w.onnx")])
def test_what_the_user_wrote_after_the_kill_is_his(tmp_path, write, touched):
    write_together(tmp_path, {"w.data": [b"old"], "w.onnx": [b"old"]})
    killed(tmp_path, BETWEEN)
    for name in touched:
        write(tmp_path / name, "own")  # as many bytes as there were
    expected = {"w.data": "new", "w.onnx": "old"} | dict.fromkeys(touched, "own")
    for _ in range(2):
        write_file(tmp_path / "other.txt", b"1")
        left = contents(tmp_path)
        assert expected.items() <= left.items()
        assert "old" in left.values() or left["w.onnx"] == "own", "what there may be no other copy of stays"
        assert not [name for name in left if name.startswith(".") and ".old." not in name], "drafts and journals go"


def test_leftovers_in_an_archive_put_nothing_over_what_is_beside_them(tmp_path):
    made, place = tmp_path / "made", tmp_path / "place"
    made.mkdir()
    write_together(made, {"w.data": [b"old"], "w.onnx": [b"old"]})
    killed(made, BETWEEN)
    place.mkdir()
    for name in ("w.data", "w.onnx", "mine.txt"):
        (place / name).write_text("own")
    for path in made.iterdir():
        if path.name.startswith("."):
            shutil.copy2(path, place)
    (place / ".mine.txt.00000000.old.convc").write_text("evil")
    (place / ".z.00000000.convc").write_text("x")
    (place / ".lost.00000000.convc").symlink_to("mine.txt")
    write_file(place / "other.txt", b"1")
    assert {name: contents(place)[name] for name in ("w.data", "w.onnx", "mine.txt")} == dict.fromkeys(
        ("w.data", "w.onnx", "mine.txt"), "own"
    )


def test_what_was_set_aside_does_not_go_over_a_link_that_leads_nowhere(tmp_path):
    (tmp_path / ".w.00000000.old.convc").write_text("old")
    (tmp_path / "w").symlink_to("nowhere")
    sweep(tmp_path)
    assert os.readlink(tmp_path / "w") == "nowhere"
    (tmp_path / "w").unlink()
    sweep(tmp_path)
    assert contents(tmp_path) == {"w": "old"}


JOURNALS = [
    b"",
    b"\xff",
    b"[" * 60_000,
    b"[" + b"1," * 40_000 + b"1]",
    b"7",
    b"[7]",
    b"[[]]",
    b'[["", [1, 1, 1], null]]',
    b'[["x", [1, 1], null]]',
    b'[["x", [1, 1, "1"], null]]',
    b'[["x", [1, 1, true], 7]]',
    b'[["x", {"a": 1}, [1, -1, 1]]]',
    b'[["../x", [1, 1, 1], null]]',
    b'[["a\\u0000", [1, 1, 1], null]]',
    b'[["\\ud800", [1, 1, 1], null]]',
    b'[["x", [1, 1, ' + b"1" * 5000 + b"], null]]",
]


@pytest.mark.parametrize("text", JOURNALS, ids=range(len(JOURNALS)))
def test_journals_that_nobody_wrote_say_nothing(tmp_path, text):
    (tmp_path / "x").write_text("mine")
    (tmp_path / ".x.00000000.convc").write_text("evil")
    (tmp_path / ".x.00000000.all.convc").write_bytes(text)
    sweep(tmp_path)
    assert contents(tmp_path) == {"x": "mine"}


def test_a_leftover_that_another_process_takes_meanwhile_does_not_hide_the_others(tmp_path, monkeypatch):
    for number in range(20):
        (tmp_path / f".x.{number:08x}.convc").write_text("x")
    scan = os.scandir

    @contextmanager
    def racing(folder):
        with scan(folder) as entries:
            for first, *others in [list(entries)]:
                os.unlink(first.path)
                yield iter([first, *others])

    monkeypatch.setattr("convc.ir.holding.os.scandir", racing)
    sweep(tmp_path)
    monkeypatch.undo()
    assert not names(tmp_path)


def test_of_files_that_belong_together_all_come_back_where_one_fails(tmp_path):
    old = {"a": [b"old"], "b": [b"old"], "c": [b"old"]}
    write_together(tmp_path, old)

    def chunks():
        next(tmp_path.glob(".b.*")).unlink()
        yield b"new"

    with pytest.raises(UsageError, match="cannot write"):
        write_together(tmp_path, {"a": [b"new"], "b": [b"new"], "c": chunks()})
    assert {name: [(tmp_path / name).read_bytes()] for name in names(tmp_path)} == old


def test_what_cannot_be_put_back_stays_beside(tmp_path, monkeypatch):
    write_together(tmp_path, {"a": [b"old"], "b": [b"old"]})
    replace, full = os.replace, OSError(errno.EIO, "bad disk")
    calls = iter(range(9))

    def fails(source, target):
        if next(calls):
            raise full
        replace(source, target)

    monkeypatch.setattr("convc.ir.files.os.replace", fails)
    with pytest.raises(UsageError, match="bad disk"):
        write_together(tmp_path, {"a": [b"new"], "b": [b"new"]})
    monkeypatch.undo()
    assert sorted(contents(tmp_path).values()) == ["new", "old", "old", "old"]


def test_temporary_folders_of_the_killed_are_swept_too(tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    killed(tmp_path, "with scratch_folder() as place:\n    (place / 'x').write_text('x')\n    next(die())")
    assert len(names(tmp_path)) == 1
    with scratch_folder() as place:
        assert names(tmp_path) == [place.name]
    assert not names(tmp_path)


def test_what_others_named_so_is_left_alone(tmp_path):
    (tmp_path / ".mine.convc").write_text("1")
    (tmp_path / ".mine.12345678.old").write_text("1")
    write_file(tmp_path / "x", b"1")
    assert names(tmp_path) == [".mine.12345678.old", ".mine.convc", "x"]
