from __future__ import annotations

import sys
import threading
from collections.abc import Iterator

import pytest

from paritygate.producers.executor import ServingThread


@pytest.fixture
def serving() -> Iterator[ServingThread]:
    thread = ServingThread()
    yield thread
    thread.shutdown(wait=False, cancel_futures=True)


def test_calls_run_one_after_the_other_in_order(serving: ServingThread) -> None:
    """One worker: results come in the order of the calls, from one thread."""
    seen: list[tuple[int, int]] = []
    futures = [serving.submit(lambda i=i: seen.append((i, threading.get_ident()))) for i in range(50)]  # type: ignore[misc]
    for future in futures:
        future.result(10)

    assert [i for i, _ in seen] == list(range(50))
    assert len({ident for _, ident in seen}) == 1


def test_an_error_stays_in_its_future(serving: ServingThread) -> None:
    """Even SystemExit of a model does not end the thread."""
    with pytest.raises(SystemExit):
        serving.submit(sys.exit, 3).result(10)

    assert serving.submit(lambda: 7).result(10) == 7


def test_a_cancelled_call_does_not_run(serving: ServingThread) -> None:
    """What is cancelled while it waits is skipped."""
    hold, ran = threading.Event(), threading.Event()
    serving.submit(hold.wait, 10)
    waiting = serving.submit(ran.set)

    assert waiting.cancel()
    hold.set()
    serving.submit(lambda: None).result(10)
    assert not ran.is_set()


def test_a_hung_call_is_left_behind(serving: ServingThread) -> None:
    """After abandon() the queue goes on in a new thread, and the old one ends when its call does."""
    entered, hold = threading.Event(), threading.Event()

    def hang() -> bool:
        entered.set()
        return hold.wait(10)

    hung = serving.submit(hang)
    behind = serving.submit(threading.get_ident)
    assert entered.wait(10)

    serving.abandon()

    assert behind.result(10) != 0
    assert not hung.done()
    hold.set()
    assert hung.result(10)
    idents = {serving.submit(threading.get_ident).result(10) for _ in range(10)}
    assert idents == {behind.result()}
    assert serving.abandoned == 1


def test_an_idle_abandoned_thread_takes_no_work_with_it(serving: ServingThread) -> None:
    """Abandoning a thread that only waits loses no call."""
    serving.submit(lambda: None).result(10)
    serving.abandon()

    assert [serving.submit(lambda i=i: i).result(10) for i in range(20)] == list(range(20))  # type: ignore[misc]


def test_shutdown_refuses_new_calls_and_finishes_old_ones() -> None:
    """Queued calls are served, later ones raise RuntimeError as any executor's do."""
    with ServingThread() as serving:
        futures = [serving.submit(lambda i=i: i) for i in range(5)]  # type: ignore[misc]

    assert [f.result(0) for f in futures] == list(range(5))
    serving.shutdown()
    with pytest.raises(RuntimeError, match="shut down"):
        serving.submit(lambda: None)
