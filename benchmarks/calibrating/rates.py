"""Rate gates on simulated traffic, with and without segments, and what peers see of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from calibrating import peers
from calibrating.outcome import I64, Mask, Outcome, outcome
from calibrating.rate_gates import assess
from calibrating.traffic import MINUTE, Traffic, Windows, windows
from paritygate.gates.findings import bad_limit
from paritygate.gates.measures import Rule
from paritygate.gates.spec import GateSpec

SEGMENTS: Final = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class Segmented:
    """50 segments of unequal size (the largest has 22 %, the smallest 0.4 %) under several gates.

    ``baseline`` / ``candidate``: rate of bad ones per gate. ``broken``: the segment that fails, of the first
    gate's measure, by ``broken_rate``; None where none does. ``incidents``: as in :class:`Traffic`.
    """

    gates: tuple[GateSpec, ...]
    baseline: tuple[float, ...]
    candidate: tuple[float, ...]
    broken: int | None = None
    broken_rate: float = 0.5
    incidents: float = 0.0
    looks: int = 100
    window: int = 200


def simulate(
    gate: GateSpec, stream: Traffic, runs: int, random: np.random.Generator
) -> tuple[Outcome, dict[str, Outcome]]:
    """The gate's outcome and the peers'."""
    drawn = windows(stream, runs, random)
    said = assess(gate, drawn)
    return outcome(said.failed, said.passed, stream.pairs), _peers(gate, drawn, stream.windows_a_minute)


def simulate_segments(
    stream: Segmented, runs: int, random: np.random.Generator
) -> tuple[Outcome, dict[str, Outcome]]:
    """All gates together: a rollback is any gate's, a promotion needs all of them at one look."""
    size = 1.0 / np.arange(1, SEGMENTS + 1)
    shape = (runs, stream.looks)
    requests = random.multinomial(stream.window, size / size.sum(), shape)
    per_minute = MINUTE // stream.window
    struck = random.random((runs, -(-stream.looks // per_minute))) < stream.incidents
    factor = np.where(np.repeat(struck, per_minute, axis=1)[:, : stream.looks, None], 20.0, 1.0)
    failed, passed = np.zeros(shape, np.bool_), np.ones(shape, np.bool_)
    alarms: dict[str, list[Outcome]] = {}
    for i, gate in enumerate(stream.gates):
        cells = _cells(stream, i, requests, factor, random)
        said = assess(gate, _overall(cells), cells)
        failed |= said.failed
        passed &= said.passed
        for name, found in _segment_peers(gate, cells, per_minute).items():
            alarms.setdefault(name, []).append(found)
    pairs = (np.arange(stream.looks) + 1) * stream.window
    # A peer watches every gate and segment: its first alarm anywhere is its rollback.
    merged = {
        name: Outcome(np.min([f.rollback for f in found], axis=0), np.max([f.promote for f in found], axis=0))
        for name, found in alarms.items()
    }
    return outcome(failed, passed & ~failed, pairs), merged


def _cells(stream: Segmented, gate: int, requests: I64, factor: object, random: np.random.Generator) -> Windows:
    base = np.minimum(stream.baseline[gate] * np.asarray(factor), 0.9)
    rate = np.minimum(stream.candidate[gate] * np.asarray(factor), 0.9)
    own = np.broadcast_to(rate, requests.shape).copy()
    if gate == 0 and stream.broken is not None:
        own[:, :, stream.broken] = stream.broken_rate
    bad = random.binomial(requests, own)
    both = random.binomial(bad, np.broadcast_to(base, requests.shape))
    better = random.binomial(requests - bad, np.broadcast_to(base, requests.shape))
    none = np.zeros_like(requests)
    return Windows(requests, bad - both, better, both, none, none, none, none)


def _overall(cells: Windows) -> Windows:
    return Windows(*(getattr(cells, name).sum(axis=2) for name in Windows.__slots__))


def _minutes(counts: I64, per_minute: int) -> I64:
    """Counts per minute, ``[runs, minutes, …]``; a last part of a minute is left out."""
    whole = counts.shape[1] // per_minute * per_minute
    found: I64 = counts[:, :whole].reshape(len(counts), -1, per_minute, *counts.shape[2:]).sum(axis=2)
    return found


def _alarm(gate: GateSpec, bad: I64, baseline_bad: I64, total: I64) -> tuple[Mask, Mask]:
    """Alarms of the window rule and of the z-test per minute."""
    one_arm = gate.measure in ("label_change_rate", "output_change_rate")
    if gate.rule is Rule.MAXIMUM_REGRESSION_PERCENT:
        threshold = bad > (1.0 + gate.limit / 100.0) * baseline_bad
    else:
        threshold = bad > bad_limit(gate) * total
    if one_arm:  # A change is a property of the pair: the test is against the limit.
        share, limit = bad / np.maximum(total, 1), bad_limit(gate)
        spread = np.sqrt(limit * (1.0 - limit) / np.maximum(total, 1))
        return threshold, (total > 0) & (share - limit >= peers.Z_95 * spread)
    return threshold, peers.two_proportions(bad, baseline_bad, total, total)


def _peers(gate: GateSpec, drawn: Windows, per_minute: int) -> dict[str, Outcome]:
    bad, base, total = (_minutes(c, per_minute) for c in (drawn.bad, drawn.baseline_bad, drawn.total))
    threshold, z_test = _alarm(gate, bad, base, total)
    found = {
        "window_threshold": peers.alarms(threshold, MINUTE),
        "z_test": peers.alarms(z_test, MINUTE),
    }
    if gate.measure not in ("label_change_rate", "output_change_rate"):
        found["mann_whitney"] = peers.alarms(peers.mann_whitney(base / total, bad / total), MINUTE)
    return found


def _segment_peers(gate: GateSpec, cells: Windows, per_minute: int) -> dict[str, Outcome]:
    """The same for each segment."""
    bad, base, total = (_minutes(c, per_minute) for c in (cells.bad, cells.baseline_bad, cells.total))
    threshold, z_test = (np.any(alarm, axis=2) for alarm in _alarm(gate, bad, base, total))
    found = {"window_threshold": peers.alarms(threshold, MINUTE), "z_test": peers.alarms(z_test, MINUTE)}
    if gate.measure not in ("label_change_rate", "output_change_rate"):
        # A segment without a request in a minute has rate 0 in both arms there, which is a tie.
        each = [np.moveaxis(c / np.maximum(total, 1), 2, 1).reshape(-1, total.shape[1]) for c in (base, bad)]
        judged: Mask = np.any(peers.mann_whitney(*each).reshape(len(total), -1, total.shape[1]), axis=1)
        found["mann_whitney"] = peers.alarms(judged, MINUTE)
    return found
