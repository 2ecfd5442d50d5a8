"""What never answers, what has no end, what is closed, and names that would steer a terminal."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from convc.backends.tvm.store.cache import find_cache
from convc.backends.tvm.store.tuned_forms import read_found
from convc.compiler.commands import console
from convc.compiler.commands.console import print_table
from convc.ir.legible import escaped, legible
from convc.tests.support.on_terminal import on_terminal
from convc.tests.support.shell import RELU, convc, refused

EVIL = 'graph @g(%"x\\u{1b}]0;evil\\u{7}": f32[N,3,4,4]) {\n  %y = relu(%"x\\u{1b}]0;evil\\u{7}")\n  return %y\n}\n'


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("x.jpg", ("run", "lenet5", "-b", "reference", "-i", "x.jpg")),
        ("net.cir", ("summary", "net.cir")),
        ("plan.json", ("plan", "lenet5", "--apply", "plan.json")),
    ],
)
def test_a_pipe_that_nobody_writes_to_is_refused_and_not_waited_for(tmp_path, name, words):
    os.mkfifo(tmp_path / name)
    refused(convc(*words, cwd=tmp_path), 2, "not a regular file", name)


@pytest.mark.parametrize("told", ["1000", "0", "-1", "two", "9" * 30])
def test_threads_that_the_environment_has_and_no_machine(tmp_path, monkeypatch, told):
    """A thousand of them made a command of a second take minutes."""
    (tmp_path / "net.cir").write_text(RELU)
    monkeypatch.setenv("TVM_NUM_THREADS", told)
    refused(convc("run", "net.cir", cwd=tmp_path), 2, f"TVM_NUM_THREADS is '{told}'; from 1 to ", "four a processor")


def test_a_pipe_in_a_cache_or_a_database_is_passed_over(tmp_path):
    (tmp_path / "cache").mkdir(mode=0o700)
    cache = find_cache({"CONVC_CACHE": str(tmp_path / "cache")})
    os.mkfifo(cache.folder / "kernel_0")
    os.mkfifo(tmp_path / "tuned.jsonl")
    assert cache.get("kernel_0") is None
    found, complaint = read_found(tmp_path / "tuned.jsonl")
    assert not found
    assert "not a regular file" in complaint


@pytest.mark.parametrize(("entry", "value"), [("images", 10**12), ("images", 0), ("level", 7), ("seed", -1)])
def test_absurd_numbers_in_a_plan_are_refused(tmp_path, entry, value):
    (tmp_path / "plan.json").write_text(json.dumps({"layers": {}, entry: value}))
    refused(convc("plan", "lenet5", "--apply", "plan.json", cwd=tmp_path), 3, f"'{entry}' is {value}, expected a")


@pytest.mark.parametrize(
    ("streams", "code", "said"),
    [("<&-", 0, ""), (">&-", 2, "cannot write the results"), ("2>&-", 0, ""), (">&- 2>&-", 2, ""), ("<&- >&- 2>&-", 2, "")],
)
def test_closed_streams(tmp_path, streams, code, said):
    (tmp_path / "net.cir").write_text(EVIL)
    shell = f"{sys.executable} -m convc summary net.cir {streams}"
    done = subprocess.run(["sh", "-c", shell], capture_output=True, text=True, cwd=tmp_path, check=False)
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    assert said in done.stderr


@pytest.mark.parametrize("words", [("summary", "--all"), ("run", "-b", "reference"), ("inspect",), ("summary", "--input", "z:1,3,4,4")])
def test_no_name_steers_a_terminal(tmp_path, words):
    (tmp_path / "net.cir").write_text(EVIL)
    done = convc(words[0], tmp_path / "net.cir", *words[1:])
    assert "\x1b" not in done.out + done.err
    assert "\x07" not in done.out + done.err


@pytest.mark.parametrize("name", ["hidden\x1b[8m", "turned\u202e", "no\udcffutf"])
def test_no_word_of_the_command_line_steers_a_terminal(name):
    """Names of files among them, which a pattern finds: neither colours pass, nor what turns letters around, nor half a letter."""
    shown = on_terminal("compile", "lenet5", "-t", name, "-o", "net", width=200)
    assert shown.code == 2
    assert f"unknown target '{legible(name)}'" in shown.out
    assert not set("\x1b\u202e\udcff") & set(shown.out)


def test_commands_have_one_way_to_a_terminal():
    """`echo` of console.py, which escapes."""
    files = Path(console.__file__).parent.glob("*.py")
    assert [path.name for path in files if "click.echo" in path.read_text()] == ["console.py"]


def test_a_table_of_fifty_thousand_lines_is_printed_at_once(capsys):
    rows = [(f"CONV3-{i}:", "[1x1x64]", f"params: {i}", f"c{i}\x1b[2J") for i in range(50_000)]
    start = time.process_time()
    print_table(rows)
    assert time.process_time() - start < 3
    out = capsys.readouterr().out
    assert out.count("\n") == len(rows)
    assert out.startswith("CONV3-0:      [1x1x64]  params: 0      c0\\u{1b}[2J\n")


def test_what_can_be_printed_stays_as_it_is():
    assert escaped("a\\b") == "a\\\\b"
    assert escaped("a\\b\x1b", backslash=False) == "a\\b\\u{1b}"
