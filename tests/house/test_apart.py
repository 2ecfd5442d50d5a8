"""A process that calls are made in: it may crash, or hang, and the next call has another."""

from __future__ import annotations

import os
import signal
import time
from concurrent.futures.process import BrokenProcessPool
from types import FrameType
from typing import NoReturn

import pytest

from convc.tests.support.apart import Apart


def hang(caller: int) -> None:
    """Until the caller no longer waits."""
    os.kill(caller, signal.SIGUSR1)
    time.sleep(60)


def _time_is_up(number: int, frame: FrameType | None) -> NoReturn:
    raise TimeoutError


@pytest.mark.timeout(30)
def test_what_becomes_of_a_process_is_known_at_once_and_the_next_call_has_another() -> None:
    before = signal.signal(signal.SIGUSR1, _time_is_up)
    try:
        with Apart() as apart:
            first = apart(os.getpid)
            with pytest.raises(ValueError, match="invalid literal"):
                apart(int, "x")
            assert apart(os.getpid) == first != os.getpid()
            with pytest.raises(BrokenProcessPool):
                apart(os.abort)
            second = apart(os.getpid)
            with pytest.raises(TimeoutError):
                apart(hang, os.getpid())
            assert len({first, second, apart(os.getpid)}) == 3
    finally:
        signal.signal(signal.SIGUSR1, before)
    with pytest.raises(ProcessLookupError):
        os.kill(second, 0)
