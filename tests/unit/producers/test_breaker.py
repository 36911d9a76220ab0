from __future__ import annotations

from paritygate.producers.breaker import Breaker


def test_it_opens_after_hangs_in_a_row_and_tries_again() -> None:
    """Three timeouts in a row open it for the pause; one more timeout after the pause opens it at once."""
    breaker = Breaker(3, 5.0)

    for now_s in (0.0, 1.0):
        breaker.saw(True, now_s)
    assert breaker.allows(1.0)

    breaker.saw(True, 2.0)
    assert not breaker.allows(6.9)
    assert breaker.allows(7.0)

    breaker.saw(True, 8.0)
    assert not breaker.allows(12.9)


def test_an_answer_closes_it() -> None:
    """Anything but a timeout, an error included, starts the count anew."""
    breaker = Breaker(2, 5.0)
    for hung in (True, False, True):
        breaker.saw(hung, 0.0)

    assert breaker.allows(0.0)
