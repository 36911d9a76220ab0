from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from paritygate.schemas.decision import Action, GateDecision


def decision(
    sequence: int,
    code: str,
    *,
    action: Action = Action.HOLD,
    stage: str = "5",
    weight: int = 5,
    at_ms: int | None = None,
    rollout_id: str = "r1",
    reason: str = "because",
) -> GateDecision:
    return GateDecision(
        rollout_id=rollout_id,
        sequence=sequence,
        action=action,
        stage=stage,
        weight=weight,
        from_stage="5",
        reason_code=code,
        reason=reason,
        at_ms=1_700_000_000_000 + 1_000 * sequence if at_ms is None else at_ms,
        baseline_version="1",
        candidate_version="2",
        policy_digest="p",
        evidence_digest="e",
    )


@dataclass
class Receiver:
    """A real HTTP server on this machine: what it answers, and what it was sent."""

    port: int = 0
    answers: list[tuple[int, dict[str, str]]] = field(default_factory=list)
    got: list[tuple[str, dict[str, str], bytes]] = field(default_factory=list)
    #: Called in the middle of an answer.
    meanwhile: Callable[[], None] = lambda: None


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    receiver = Receiver()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            receiver.got.append((self.path, {k.lower(): v for k, v in self.headers.items()}, body))
            receiver.meanwhile()
            status, headers = receiver.answers.pop(0) if receiver.answers else (204, {})
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    receiver.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield receiver
    server.shutdown()
    thread.join()
    server.server_close()
