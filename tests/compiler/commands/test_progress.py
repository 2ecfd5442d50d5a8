"""How far work has come, on a real terminal: shown while it lasts, gone when it is over, and never in files."""

from __future__ import annotations

import re
import threading
import time

import pytest

import convc as cc
from convc.backends.tvm.cuda.build import build_cuda
from convc.compiler.files.artifact import Artifact
from convc.compiler.report.progress_display import Display, ShownWork, aside, watched_in_notebooks
from convc.ir.progress import each, progress, watched_by, watcher
from convc.tests.support.on_terminal import on_terminal
from convc.tests.support.shell import convc

STEPS = re.compile(r"\x1b\[(\d*)([A-Za-z])|([\r\n])|([^\x1b\r\n]+)")
SLOW = ("verify", "resnet34", "-b", "reference")  # seconds, of which the first shows nothing


def screen(shown: str) -> list[str]:
    """What a terminal has at the end, of the few orders that are given here: up a line, clear it, colours."""
    lines, row = [""], 0
    for number, order, move, text in STEPS.findall(shown):
        if text:
            lines[row] += text
        elif move == "\n":
            row += 1
            lines += [""] * (row == len(lines))
        elif order == "A":
            row -= int(number or 1)
        elif order == "K":
            lines[row] = ""
    return [line for line in lines if line]


class Lines:
    """A surface for people who read tests."""

    def __init__(self):
        self.shown = []

    def show(self, tasks):
        self.shown.append([(task.what, *task.words()) for task in tasks])


def test_work_is_shown_with_its_time_left_and_then_gone():
    done = on_terminal(*SLOW, width=80)
    assert done.code == 0
    assert re.search(r"@resnet34 in float64.* \d+%.* left", done.out)
    assert re.search(r"convc +\d+ s so far", done.out)
    assert [line.split(":")[0] for line in screen(done.out) if not line.startswith(" ")] == ["reference"]


@pytest.mark.parametrize("where", ["pipe", "dumb", "quiet"])
def test_nothing_is_shown_where_nobody_looks(where: str) -> None:
    if where == "pipe":
        assert convc(*SLOW).err == ""
    else:
        shown = on_terminal(*SLOW, width=80, TERM="dumb") if where == "dumb" else on_terminal(*SLOW, "-q", width=80)
        assert "left" not in shown.out


def test_results_that_go_to_a_file_are_not_mixed_with_it(tmp_path):
    shown = on_terminal(*SLOW, "--json", width=80, out=tmp_path / "results").out
    assert "left" in shown
    assert "\x1b" not in (tmp_path / "results").read_text()
    assert screen(shown) == []


def test_quick_work_shows_nothing():
    surface = Lines()
    with Display(surface) as display, watched_by(display):
        for _ in each("quick", range(3)):
            time.sleep(0.01)
    assert surface.shown == []


def test_the_outermost_work_and_the_innermost_of_some_length():
    surface = Lines()
    with Display(surface) as display, watched_by(display), progress("whole", 4) as advance:
        advance(1)
        with progress("part", 10) as step:
            step(5)
            time.sleep(1.2)
            with aside():
                assert surface.shown[-1] == []
        for _ in range(100):
            with progress("brief", 1):
                time.sleep(0.005)
    assert [line[0] for line in surface.shown[0]] == ["whole"] or [line[0] for line in surface.shown[0]] == ["whole", "part"]
    assert ("part", " 50%", "1 s left") in {line for lines in surface.shown for line in lines}
    assert "brief" not in {line[0] for lines in surface.shown for line in lines}
    assert surface.shown[-1] == []


@pytest.mark.parametrize(
    ("total", "done", "taken", "words"),
    [
        (10, 5, 60, (" 50%", "1:00 left")),
        (10, 0, 5, ("  0%", "5 s so far")),
        (0, 0, 4000, ("", "1:06:40 so far")),
        (4, 9, 7, ("100%", "0 s left")),
    ],
)
def test_words_of_time(total, done, taken, words):
    assert ShownWork("work", total, done, time.monotonic() - taken).words() == words


def test_who_listens_is_told_from_one_thread_and_for_one_with():
    seen = []
    with Display(Lines()) as display:
        with watched_by(display):
            assert watcher() is display
            thread = threading.Thread(target=lambda: seen.append(watcher()))
            thread.start()
            thread.join()
        assert watcher() is None
    assert seen == [None]


def test_python_programs_show_nothing():
    assert watched_in_notebooks(watcher)() is None


class Told:
    """A watcher that remembers."""

    def __init__(self):
        self.work = {}

    def begin(self, what, total):
        self.work[what] = [total, 0]
        return what

    def advance(self, task, by):
        self.work[task][1] += by

    def end(self, task):
        pass


def test_an_artifact_tells_how_much_of_each_file_is_checked(tmp_path):
    made = cc.compile_network(cc.network("FC", image="N,8", classes=4)(), tmp_path / "made", check=False)
    with watched_by(told := Told()):
        Artifact.open(made.path).check()
    assert told.work.keys() == {f"checking {name}" for name in made.files}
    assert all(done == total > 0 for total, done in told.work.values())


def test_a_build_for_a_gpu_tells_of_its_kernels(tmp_path):
    net = cc.parse_graph("graph @g(%x: f32[N,8,4,4]) {\n  %y = relu(%x) : f32[N,8,4,4]\n  return %y\n}\n")
    with watched_by(told := Told()):
        build_cuda(net, tmp_path, batches=(1, 2), check=False, cached=False)
    assert told.work["writing the kernels of each batch"] == [2, 2]
    total, done = told.work["lowering kernels"]
    assert done == total > 0
