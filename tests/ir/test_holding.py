"""What is replaced is there at every moment, for readers and after a kill; what killed processes left is gone with the next write."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading

import pytest

from convc.ir.errors import UsageError
from convc.ir.files import replace_directory, scratch_folder, swap, write_file, write_together
from convc.ir.holding import held_folder, new_folder, new_token, sweep

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


def test_of_files_that_belong_together_a_kill_leaves_the_old_ones(tmp_path):
    write_together(tmp_path, {"w.data": [b"old"], "w.onnx": [b"old"]})
    killed(
        tmp_path,
        "token = new_token()\nmade = [new_file(folder / name, token) for name in ('w.data', 'w.onnx')]\n"
        "set_aside(folder / 'w.data', token)\nos.replace(made[0][0], folder / 'w.data')\nnext(die())",
    )
    assert (tmp_path / "w.data").read_bytes() != b"old"
    sweep(tmp_path)
    assert [(tmp_path / name).read_bytes() for name in ("w.data", "w.onnx")] == [b"old", b"old"]
    assert names(tmp_path) == ["w.data", "w.onnx"]


def test_of_files_that_belong_together_all_come_back_where_one_fails(tmp_path):
    old = {"a": [b"old"], "b": [b"old"], "c": [b"old"]}
    write_together(tmp_path, old)

    def chunks():
        next(tmp_path.glob(".b.*")).unlink()
        yield b"new"

    with pytest.raises(UsageError, match="cannot write"):
        write_together(tmp_path, {"a": [b"new"], "b": [b"new"], "c": chunks()})
    assert {name: [(tmp_path / name).read_bytes()] for name in names(tmp_path)} == old


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
