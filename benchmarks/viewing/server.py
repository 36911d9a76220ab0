"""Server: the real application in a process of its own, on a board that is fed a window a second without a broker.

Law: all records are made before it says that it is ready, so that its CPU time is that of folding and of the page.
"""

from __future__ import annotations

import argparse
import socket
import threading
import time
from dataclasses import replace

import uvicorn

from paritygate.dashboard.app import DashboardSettings, create_app
from paritygate.dashboard.follow import Follower
from paritygate.schemas.client import KafkaSettings
from viewing.records import Record, windows


class FedFollower(Follower):
    """Takes what it is given; there is no broker."""

    def __init__(self) -> None:
        super().__init__(KafkaSettings(bootstrap="127.0.0.1:1"))

    def start(self) -> None:
        """Nothing to connect to."""

    def feed(self, records: list[Record]) -> None:
        """Take the records of one window as they come from Kafka."""
        now_ms = time.time_ns() // 1_000_000
        for topic, offset, key, value in records:
            self.board.take(topic, offset, now_ms, key, value)
        self.reading = replace(self.reading, heard_at_ms=now_ms, trouble="")
        self.told()


def main() -> None:
    """Print the port when it is ready, then go on until it is killed."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--segments", type=int, required=True)
    parser.add_argument("--before", type=int, required=True, help="windows that are there already")
    parser.add_argument("--seconds", type=int, required=True, help="windows that come, one a second")
    options = parser.parse_args()
    made = list(windows(options.before + options.seconds, options.segments))
    follower = FedFollower()
    follower.board.follow_open()
    for records in made[: options.before]:
        follower.feed(records)

    def feed() -> None:
        begun = time.monotonic()
        for i, records in enumerate(made[options.before :]):
            time.sleep(max(0.0, begun + i + 1 - time.monotonic()))
            follower.feed(records)

    app = create_app(follower, DashboardSettings(), lambda: time.time_ns() // 1_000_000)
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen(512)
    threading.Thread(target=feed, daemon=True).start()
    print(listener.getsockname()[1], flush=True)
    config = uvicorn.Config(app, log_level="error", access_log=False, timeout_graceful_shutdown=1)
    uvicorn.Server(config).run(sockets=[listener])


if __name__ == "__main__":
    main()
