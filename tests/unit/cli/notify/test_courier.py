from __future__ import annotations

import threading
from pathlib import Path

import pytest

from paritygate.cli.notify import courier
from paritygate.cli.notify.address import DeliveryError, Url
from paritygate.cli.notify.change import Change, Kind, Severity
from paritygate.cli.notify.config import Target
from paritygate.cli.notify.courier import Courier, Delivery
from paritygate.cli.notify.message import Format
from paritygate.schemas.client import KafkaSettings
from paritygate.schemas.decision import Action
from paritygate.schemas.metrics import Metrics
from paritygate.schemas.signature import DECISION, Signer
from tests.unit.cli.notify.conftest import decision
from tests.unit.schemas.test_signature import PRIVATE, PUBLIC

STEP = Change(Kind.ADVANCED, Severity.INFO, decision(3, "proven"))


def target(give_up_after_s: int = 60, least: Severity = Severity.INFO) -> Target:
    return Target(
        name="a",
        url=Url("hook.test", 443, "/secret-path", tls=True),
        format=Format.CLOUDEVENTS,
        least=least,
        private=False,
        link="",
        give_up_after_s=give_up_after_s,
    )


class Bench:
    """A delivery whose sends fail as often as they are told to."""

    def __init__(self, failures: int, target_: Target) -> None:
        self.stop, self.said, self.metrics, self.tries = threading.Event(), list[str](), Metrics(), 0
        self._failures = failures
        self.delivery = Delivery(target_, self.stop, self.said.append, self.metrics, self._send)

    def _send(self, _: Target, __: Change) -> None:
        self.tries += 1
        if self.tries <= self._failures:
            raise DeliveryError("https://hook.test:443: answered 503")

    def counted(self) -> dict[str, float]:
        return {
            labels["result"]: value
            for name, labels, value in self.metrics.values()
            if name == "paritygate_notifications_total"
        }


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(courier, "PAUSES_S", (0.001, 0.002))


def test_it_tries_until_the_message_is_taken() -> None:
    """Failures are said and counted, and the message is delivered in the end."""
    bench = Bench(3, target())

    assert bench.delivery.deliver(STEP)
    assert bench.counted() == {"failed": 3, "taken": 1}
    assert bench.said[-1] == "a: told: r1 went up to stage 5 (5 % of live traffic), decision 3"
    assert "secret-path" not in " ".join(bench.said)


def test_it_gives_up_in_the_end() -> None:
    """After the time given a message is lost, which is said; the next one is not held up."""
    bench = Bench(10**9, target(give_up_after_s=0))

    assert bench.delivery.deliver(STEP)
    assert bench.counted() == {"failed": 1, "given_up": 1}
    assert "given up after 1 tries" in bench.said[-1]


def test_a_stop_ends_the_tries_without_loss() -> None:
    """A process that stops in the middle does not count the message as done."""
    bench = Bench(10**9, target())
    threading.Timer(0.05, bench.stop.set).start()

    assert not bench.delivery.deliver(STEP)


def test_the_lesser_ones_may_be_left_out() -> None:
    """A target that asks for warnings gets no news below."""
    bench = Bench(0, target(least=Severity.WARNING))

    assert bench.delivery.deliver(STEP)
    assert bench.tries == 0


def test_nobody_is_told_what_no_trusted_key_has_signed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Where keys of deciders are named: a forged rollback wakes nobody, and hides no genuine one."""
    (tmp_path / "decider.pub").write_bytes(PUBLIC)
    monkeypatch.setenv("PARITYGATE_DECISION_KEYS", str(tmp_path / "decider.pub"))
    settings = KafkaSettings(bootstrap="b:1")
    reader = Courier(settings, target(), threading.Event(), lambda _: None, Metrics())
    value = decision(3, "gate_failed", action=Action.ROLLBACK).to_bytes()

    assert reader._read(value, None) is None
    assert reader._read(value, Signer(PRIVATE, "key").headers(DECISION, value)) is not None
