"""What is made of CUDA's runtime is given back to it."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from convc.backends.tvm.gpus import streams
from convc.backends.tvm.gpus.streams import Stream
from convc.ir.errors import KernelFault


class Runtime:
    """One of which every call succeeds but that which `fails`, and is counted."""

    def __init__(self, fails: str = "") -> None:
        self.calls, self.fails = Counter[str](), fails

    def cudaGetErrorString(self, error: int) -> bytes:
        return b"unspecified launch failure"

    def __getattr__(self, name: str) -> Callable[..., int]:
        def call(*_: Any) -> int:
            self.calls[name] += 1
            return 719 if name == self.fails else 0

        return call


def test_nothing_that_is_made_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    """Events of streams that are waited for, with each run one; graphs, and what is made of them; also of a capture that fails."""
    runtime = Runtime()
    monkeypatch.setattr(streams, "library", lambda: runtime)
    stream = Stream()
    stream.follow(0)
    with stream.recorded() as recording:
        stream.copy(1, 2, 4)
    with pytest.raises(ZeroDivisionError), stream.recorded():
        raise ZeroDivisionError
    del recording, stream
    calls = runtime.calls
    assert calls["cudaEventCreateWithFlags"] == calls["cudaEventDestroy"] == 1
    assert calls["cudaStreamBeginCapture"] == calls["cudaStreamEndCapture"] == 2
    assert calls["cudaGraphInstantiate"] == calls["cudaGraphDestroy"] == 1
    assert calls["cudaGraphExecDestroy"] == calls["cudaStreamCreateWithFlags"] == calls["cudaStreamDestroy"] == 1


def test_one_thread_captures_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    runtime = Runtime()
    monkeypatch.setattr(streams, "library", lambda: runtime)

    def capture() -> None:
        with Stream().recorded():
            pass

    other = threading.Thread(target=capture)
    with Stream().recorded():
        other.start()
        other.join(0.1)
        assert other.is_alive()
        assert runtime.calls["cudaStreamBeginCapture"] == 1
    other.join()
    assert runtime.calls["cudaStreamBeginCapture"] == 2


def test_who_calls_after_a_failure_is_not_told_of_it_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """CUDA's runtime would, also other libraries in the same thread."""
    runtime = Runtime("cudaStreamSynchronize")
    monkeypatch.setattr(streams, "library", lambda: runtime)
    with pytest.raises(KernelFault, match=r"^CUDA did not finish: unspecified launch failure$"):
        Stream().wait()
    assert runtime.calls["cudaGetLastError"] == 1
