"""How verdicts combine."""

from __future__ import annotations

from itertools import permutations

from paritygate.gates.verdict import ORDER, VerdictKind, worst


def test_worst_of_all_orders() -> None:
    """fail beats error beats inconclusive beats pass, in any order of the gates."""
    for count in range(1, 5):
        for kinds in permutations(ORDER, count):
            assert worst(kinds) is max(kinds, key=ORDER.index)


def test_no_gate_is_no_proof() -> None:
    """The worst of nothing is inconclusive."""
    assert worst([]) is VerdictKind.INCONCLUSIVE
