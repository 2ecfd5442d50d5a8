"""Forms of kernels timed turn by turn, in this process or on a server that TVM's tracker lends: both are a session of TVM's RPC."""

from __future__ import annotations

import importlib
import logging
import socket
import struct
import tempfile
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ....ir.errors import BackendMissing, UsageError
from ....ir.types import Array
from ..host import host_cpu, host_target, tvm
from ..lower import reason
from .roofs import multiply_adds, reads

__all__ = ["SESSION", "Bench", "Tracker", "library", "local_bench"]

COLD_BYTES = 64 << 20  # of copies of a kernel's weights, used in turn: in a network they come from beyond a core's cache as well
MOST_COPIES = 16
ANSWER = 10.0  # seconds until a tracker has answered
LENT = 60.0  # seconds until it has lent a server
SESSION = 300  # seconds after which a server ends a session by itself
ROOF_TURNS = 20
CAUGHT = "Error caught from RPC call:"  # what TVM says before what a server said


@dataclass(frozen=True)
class Prepared:
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

    def prepare(self, libraries: Sequence[tuple[Path, int]], function: Any, weights: int) -> Prepared:
        """Load libraries of so many functions each, all called like `function`; arguments hold noise."""
        with self._answering():
            return self._prepared(libraries, function, weights)

    def _prepared(self, libraries: Sequence[tuple[Path, int]], function: Any, weights: int) -> Prepared:
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
        return Prepared(evaluators, arguments, weights, [self._noise(param) for _ in range(copies)])

    def times(self, prepared: Prepared, chosen: Sequence[int], rounds: int) -> Array:
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
        rates: list[float] = []
        for function, amount in (multiply_adds(threads), reads(threads)):
            with tempfile.TemporaryDirectory(prefix="convc-") as folder:
                # copies are made of the result: there are no weights, and what is read is as large as it is
                prepared = self.prepare([(library([function], Path(folder) / "roof.so"), 1)], function, 1)
                rates.append(amount / float(self.times(prepared, [0], ROOF_TURNS).min()))
        return rates[0], rates[1]

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
    return Bench(_rpc().LocalSession(), threads, "this machine")


def library(functions: Sequence[Any], path: Path) -> Path:
    """Compile for this machine's processor: form0, form1 and so on."""
    host = tvm()
    target = host_target()
    named = {f"form{i}": function.with_attr("global_symbol", f"form{i}") for i, function in enumerate(functions)}
    try:
        host.tirx.build(host.IRModule(named), target=target).export_library(str(path))
    except Exception as error:
        if "KeyboardInterrupt" in str(error):  # TVM wraps that one too
            raise KeyboardInterrupt from error
        raise
    return path


class Tracker:
    """TVM's tracker at `host:port`, and its servers of one key. Every question has an end.

    Raises: UsageError for an address that is none; BackendMissing where no tracker answers, or has no such server.
    """

    def __init__(self, address: str, key: str) -> None:
        host, _, port = address.rpartition(":")
        if not host or not port.isdecimal() or not 0 < int(port) < 65536:
            raise UsageError(f"--tracker {address}: write it as host:port, such as 127.0.0.1:9190")
        self.address, self.key = (host, int(port)), key
        self.name = address
        base = _rpc().base
        info = self._ask([base.TrackerCode.SUMMARY], ANSWER)
        keys = sorted(str(server["key"]).removeprefix("server:") for server in info["server_info"])
        self.servers = keys.count(key)
        if not self.servers:
            have = f"its servers have the keys {', '.join(dict.fromkeys(keys))}" if keys else "it has no servers"
            start = f"python -m tvm.exec.rpc_server --tracker {address} --key {key}"
            raise BackendMissing(f"the tracker at {address} has no server of the key '{key}', {have}; start one with: {start}")

    def bench(self, threads: int) -> Bench:
        """A server, until it is let go of or its time is over."""
        rpc = _rpc()
        host, port, match = self._ask([rpc.base.TrackerCode.REQUEST, self.key, "", 1], LENT)
        try:
            session = rpc.connect(host, port, match, SESSION)
        except Exception as error:
            raise BackendMissing(f"the server {host}:{port} of the tracker at {self.name} does not answer: {reason(error)}") from error
        return Bench(session, threads, f"the server {host}:{port}", is_lent=True)

    def _ask(self, request: list[Any], seconds: float) -> Any:
        base = _rpc().base
        try:
            with socket.create_connection(self.address, seconds) as connection:
                connection.settimeout(seconds)
                magic = struct.pack("<i", base.RPC_TRACKER_MAGIC)
                connection.sendall(magic)
                if base.recvall(connection, len(magic)) != magic:
                    raise BackendMissing(f"what answers at {self.name} is no tracker of TVM's")
                base.sendjson(connection, request)
                code, answer = base.recvjson(connection)
        except TimeoutError as error:
            raise BackendMissing(
                f"the tracker at {self.name} has not answered for {seconds:.0f} s; are it and its servers there?"
            ) from error
        except (OSError, ValueError) as error:
            start = f"python -m tvm.exec.rpc_tracker --host {self.address[0]} --port {self.address[1]}"
            raise BackendMissing(f"no tracker answers at {self.name} ({error}); start one with: {start}") from error
        if code != base.TrackerCode.SUCCESS:
            raise BackendMissing(f"the tracker at {self.name} refuses: {answer}")
        return answer


def _rpc() -> Any:
    tvm()
    try:
        return importlib.import_module("tvm.rpc")
    except ImportError as error:
        raise BackendMissing(f"TVM's RPC cannot be imported ({error}); pip install 'convc[tune]'") from error
