"""Call: one question to one arm, timed where it runs.

Law: the latency of an arm is its *service time*, from the moment its function starts until it returns.
Waiting for the executor, for the other arm or for the event loop is no part of it, so an arm that is asked
second or in the background does not look slower for that. Synchronous functions are timed inside the
executor's thread, asynchronous ones around their ``await``.
"""

from __future__ import annotations

import asyncio
import contextvars
import inspect
from collections.abc import Awaitable, Callable
from concurrent.futures import Executor, Future
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from paritygate.schemas.prediction import Role, Status

#: The role of the call that runs, readable inside a model's function: fault injectors, caches and logs
#: may care whether a user waits for the answer. None outside a call.
current_role: contextvars.ContextVar[Role | None] = contextvars.ContextVar("paritygate_role", default=None)

Predict = Callable[[Any], Any] | Callable[[Any], Awaitable[Any]]
#: A clock of seconds, read before and after the model's function in the thread that runs it.
Timer = Callable[[], float]

#: ``error_type`` of a call that was given up: still waiting for its turn, or wanted by nobody any more.
QUEUE_TIMEOUT = "queue_timeout"
CANCELLED = "cancelled"


@dataclass(frozen=True, slots=True, kw_only=True)
class ArmModel:
    """One version and its function. ``predict`` takes the request and gives an answer, or an awaitable of one.

    A plain function runs in the router's executor, a coroutine function in the event loop.
    """

    version: str
    predict: Predict
    #: Whether ``predict`` (or its ``__call__``) is a coroutine function; found out once.
    is_async: bool = field(init=False)

    def __post_init__(self) -> None:
        call = getattr(self.predict, "__call__", None)  # noqa: B004  (its kind is asked, not whether it is there)
        is_async = inspect.iscoroutinefunction(self.predict) or inspect.iscoroutinefunction(call)
        object.__setattr__(self, "is_async", is_async)


@dataclass(frozen=True, slots=True, kw_only=True)
class CallResult:
    """How a call ended. ``answer`` is None unless ``status`` is OK; ``error`` is what the model raised.

    ``latency_ms``: service time; for a timeout the time waited since the start; 0 where the arm was not asked.
    """

    status: Status
    latency_ms: float = 0.0
    answer: Any = None
    error: BaseException | None = None
    error_type: str = ""


class Call:
    """A running call. ``done`` resolves to a :class:`CallResult` and never to an exception."""

    __slots__ = (
        "_cancel", "_ended", "_handle", "_loop", "_on_hang", "_started_s", "_timeout_s", "_timer", "done",
    )  # fmt: skip

    def __init__(
        self, loop: asyncio.AbstractEventLoop, timer: Timer, on_hang: Callable[[], None] | None = None
    ) -> None:
        self.done: asyncio.Future[CallResult] = loop.create_future()
        self._loop, self._timer, self._on_hang = loop, timer, on_hang
        self._started_s: float | None = None
        self._ended = False
        self._timeout_s = 0.0
        self._handle: asyncio.TimerHandle | None = None
        self._cancel: Future[None] | asyncio.Task[None] | None = None

    def start(
        self, model: ArmModel, request: Any, role: Role, executor: Executor, timeout_ms: float | None
    ) -> None:
        """Queue the call; a refusing executor makes it a shed one."""
        if model.is_async:
            self._cancel = self._loop.create_task(self._serve_async(model, request, role))
        else:
            try:
                # In the caller's context: what a model does belongs to the trace of the request.
                context = contextvars.copy_context()
                self._cancel = executor.submit(context.run, self._serve, model, request, role)
            except RuntimeError:
                self._finish(CallResult(status=Status.SHED, error_type="executor_closed"))
                return
        if timeout_ms is not None:
            self._timeout_s = timeout_ms / 1000
            self._handle = self._loop.call_later(self._timeout_s, self._expire)

    def cancel(self) -> CallResult:
        """Stop waiting: nobody wants the answer any more. The arm is not blamed."""
        result = CallResult(status=Status.SHED, error_type=CANCELLED)
        self._finish(result)
        if self._cancel is not None:
            self._cancel.cancel()
        return result

    def _serve(self, model: ArmModel, request: Any, role: Role) -> None:
        """Runs in the executor's thread."""
        token = current_role.set(role)
        self._started_s = self._loop.time()
        started_s = self._timer()
        try:
            answer = model.predict(request)
            result = _answered(answer, self._timer() - started_s)
        except BaseException as e:
            result = _failed(e, self._timer() - started_s)
        finally:
            current_role.reset(token)
            self._ended = True
        # The loop may be closed by now: then nobody is left to hear the answer.
        with suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._finish, result)

    async def _serve_async(self, model: ArmModel, request: Any, role: Role) -> None:
        current_role.set(role)  # the task has its own context
        self._started_s = self._loop.time()
        started_s = self._timer()
        try:
            answer = await model.predict(request)
            result = CallResult(status=Status.OK, latency_ms=(self._timer() - started_s) * 1000, answer=answer)
        except asyncio.CancelledError:
            self._finish(CallResult(status=Status.SHED, error_type=CANCELLED))
            raise
        except Exception as e:
            result = _failed(e, self._timer() - started_s)
        self._finish(result)

    def _finish(self, result: CallResult) -> None:
        if self._handle is not None:
            self._handle.cancel()
        if not self.done.done():
            self.done.set_result(result)

    def _expire(self) -> None:
        """The timer rang: the service time counts, so a call that started late gets its whole time."""
        if self.done.done() or self._ended:
            return  # ended in time, only the loop is late to hear of it
        if self._started_s is None and self._cancel is not None and self._cancel.cancel():
            self._finish(CallResult(status=Status.SHED, error_type=QUEUE_TIMEOUT))
            return
        waited_s = self._loop.time() - (self._started_s or 0.0)
        if self._started_s is None or waited_s < self._timeout_s:
            rest_s = self._timeout_s - waited_s if self._started_s is not None else 0.001
            self._handle = self._loop.call_later(rest_s, self._expire)
            return
        self._finish(CallResult(status=Status.TIMEOUT, latency_ms=waited_s * 1000, error_type="timeout"))
        if isinstance(self._cancel, asyncio.Task):
            self._cancel.cancel()
        elif self._on_hang is not None:
            self._on_hang()


def _answered(answer: Any, took_s: float) -> CallResult:
    if inspect.isawaitable(answer):
        if inspect.iscoroutine(answer):
            answer.close()
        return _failed(TypeError("predict gave an awaitable: declare it with 'async def'"), took_s)
    return CallResult(status=Status.OK, latency_ms=max(0.0, took_s * 1000), answer=answer)


def _failed(error: BaseException, took_s: float) -> CallResult:
    return CallResult(
        status=Status.ERROR, latency_ms=max(0.0, took_s * 1000), error=error, error_type=type(error).__name__
    )
