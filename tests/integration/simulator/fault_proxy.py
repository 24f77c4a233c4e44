"""A proxy on the loopback in front of a Kinesis emulator. It makes faults that no emulator makes, and counts them.

It knows what Kinesis accepted even after the emulator deleted it (it empties a shard that is split), and of which
accepted records the client got no answer: only those may arrive twice.
"""

import json
import socket
import struct
import sys
from base64 import b64decode
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, auto
from http.client import HTTPConnection, HTTPResponse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from random import Random
from threading import Lock, Thread
from typing import Any
from urllib.parse import urlsplit

REFUSAL = {"ErrorCode": "ProvisionedThroughputExceededException", "ErrorMessage": "Rate exceeded for shard."}
KEPT_HEADERS = ("content-type", "x-amz-target", "authorization", "x-amz-date")


class Fault(Enum):
    """What happens to a whole call. BEFORE: it does not reach the emulator; AFTER: only its answer is lost."""

    THROTTLED = auto()
    RESET_BEFORE = auto()
    RESET_AFTER = auto()
    ERROR_BEFORE = auto()
    ERROR_AFTER = auto()


AFTER = (Fault.RESET_AFTER, Fault.ERROR_AFTER)


@dataclass(frozen=True)
class Accepted:
    """A record that the emulator took. `answered`: the client was told."""

    shard: str
    sequence_number: int
    explicit_hash_key: str | None
    data: bytes
    answered: bool


class FaultProxy:
    """A context: `url` is its address. PutRecords calls are counted from 1, repetitions too.

    `fault` says what happens to a call; `reached` is called when the emulator has taken one, before it is answered.
    `refused_share` of the entries never reach the emulator, the others do.
    """

    def __init__(
        self,
        upstream: str,
        *,
        fault: Callable[[int], Fault | None] = lambda call: None,
        reached: Callable[[int], object] = lambda call: None,
        refused_share: float = 0.0,
        seed: int = 1,
    ) -> None:
        self.accepted: list[Accepted] = []
        self.calls = 0
        self.faults = 0
        self.refused = 0
        self._upstream = urlsplit(upstream)
        self._fault = fault
        self._reached = reached
        self._refused_share = refused_share
        self._rng = Random(seed)
        self._lock = Lock()
        self._server = _Server(("127.0.0.1", 0), type("Handler", (_Handler,), {"proxy": self}))
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> "FaultProxy":
        self._thread = Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def answer(self, path: str, headers: dict[str, str], body: bytes) -> tuple[int, bytes] | None:
        """Return status and body of the answer; None resets the connection."""
        if not headers.get("x-amz-target", "").endswith(".PutRecords"):
            return self._forward(path, headers, body)
        with self._lock:  # one client after the other: the counts stay simple
            return self._put_records(path, headers, json.loads(body))

    def _put_records(self, path: str, headers: dict[str, str], request: dict[str, Any]) -> tuple[int, bytes] | None:
        self.calls += 1
        fault = self._fault(self.calls)
        self.faults += fault is not None
        if fault is Fault.THROTTLED:
            return _error(400, "ProvisionedThroughputExceededException")
        if fault is Fault.RESET_BEFORE:
            return None
        if fault is Fault.ERROR_BEFORE:
            return _error(500, "InternalFailure")
        entries = request["Records"]
        taken = [entry for entry in entries if self._rng.random() >= self._refused_share]
        answers = self._take(path, headers, request, taken, answered=fault not in AFTER)
        self._reached(self.calls)
        if fault is Fault.RESET_AFTER:
            return None
        if fault is Fault.ERROR_AFTER:
            return _error(500, "InternalFailure")
        self.refused += len(entries) - len(taken)
        by_entry = {id(entry): answer for entry, answer in zip(taken, answers, strict=True)}
        records = [by_entry.get(id(entry), REFUSAL) for entry in entries]
        return 200, json.dumps({"FailedRecordCount": len(entries) - len(taken), "Records": records}).encode()

    def _take(
        self, path: str, headers: dict[str, str], request: dict[str, Any], taken: list[dict[str, str]], answered: bool
    ) -> list[dict[str, str]]:
        if not taken:
            return []
        status, body = self._forward(path, headers, json.dumps(request | {"Records": taken}).encode())
        assert status == 200, body
        answers = json.loads(body)["Records"]
        self.accepted += [
            Accepted(
                answer["ShardId"],
                int(answer["SequenceNumber"]),
                entry.get("ExplicitHashKey"),
                b64decode(entry["Data"]),
                answered,
            )
            for entry, answer in zip(taken, answers, strict=True)
        ]
        return answers

    def _forward(self, path: str, headers: dict[str, str], body: bytes) -> tuple[int, bytes]:
        connection = HTTPConnection(self._upstream.hostname, self._upstream.port, timeout=30)
        try:
            kept = {name: headers[name] for name in KEPT_HEADERS if name in headers}
            connection.request("POST", path, body, kept)
            answer: HTTPResponse = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def shutdown_request(self, request: socket.socket) -> None:
        self.close_request(request)  # without the end of stream, or a reset would look like an orderly close

    def handle_error(self, request: object, client_address: object) -> None:
        if not isinstance(sys.exc_info()[1], ConnectionError):  # a client that was killed
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    proxy: FaultProxy

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        headers = {name.lower(): value for name, value in self.headers.items()}
        answer = self.proxy.answer(self.path, headers, body)
        if answer is None:
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.close_connection = True
            return
        status, text = answer
        self.send_response(status)
        self.send_header("Content-Type", "application/x-amz-json-1.1")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, *_: object) -> None:
        pass


def _error(status: int, code: str) -> tuple[int, bytes]:
    return status, json.dumps({"__type": code, "message": "made by the proxy"}).encode()
