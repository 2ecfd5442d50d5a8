"""Forms of kernels timed turn by turn, in a session of TVM's RPC: of this process, or of a server that a tracker lends."""

from __future__ import annotations

import importlib
import logging
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ....ir.errors import BackendMissing
from ....ir.files import temporary_folder
from ....ir.types import Array
from ..host import host_cpu, reason, tvm
from .compiling import library
from .roofs import multiply_adds, reads

__all__ = ["FAST", "SESSION", "Bench", "OpenBench", "local_bench", "rpc"]

COLD_BYTES = 64 << 20  # of copies of a kernel's weights, used in turn: in a network they come from beyond a core's cache as well
MOST_COPIES = 16
SESSION = 300  # seconds after which a server ends a session by itself
PEAK_TURNS = 200
READ_TURNS = 20
FAST = 0.25  # of turns, the fastest, that count
CAUGHT = "Error caught from RPC call:"  # what TVM says before what a server said


@dataclass(frozen=True)
class PreparedForms:
    """Functions of one signature, loaded, and their arguments, the one at `weights` in several copies."""

    evaluators: list[Any]
    arguments: list[Any]
    weights: int
    copies: list[Any]


class Bench:
    """A session whose kernels run on so many threads; one that is lent may end at any time.

    Raises: BackendMissing where that is another processor, or has fewer threads; by any method when a session that is lent has ended.
    """

    def __init__(self, session: Any, threads: int, name: str, is_lent: bool = False) -> None:
        self.session = session
        self.device = session.cpu()
        self.name, self.is_lent = name, is_lent
        self._libraries = 0
        with self._answering():
            processor = str(session.get_function("tvm.codegen.llvm.GetHostCPUName")())
            session.get_function("runtime.config_threadpool")(1, threads)
            have = int(session.get_function("runtime.NumThreads")())
        if processor != host_cpu():
            raise BackendMissing(f"{name} has a processor '{processor}', this machine '{host_cpu()}'; tune on machines of one kind")
        if have < threads:
            raise BackendMissing(f"{name} computes with {have} threads, {threads} are needed; start it with TVM_NUM_THREADS={threads}")

    def prepare(self, libraries: Sequence[tuple[Path, int]], function: Any, weights: int) -> PreparedForms:
        """Load libraries of so many functions each, all called like `function`; arguments hold noise."""
        with self._answering():
            return self._prepared(libraries, function, weights)

    def _prepared(self, libraries: Sequence[tuple[Path, int]], function: Any, weights: int) -> PreparedForms:
        evaluators: list[Any] = []
        for path, count in libraries:
            self._libraries += 1  # a linker returns what it first found under a name
            name = f"forms{self._libraries}.so"
            self.session.upload(bytearray(path.read_bytes()), name)  # given a path, it leaves the file open where it fails
            module = self.session.load_module(name)
            evaluators += [module.time_evaluator(f"form{i}", self.device, number=1, repeat=1) for i in range(count)]
        arguments = [self._noise(param) for param in function.params]
        param = function.params[weights]
        size = 4 * int(np.prod([int(extent) for extent in param.shape]))
        copies = max(1, min(MOST_COPIES, COLD_BYTES // size))
        return PreparedForms(evaluators, arguments, weights, [self._noise(param) for _ in range(copies)])

    def times(self, prepared: PreparedForms, chosen: Sequence[int], rounds: int) -> Array:
        """[rounds,chosen] in milliseconds, turn by turn; every other round backwards, so that no form always follows the same one."""
        arguments = list(prepared.arguments)
        taken = np.zeros((rounds, len(chosen)))
        turn = 0
        for i in range(rounds):
            for at in range(len(chosen))[:: 1 if i % 2 else -1]:
                turn += 1
                arguments[prepared.weights] = prepared.copies[turn % len(prepared.copies)]
                with self._answering():
                    taken[i, at] = prepared.evaluators[chosen[at]](*arguments).mean * 1e3
        return taken

    def roofs(self, threads: int) -> tuple[float, float]:
        """Multiply-adds and bytes read a millisecond, at most."""
        return self.peak(threads), self._rate(*reads(threads), READ_TURNS)

    def peak(self, threads: int) -> float:
        """Multiply-adds a millisecond, at most."""
        return self._rate(*multiply_adds(threads), PEAK_TURNS)

    def _rate(self, function: Any, amount: int, turns: int) -> float:
        with temporary_folder() as folder:
            # copies are made of the result: there are no weights, and what is read is as large as it is
            prepared = self.prepare([(library([function], folder / "roof.so"), 1)], function, 1)
            return amount / float(self.times(prepared, [0], turns).min())

    @contextmanager
    def _answering(self) -> Generator[None]:
        """Whatever TVM raises when a session has ended, of many kinds, as a refusal of its server."""
        try:
            yield
        except TimeoutError as error:
            raise BackendMissing(f"{self.name} has ended the session after {SESSION} s; let it measure fewer forms, by --trials") from error
        except (RuntimeError, OSError) as error:
            if not self.is_lent:
                raise
            why = reason(RuntimeError(str(error).split(CAUGHT)[-1]))
            raise BackendMissing(f"{self.name} does not go on: {why}; start it again") from error

    def _noise(self, param: Any) -> Any:
        tensor = tvm().runtime.empty([int(extent) for extent in param.shape], str(param.dtype), self.device)
        self.session.get_function("tvm.contrib.random.random_fill_for_measure")(tensor)
        return tensor


def local_bench(threads: int) -> Bench:
    """This process."""
    logging.getLogger("RPCServer").setLevel(logging.WARNING)
    return Bench(rpc().LocalSession(), threads, "this machine")


def rpc() -> Any:
    tvm()
    try:
        return importlib.import_module("tvm.rpc")
    except ImportError as error:
        raise BackendMissing(f"TVM's RPC cannot be imported ({error}); pip install 'convc[tune]'") from error


OpenBench = Callable[[], Bench]  # whose session is over when nobody holds it any more
