"""Say one thing a line: what the worker writes to standard error, for people and for log collectors.

Law: one event is one line, whatever its text holds. A traceback belongs to whoever debugs (``debug``); what
the libraries retry on their own is theirs to know, and what they give up on reaches us as an exception.
"""

from __future__ import annotations

import asyncio
import logging
import sys
import threading

log = logging.getLogger(__name__)

#: Level names that can be asked for, the most talkative first.
LEVELS = ("debug", "info", "warning", "error")

_FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"
#: aiokafka calls each failed attempt an error, and tries again ten times a second. Faust and its services
#: print a table for each assignment, and a crash once for each service: the worker says it once.
_TALKATIVE = ("aiokafka", "faust", "mode", "py.warnings")


class OneLine(logging.Formatter):
    """Folds line ends; an exception is shown as its type and text, its traceback only where asked for."""

    def __init__(self, *, tracebacks: bool = False) -> None:
        super().__init__(_FORMAT)
        self._tracebacks = tracebacks

    def format(self, record: logging.LogRecord) -> str:
        """The record as text without a line end in it."""
        if self._tracebacks:
            return super().format(record)
        line = super().formatMessage(self._with_message(record))
        error = record.exc_info[1] if record.exc_info else None
        if error is not None:
            line += f" ({described(error)})"
        return " ".join(line.split())

    def _with_message(self, record: logging.LogRecord) -> logging.LogRecord:
        record.message = record.getMessage()
        record.asctime = self.formatTime(record)
        return record


def described(error: BaseException) -> str:
    """Type and text of an error, in one line; the type once, where the text begins with it already."""
    name, text = type(error).__name__, " ".join(str(error).split())
    return text if text.startswith(name) else f"{name}: {text}".rstrip(": ")


def start_logging(level: str) -> None:
    """Send the log of this process to standard error, from ``level`` on (one of :data:`LEVELS`)."""
    debug = level == "debug"
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(OneLine(tracebacks=debug))
    logging.basicConfig(handlers=[handler], level=level.upper(), force=True)
    logging.captureWarnings(True)
    for name in _TALKATIVE:
        logging.getLogger(name).setLevel(logging.DEBUG if debug else logging.CRITICAL + 1)
    threading.excepthook = _end_of_thread


def _end_of_thread(args: threading.ExceptHookArgs) -> None:
    """Faust's threads are cancelled when it ends without a broker; Python would print a page for each."""
    error = args.exc_value
    if error is None or isinstance(error, asyncio.CancelledError):
        return
    name = args.thread.name if args.thread is not None else "a thread"
    log.warning("%s has ended", name, exc_info=(type(error), error, args.exc_traceback))
