"""TVM's tracker, which lends servers to measure on."""

from __future__ import annotations

import socket
import struct
from typing import Any

from ....ir.errors import BackendMissing, UsageError
from ..host import reason
from .timing import SESSION, Bench, rpc

__all__ = ["Tracker"]

ANSWER = 10.0  # seconds until a tracker has answered
LENT = 60.0  # seconds until it has lent a server


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
        base = rpc().base
        info = self._ask([base.TrackerCode.SUMMARY], ANSWER)
        keys = sorted(str(server["key"]).removeprefix("server:") for server in info["server_info"])
        self.servers = keys.count(key)
        if not self.servers:
            have = f"its servers have the keys {', '.join(dict.fromkeys(keys))}" if keys else "it has no servers"
            start = f"python -m tvm.exec.rpc_server --tracker {address} --key {key}"
            raise BackendMissing(f"the tracker at {address} has no server of the key '{key}', {have}; start one with: {start}")

    def bench(self, threads: int) -> Bench:
        """A server, until it is let go of or its time is over."""
        host, port, match = self._ask([rpc().base.TrackerCode.REQUEST, self.key, "", 1], LENT)
        try:
            session = rpc().connect(host, port, match, SESSION)
        except Exception as error:
            raise BackendMissing(f"the server {host}:{port} of the tracker at {self.name} does not answer: {reason(error)}") from error
        return Bench(session, threads, f"the server {host}:{port}", is_lent=True)

    def _ask(self, request: list[Any], seconds: float) -> Any:
        base = rpc().base
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
