"""A headless Chromium, spoken to over a pipe in the DevTools protocol: no driver and no socket to the outside.

Law: it ends with the test, by its own pid, and nothing of it is kept.
"""

from __future__ import annotations

import base64
import fcntl
import json
import os
import select
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

import pytest

needs_chromium = pytest.mark.skipif(shutil.which("chromium") is None, reason="no chromium on this machine")
_WAIT_S = 120.0


class Page:
    """One tab."""

    def __init__(self, command: tuple[int, int]) -> None:
        self._read, self._write = command
        self._buffer = b""
        self._number = 0
        self._events: list[dict[str, Any]] = []
        self._session: str | None = None
        target = self._call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self._call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log"):
            self._call(f"{domain}.enable")

    def show(self, width: int, *, dark: bool = False, height: int = 1000, media: str = "") -> Self:
        """Pretend to be a screen of this width and theme."""
        self._call(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=width < 600,
        )
        features = [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]
        self._call("Emulation.setEmulatedMedia", media=media, features=features)
        return self

    def open(self, address: str) -> Self:
        """Go there and wait for the page to be loaded."""
        # What the page before may still complain of is not this one's.
        self._call("Page.navigate", url="about:blank")
        self.wait("location.href === 'about:blank'")
        self._events.clear()
        self._call("Page.navigate", url=address)
        self.wait("location.href !== 'about:blank'")
        self.wait("document.readyState === 'complete'")
        return self

    def click(self, selector: str) -> Self:
        """Click on the first element of that kind, and wait until another page is there."""
        before = self.run("location.href")
        self.run(f"document.querySelector({json.dumps(selector)}).click()")
        self.wait(f"location.href !== {json.dumps(before)} && document.readyState === 'complete'")
        return self

    def press(self, key: str) -> Self:
        """Press and let go a key: ``Tab`` or ``Enter``."""
        code = {"Tab": 9, "Enter": 13}[key]
        text = {"text": "\r"} if key == "Enter" else {}
        about = {"key": key, "code": key, "windowsVirtualKeyCode": code}
        self._call("Input.dispatchKeyEvent", type="keyDown", **about, **text)
        self._call("Input.dispatchKeyEvent", type="keyUp", **about)
        return self

    def run(self, script: str) -> Any:
        """The value of an expression."""
        told = self._call("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in told, told
        return told["result"].get("value")

    def wait(self, script: str, timeout_s: float = _WAIT_S) -> None:
        """Wait until an expression is true."""
        until = time.monotonic() + timeout_s
        while True:
            try:
                if self.run(f"Boolean({script})"):
                    return
            except AssertionError:
                pass  # between two pages
            assert time.monotonic() < until, f"{script} did not come true: {self.text[:400]}"
            time.sleep(0.05)

    @property
    def text(self) -> str:
        """What a person reads."""
        return str(self.run("document.body.innerText"))

    @property
    def complaints(self) -> list[str]:
        """Errors and refusals that the browser noted since the page was opened."""
        self.run("1")
        found = []
        for event in self._events:
            if event["method"] == "Log.entryAdded" and event["params"]["entry"]["level"] == "error":
                found.append(event["params"]["entry"]["text"])
            if event["method"] == "Runtime.exceptionThrown":
                found.append(event["params"]["exceptionDetails"]["text"])
        return found

    def picture(self, path: Path) -> None:
        """The whole page as PNG."""
        height = min(int(self.run("document.documentElement.scrollHeight")), 12_000)
        size = {"x": 0, "y": 0, "width": int(self.run("innerWidth")), "height": height, "scale": 1}
        made = self._call("Page.captureScreenshot", clip=size, captureBeyondViewport=True)
        path.write_bytes(base64.b64decode(made["data"]))

    def _call(self, method: str, **params: Any) -> dict[str, Any]:
        self._number += 1
        message: dict[str, Any] = {"id": self._number, "method": method, "params": params}
        if self._session is not None:
            message["sessionId"] = self._session
        os.write(self._write, json.dumps(message).encode() + b"\0")
        until = time.monotonic() + _WAIT_S
        while True:
            answer = self._receive(until)
            if answer.get("id") == self._number:
                assert "error" not in answer, answer
                result: dict[str, Any] = answer["result"]
                return result
            self._events.append(answer)

    def _receive(self, until: float) -> dict[str, Any]:
        while b"\0" not in self._buffer:
            ready, _, _ = select.select([self._read], [], [], max(0.0, until - time.monotonic()))
            assert ready, "chromium does not answer"
            self._buffer += os.read(self._read, 1 << 20)
        message, _, self._buffer = self._buffer.partition(b"\0")
        told: dict[str, Any] = json.loads(message)
        return told


def _high_pipe() -> tuple[int, int]:
    """A pipe whose ends are beyond 3 and 4, where the browser wants its own."""
    low = os.pipe()
    high = [fcntl.fcntl(end, fcntl.F_DUPFD_CLOEXEC, 10) for end in low]
    for end in low:
        os.close(end)
    return high[0], high[1]


@contextmanager
def browser(profile: Path) -> Iterator[Page]:
    """A browser with one tab."""
    to_them, ours = _high_pipe()
    theirs, from_them = _high_pipe()

    def pipes() -> None:
        os.dup2(to_them, 3)
        os.dup2(from_them, 4)

    command = [
        "chromium", "--headless=new", "--no-sandbox", "--disable-gpu", "--remote-debugging-pipe", "--no-first-run",
        "--disable-extensions", "--disable-background-networking", f"--user-data-dir={profile}",
    ]  # fmt: skip
    log = (profile.parent / "chromium.log").open("wb")
    child = subprocess.Popen(command, preexec_fn=pipes, close_fds=False, stdout=log, stderr=log)  # noqa: PLW1509
    os.close(to_them)
    os.close(from_them)
    try:
        yield Page((theirs, ours))
    finally:
        child.terminate()
        child.wait(60)
        os.close(theirs)
        os.close(ours)
        log.close()
