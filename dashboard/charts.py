"""Charts: the history of a gate and the bar of a stage as inline SVG.

Law: no script, no style attribute, no reference to anything outside; colours come from classes of the page. What
lies outside of the shown range is cut at its edge, and a value that is not known is a gap.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence

from paritygate.dashboard.elements import Html, element
from paritygate.dashboard.words import amount
from paritygate.rollouts.histories import GateHistory, Point

WIDTH, HEIGHT = 320, 132
LEFT, RIGHT, TOP, BOTTOM = 8, 8, 16, 20
#: How far beyond values and limit the range may go for an interval, in spans of those.
ROOM = 1.5
_X = Callable[[Point], float]
_Y = Callable[[float], float]


def gate_chart(history: GateHistory) -> Html | None:
    """Value and interval of a gate over time against its limit; None where no point has a value."""
    known = [p for p in history.points if p.value is not None and math.isfinite(p.value)]
    if not known:
        return None
    low, high = _range(history, known)
    first, last = history.points[0].at_ms, history.points[-1].at_ms

    def x(p: Point) -> float:
        place = 0.5 if last == first else (p.at_ms - first) / (last - first)
        return round(LEFT + place * (WIDTH - LEFT - RIGHT), 1)

    def y(value: float) -> float:
        place = (min(max(value, low), high) - low) / (high - low)
        return round(HEIGHT - BOTTOM - place * (HEIGHT - TOP - BOTTOM), 1)

    parts = [element("title", _title(history))]
    parts += [_forbidden(history, y)] if history.limit is not None and history.at_most is not None else []
    for run in _runs(history.points):
        parts += [_band(run, x, y, (low, high))]
        parts += [element("polyline", class_="line", points=" ".join(f"{x(p)},{y(p.value or 0.0)}" for p in run))]
        parts += [
            element("circle", class_=f"dot {p.verdict}", cx=str(x(p)), cy=str(y(p.value or 0.0)), r="2.6")
            for p in _turns(run)
        ]
    parts += list(_stages(history.points, x))
    if history.limit is not None:
        parts += [
            element(
                "line", class_="limit", x1=str(LEFT), x2=str(WIDTH - RIGHT),
                y1=str(y(history.limit)), y2=str(y(history.limit)),
            )
        ]  # fmt: skip
    ends = ((high, TOP - 5), (low, HEIGHT - BOTTOM + 13))
    parts += [element("text", amount(v, history.unit), x=str(LEFT), y=str(at), class_="axis") for v, at in ends]
    return element("svg", *parts, viewBox=f"0 0 {WIDTH} {HEIGHT}", role="img", class_="chart")


def bar(ratio: float) -> Html:
    """A bar of ``ratio`` of its width."""
    filled = element("rect", class_="fill", x="0", y="0", height="8", rx="2", width=f"{100 * ratio:.1f}")
    ground = element("rect", class_="ground", x="0", y="0", height="8", rx="2", width="100")
    return element(
        "svg", ground, filled, viewBox="0 0 100 8", class_="bar", aria_hidden="true", preserveAspectRatio="none"
    )


def _title(history: GateHistory) -> str:
    last = history.points[-1]
    return f"{history.gate}: {last.verdict} at the end, value {amount(last.value, history.unit)}"


def _range(history: GateHistory, known: Sequence[Point]) -> tuple[float, float]:
    values = [p.value for p in known if p.value is not None]
    values += [history.limit] if history.limit is not None else []
    low, high = min(values), max(values)
    room = ROOM * (high - low) or abs(high) or 1.0
    bounds = [b for p in known for b in (p.low, p.high) if b is not None and math.isfinite(b)]
    low, high = (
        min([low, *(b for b in bounds if b >= low - room)]),
        max([high, *(b for b in bounds if b <= high + room)]),
    )
    margin = 0.06 * (high - low) or 0.06 * abs(high) or 1.0
    return low - margin, high + margin


def _runs(points: Sequence[Point]) -> Iterator[list[Point]]:
    """Points in a row that have a value, within one stage: evidence starts anew with each."""
    run: list[Point] = []
    for p in points:
        if p.value is None or not math.isfinite(p.value) or (run and run[-1].stage != p.stage):
            if run:
                yield run
            run = []
        if p.value is not None and math.isfinite(p.value):
            run.append(p)
    if run:
        yield run


def _turns(run: Sequence[Point]) -> list[Point]:
    """The points at which the verdict is another than before, and the last one."""
    return [p for i, p in enumerate(run) if i in (0, len(run) - 1) or p.verdict != run[i - 1].verdict]


def _band(run: Sequence[Point], x: _X, y: _Y, shown: tuple[float, float]) -> Html:
    def edge(value: float | None, outside: float) -> float:
        return y(outside if value is None or not math.isfinite(value) else value)

    upper = [f"{x(p)},{edge(p.high, shown[1])}" for p in run if not (p.low is None and p.high is None)]
    lower = [f"{x(p)},{edge(p.low, shown[0])}" for p in run if not (p.low is None and p.high is None)]
    return element("polygon", class_="band", points=" ".join([*upper, *reversed(lower)]))


def _forbidden(history: GateHistory, y: _Y) -> Html:
    """The side of the limit on which a gate fails."""
    assert history.limit is not None
    limit, top, bottom = y(history.limit), float(TOP), float(HEIGHT - BOTTOM)
    begin, end = (top, limit) if history.at_most else (limit, bottom)
    return element(
        "rect", class_="beyond", x=str(LEFT), y=str(begin), width=str(WIDTH - LEFT - RIGHT),
        height=f"{max(end - begin, 0.0):.1f}",
    )  # fmt: skip


def _stages(points: Sequence[Point], x: _X) -> Iterator[Html]:
    """A line and a name where a stage begins."""
    for i, p in enumerate(points):
        if i and p.stage != points[i - 1].stage:
            yield element("line", class_="stage", x1=str(x(p)), x2=str(x(p)), y1=str(TOP), y2=str(HEIGHT - BOTTOM))
            yield element("text", p.stage, class_="axis stage-name", x=str(x(p)), y=str(HEIGHT - BOTTOM + 13))
