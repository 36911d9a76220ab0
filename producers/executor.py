"""ServingThread: the one worker thread in which synchronous models of a process answer.

Law: calls run one after the other in the order in which they were submitted, so that no arm runs beside the
other. A call that hangs costs its own thread only: :meth:`ServingThread.abandon` leaves it behind and a new
thread takes over the queue. The thread is a daemon: a hung model cannot keep the process alive.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Executor, Future
from queue import SimpleQueue
from typing import Any, ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")

_Work = tuple["Future[Any]", Callable[..., Any], tuple[Any, ...], dict[str, Any]]


class ServingThread(Executor):
    """A ``concurrent.futures`` executor of one daemon thread that can be replaced when a call hangs."""

    def __init__(self, name: str = "paritygate-serving") -> None:
        self._name = name
        self._queue: SimpleQueue[_Work | None] = SimpleQueue()
        self._lock = threading.Lock()
        self._generation = 0
        self._started = self._closed = False
        #: Threads left behind because their call hung.
        self.abandoned = 0

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Queue one call; raises RuntimeError after :meth:`shutdown`."""
        with self._lock:
            if self._closed:
                raise RuntimeError("the serving thread is shut down")
            future: Future[T] = Future()
            self._queue.put((future, fn, args, kwargs))
            if not self._started:
                self._started = True
                self._start()
        return future

    def abandon(self) -> None:
        """Leave the running call behind with its thread; a new thread goes on with the queue."""
        with self._lock:
            if self._closed or not self._started:
                return
            self.abandoned += 1
            self._generation += 1
            self._start()

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Take no more calls; ``wait`` waits for the queued ones."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
            thread = self._thread if self._started else None
        if cancel_futures:
            while not self._queue.empty():
                work = self._queue.get()
                if work is not None:
                    work[0].cancel()
        self._queue.put(None)
        if wait and thread is not None and thread is not threading.current_thread():
            thread.join()

    def _start(self) -> None:
        self._thread = threading.Thread(
            target=self._run, args=(self._generation,), name=f"{self._name}-{self._generation}", daemon=True
        )
        self._thread.start()

    def _run(self, generation: int) -> None:
        while generation == self._generation:
            work = self._queue.get()
            if generation != self._generation:
                # Abandoned while waiting: what was taken belongs to the successor. It keeps its place only
                # roughly, which is all that a queue behind a hung call can promise.
                self._queue.put(work)
                return
            if work is None:
                return
            future, fn, args, kwargs = work
            if not future.set_running_or_notify_cancel():
                continue
            try:
                result = fn(*args, **kwargs)
            except BaseException as e:
                future.set_exception(e)
            else:
                future.set_result(result)
