"""Sides: both arms measure by measure, each with the gate that is declared on it, as a table.

Law: a number stands beside the rule that judges it; what a gate says is what its last decision recorded.
"""

from __future__ import annotations

from collections.abc import Sequence

from paritygate.dashboard.document import Cell, Mark, Table
from paritygate.dashboard.words import amount, bounds, measured
from paritygate.rollouts.histories import GateHistory
from paritygate.rollouts.sides import SideRow

_COLUMNS = ("measure", "stable", "candidate", "difference with 95 % bounds")


def sides_table(rows: Sequence[SideRow], gates: Sequence[GateHistory] = ()) -> Table:
    """Both arms; a measure with several gates has a row for each."""
    columns = (*_COLUMNS, "gate and what it says", "counted") if gates else (*_COLUMNS, "counted")
    made: list[tuple[Cell, ...]] = []
    for row in rows:
        numbers = amount(row.baseline, row.unit), amount(row.candidate, row.unit), _difference(row)
        said: list[Cell] = [_said(gate) for gate in gates if row.measure and gate.measure == row.measure]
        first: tuple[Cell, ...] = (said[0] if said else "",) if gates else ()
        made.append((row.name, *numbers, *first, row.note))
        made += [(row.name, "", "", "", more, "") for more in said[1:]]
    return Table(columns, tuple(made), (1, 2, 3), (1, 2))


def _difference(row: SideRow) -> str:
    if row.difference is None:
        return ""
    return amount(row.difference, row.unit, signed=True) + bounds(row.low, row.high, row.unit)


def _said(gate: GateHistory) -> Mark:
    """The verdict, the line of the plan, the value that was judged and its interval."""
    last = gate.points[-1]
    told = "" if gate.gate == gate.measure else f"{gate.gate}: "
    told += gate.declared if gate.required else f"{gate.declared}, advisory"
    if last.value is not None:
        told += f"; {measured(last.value, last.low, last.high, gate.unit)}"
    return Mark(gate.verdict, told)
