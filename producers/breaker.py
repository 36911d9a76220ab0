"""Breaker: stops asking a shadow arm that hangs, and tries again after a pause.

Law: only timeouts open it (an arm that fails quickly harms nobody and its failures are evidence), and only
calls in the background are held back.
"""

from __future__ import annotations


class Breaker:
    """Opens after ``hangs_to_open`` timeouts in a row, for ``pause_s`` seconds; one timeout re-opens it.

    Time is an argument, in seconds of any steady clock.
    """

    __slots__ = ("_hangs", "_hangs_to_open", "_open_until_s", "_pause_s")

    def __init__(self, hangs_to_open: int, pause_s: float) -> None:
        self._hangs_to_open, self._pause_s = hangs_to_open, pause_s
        self._hangs = 0
        self._open_until_s = float("-inf")

    def allows(self, now_s: float) -> bool:
        """Whether the arm may be asked now."""
        return now_s >= self._open_until_s

    def saw(self, hung: bool, now_s: float) -> None:
        """Take in how a call of the arm ended."""
        if not hung:
            self._hangs = 0
            return
        self._hangs += 1
        if self._hangs >= self._hangs_to_open:
            self._open_until_s = now_s + self._pause_s
