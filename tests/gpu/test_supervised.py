"""Steps of which some fail, crash, hang or leave a device that answers no more."""

from __future__ import annotations

import functools
import os
import re
import signal
import time
from collections.abc import Callable

import pytest

from convc.tests.gpu.supervised import Step, Work, supervised

Found = list[str]
ALWAYS, NEVER = (functools.partial(bool, number) for number in (1, 0))  # whether the device answers
HANGS = 60.0  # seconds


def _note(word: str) -> Callable[[Found], None]:
    return lambda found: found.append(f"{word} in {os.getpid()}")


def _raise(found: Found) -> None:
    raise ValueError("no such thing\nand more")


def _steps(limit: float) -> list[Step[Found]]:
    return [
        Step("one", 60.0, _note("one")),
        Step("raises", 60.0, _raise),
        Step("two", 60.0, _note("two")),
        Step("crashes", 60.0, lambda found: os._exit(7)),
        Step("three", 60.0, _note("three")),
        Step("hangs", limit, lambda found: time.sleep(HANGS)),
        Step("interrupted", 60.0, lambda found: os.kill(os.getpid(), signal.SIGINT)),  # as by Ctrl-C, which all processes get
        Step("four", 60.0, _note("four")),
    ]


def _failed(found: Found, step: str, why: str) -> None:
    found.append(f"{step}: {why}")


@pytest.mark.parametrize(("answers", "processes"), [(ALWAYS, 3), (NEVER, 4)])
def test_each_step_is_tried_once_whatever_became_of_others(answers: Callable[[], bool], processes: int) -> None:
    """In the same process while that can be, in another one after a crash, a step that hung, or one that broke the device."""
    start = time.monotonic()
    *_, last = supervised(Work(_steps, (0.2,), _failed, answers), [])
    assert time.monotonic() - start < HANGS  # nobody waited for the step that hung
    assert [re.sub(r" in \d+$", "", line) for line in last] == [
        "one",
        "raises: ValueError: no such thing",
        "two",
        "crashes: its process ended with 7",
        "three",
        "hangs: not done in 0 s, and ended",
        "four",
    ]
    assert len({found[1] for line in last if (found := re.search(r" in (\d+)$", line))}) == processes


def _breaks(limit: float) -> list[Step[Found]]:
    raise ValueError(f"no limit is {limit}")


def test_what_never_begins_is_told(capfd: pytest.CaptureFixture[str]) -> None:
    *_, last = supervised(Work(_breaks, (0.2,), _failed, ALWAYS), [])
    assert last == ["the next step: its process ended with 1"]
    assert "ValueError: no limit is 0.2" in capfd.readouterr().err
