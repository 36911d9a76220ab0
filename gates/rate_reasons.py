"""Rate reasons: the sentences of gates on rates, from the counts that they rest on.

Law: no sentence holds a number that is not a count of the tally or follows from counts.
"""

from __future__ import annotations

from paritygate.comparators.evidence import interval
from paritygate.gates.columns import COLUMNS
from paritygate.gates.evidence import Sums
from paritygate.gates.findings import bad_limit
from paritygate.gates.measures import Rule
from paritygate.gates.onsets import Onset, onset_at
from paritygate.gates.reasons import between, many, number, percent, some
from paritygate.gates.spec import GateSpec

#: How many failing output rules are named.
RULES_NAMED = 3
_INVALID = "invalid.candidate."


class RateReasons:
    """Phrases about one gate and the counts of one judgement."""

    def __init__(self, spec: GateSpec, sums: Sums) -> None:
        self._spec, self._sums, self._columns = spec, sums, COLUMNS[spec.measure]
        self._relative = spec.rule is Rule.MAXIMUM_REGRESSION_PERCENT

    def limit(self) -> str:
        """``at most 1 %``."""
        if self._relative:
            return f"at most {self._spec.limit:g} % more than the baseline"
        return f"at most {percent(bad_limit(self._spec))}"

    def stage(self) -> str:
        """``3 of 800 requests failed (0.38 %, between 0.1 % and 1.2 %)``."""
        columns = self._columns
        bad, total = self._sums.in_stage(columns.bad), self._sums.in_stage(columns.total)
        rate = f" ({percent(bad / total)}, surely {between(*interval.rate(bad, total))})" if total else ""
        return f"{some(bad, total, columns.noun)} {columns.verb}{rate}{self._beside()}"

    def whole(self) -> str:
        """The same since the rollout began, without the interval."""
        columns = self._columns
        bad, total = self._sums.in_whole(columns.bad), self._sums.in_whole(columns.total)
        rate = f" ({percent(bad / total)})" if total else ""
        return f"{some(bad, total, columns.noun)} {columns.verb}{rate}{self._beside()}"

    def since(self, onset: Onset, *, live: bool) -> str:
        """``since 14:05 UTC 31 of 900 requests failed (3.4 %, surely 1.7 % to 6.1 %)``."""
        columns = self._columns
        noun, saw = ("answer", " that users saw") if live else (columns.noun, "")
        bad, total = self._counts_since(onset, live=live)
        rate = f"{percent(bad / max(total, 1))}, surely {between(*interval.rate(bad, total, onset.alpha))}"
        beside = ""
        if self._relative and columns.baseline is not None:
            beside = f", {int(self._sums.since(columns.baseline[0])[onset.start]):,} of the baseline's"
        return f"{onset.since} {some(bad, total, noun)}{saw} {columns.verb} ({rate}){beside}"

    def numbers_since(self, onset: Onset, *, live: bool) -> dict[str, float | None]:
        """What is stored of :meth:`since`."""
        bad, total = self._counts_since(onset, live=live)
        value, (low, high) = bad / max(total, 1), interval.rate(bad, total, onset.alpha)
        if self._spec.rule is Rule.MINIMUM:
            value, low, high = 1.0 - value, 1.0 - high, 1.0 - low
        shown = {"onset_value": number(value), "onset_low": number(low), "onset_high": number(high)}
        return {"onset_at_ms": onset.at_ms, "onset_bad": bad, "onset_total": total, **shown}

    def _counts_since(self, onset: Onset, *, live: bool) -> tuple[int, int]:
        counted = (self._columns.bad, self._columns.total)
        if live and self._columns.live is not None:
            counted = self._columns.live
        bad, total = (int(self._sums.since(name)[onset.start]) for name in counted)
        return bad, total

    def live(self) -> str:
        """``3 of 5 answers that users saw failed``."""
        columns, sums = self._columns, self._sums
        bad, total = columns.live or (columns.bad, columns.total)
        return f"{some(sums.in_whole(bad), sums.in_whole(total), 'answer')} that users saw {columns.verb}"

    def share(self) -> str:
        """``9 of 11 live errors came from the 5 % of traffic that the candidate answered``."""
        rows = self._sums.evidence.live_batches
        candidate, baseline = (int(rows[:, i].sum()) for i in (2, 3)) if rows is not None else (0, 0)
        live = self._sums.in_whole("live_candidate")
        part = live / max(live + self._sums.in_whole("live_baseline"), 1)
        errors = f"{candidate:,} of {many(candidate + baseline, 'live error')}"
        return f"{errors} came from the {percent(part)} of traffic that the candidate answered"

    def segment(self, segment: int) -> str:
        """``31 of 120 requests failed in carrier_tier=regional & origin=JFK, where 1 of the baseline's did``."""
        columns, table = self._columns, self._sums.segments
        bad, total = (int(table.count(name)[segment]) for name in (columns.bad, columns.total))
        where = f"{some(bad, total, columns.noun)} {columns.verb} in {table.name(segment)}"
        if columns.baseline is None:
            return where
        return f"{where}, where {int(table.count(columns.baseline[0])[segment]):,} of the baseline's did"

    def both_sick(self, onset: int) -> str:
        """Both arms above the limit since an onset (a row of ``Sums.starts``; 0 is the rollout's start)."""
        columns, sums = self._columns, self._sums
        bad, total = columns.baseline or (columns.bad, columns.total)
        base, base_total = int(sums.since(bad)[onset]), int(sums.since(total)[onset])
        ours = some(int(sums.since(columns.bad)[onset]), int(sums.since(columns.total)[onset]), columns.noun)
        rate = percent(base / base_total) if base_total else "none"
        since = f" {onset_at(sums, onset).since}" if onset else ""
        both = f"{ours} {columns.verb}{since}, and so did {base:,} of the baseline's ({rate})"
        return f"{both}: above the limit of {percent(bad_limit(self._spec))} in both arms"

    def apart(self) -> str:
        """``; 31 failed in the candidate alone, 4 in the baseline alone, 12 in both``."""
        columns, sums = self._columns, self._sums
        if columns.paired is None:
            return ""
        ours, theirs = (sums.in_whole(name) for name in columns.paired)
        both = max(sums.in_whole(columns.bad) - ours, 0)
        return (
            f"; {ours:,} {columns.verb} in the candidate alone, {theirs:,} in the baseline alone, {both:,} in both"
        )

    def target(self) -> str:
        """That the baseline is above the limit too, where it is; it is what a rollback goes back to."""
        columns = self._columns
        if columns.baseline is None or self._relative or not target_unhealthy(self._spec, self._sums):
            return ""
        bad, total = (self._sums.in_whole(name) for name in columns.baseline)
        rate = percent(bad / total)
        return f"; target_unhealthy: the baseline is above {percent(bad_limit(self._spec))} itself ({rate})"

    def rules(self) -> str:
        """``: confidence.range in 41 of 2,012 outputs``; nothing for other measures."""
        if self._spec.measure != "schema_validation_pass_rate":
            return ""
        totals = self._sums.evidence.whole.totals
        broken = [(key.removeprefix(_INVALID), count) for key, count in totals.items() if key.startswith(_INVALID)]
        first = sorted(broken, key=lambda item: (-item[1], item[0]))[:RULES_NAMED]
        if not first:
            return ""
        outputs = self._sums.in_whole(self._columns.total)
        named = f"{first[0][0]} in {some(first[0][1], outputs, 'output')}"
        return f": {named}" + "".join(f", {rule} in {count:,}" for rule, count in first[1:])

    def _beside(self) -> str:
        if not self._relative or self._columns.baseline is None:
            return ""
        return f", {self._sums.in_whole(self._columns.baseline[0]):,} of the baseline's"


def target_unhealthy(spec: GateSpec, sums: Sums) -> bool:
    """Whether the baseline, to which a rollback leads, has itself been above an absolute limit."""
    columns = COLUMNS[spec.measure]
    if columns.baseline is None or spec.rule is Rule.MAXIMUM_REGRESSION_PERCENT:
        return False
    bad, total = (sums.in_whole(name) for name in columns.baseline)
    return bad >= spec.minimum_bad_events and bad > bad_limit(spec) * total
