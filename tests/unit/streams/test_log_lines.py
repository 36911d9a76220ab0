from __future__ import annotations

import logging
import subprocess
import sys

import pytest

from paritygate.schemas.errors import ConfigError
from paritygate.streams.log_lines import OneLine, described


def record(message: str, error: Exception | None = None) -> logging.LogRecord:
    exc_info = (type(error), error, None) if error is not None else None
    return logging.LogRecord("paritygate.x", logging.WARNING, "x.py", 1, message, (), exc_info)


def test_event_is_one_line() -> None:
    """Line ends within a message, as tables have them, are folded; the exception stands at the end."""
    line = OneLine().format(record("a table:\n+--+\n|  |", ValueError("two\nlines")))
    assert line.endswith(" WARNING paritygate.x: a table: +--+ | | (ValueError: two lines)")
    assert "\n" not in line


def test_debugging_shows_the_traceback() -> None:
    """Who debugs gets all of it."""
    try:
        raise ConfigError("why")
    except ConfigError as e:
        shown = logging.LogRecord("x", logging.ERROR, "x.py", 1, "m", (), (type(e), e, e.__traceback__))
    assert "Traceback" in OneLine(tracebacks=True).format(shown)
    assert "Traceback" not in OneLine().format(shown)


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (ConfigError("a\n b"), "ConfigError: a b"),
        (ValueError(), "ValueError"),
        (RuntimeError("RuntimeError: again"), "RuntimeError: again"),
    ],
)
def test_errors_are_described_once(error: Exception, text: str) -> None:
    """Type and text in one line, the type not twice."""
    assert described(error) == text


@pytest.mark.parametrize(("level", "lines"), [("info", 3), ("warning", 2), ("error", 1)])
def test_libraries_are_silent_and_threads_say_one_line(level: str, lines: int) -> None:
    """Of a process: our lines from the level on; no line of the libraries, no page for a thread that ended."""
    code = f"""
import asyncio, logging, threading, warnings
from paritygate.streams.log_lines import start_logging
start_logging({level!r})
logging.getLogger("paritygate.a").info("info")
logging.getLogger("paritygate.a").error("error")
for name in ("aiokafka.consumer", "faust.app", "mode.worker"):
    logging.getLogger(name).critical("noise")
warnings.warn("noise")
def end(error):
    thread = threading.Thread(target=lambda: (_ for _ in ()).throw(error), name="fetcher")
    thread.start(); thread.join()
end(OSError("gone"))
end(asyncio.CancelledError())
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == ""
    assert len(done.stderr.splitlines()) == lines, done.stderr
    assert "noise" not in done.stderr
    assert ("fetcher has ended (OSError: gone)" in done.stderr) == (level != "error")
