"""The flat tables hold what the logs hold, and every SQL recipe of the page runs on them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import duckdb
import pytest

from paritygate.cli.flat import TABLES, command_rows, decision_rows, window_rows
from paritygate.cli.parquet import ParquetFolder
from paritygate.rollouts.audit import links
from paritygate.schemas.errors import ConfigError
from tests.support.story import logs_of, story

LOGS = logs_of(story())
PAGE = Path(__file__).parents[3] / "docs" / "how-to" / "query.md"


def export(folder: Path) -> dict[str, int]:
    with ParquetFolder(folder, TABLES) as files:
        for table, row in command_rows(enumerate(LOGS.commands)):
            files.add(table, row)
        for link in links(enumerate(LOGS.decisions)):
            for table, row in decision_rows(link):
                files.add(table, row)
        for offset, report in enumerate(LOGS.reports):
            for table, row in window_rows(offset, report):
                files.add(table, row)
    return files.written


@pytest.fixture(scope="module")
def recipes(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[tuple[Any, ...]]]:
    """The result of the last statement of every recipe, by its heading."""
    folder = tmp_path_factory.mktemp("export")
    export(folder)
    db, found = duckdb.connect(), {}
    for heading, body in re.findall(
        r"^## (.+?)\n.*?^```sql\n(.*?)^```$", PAGE.read_text(), re.DOTALL | re.MULTILINE
    ):
        found[heading] = db.execute(re.sub(r"'(\w+\.parquet)'", rf"'{folder}/\1'", body)).fetchall()
    return found


def test_every_record_is_a_row(tmp_path: Path) -> None:
    """As many windows, cells, decisions, verdicts and commands as lie in the logs; a decision reads back whole."""
    written = export(tmp_path / "new")

    assert written == {
        "windows": len(LOGS.reports),
        "cells": sum(len(r.cells) for r in LOGS.reports),
        "totals": sum(len(r.totals) for r in LOGS.reports),
        "histograms": 0,
        "decisions": len(LOGS.decisions),
        "verdicts": sum(len(d.verdicts) for d in LOGS.decisions),
        "commands": len(LOGS.commands),
    }
    last = LOGS.decisions[-1]
    (row,) = duckdb.execute(
        "SELECT rollout_id, sequence, action, counts['requests'], digest, place FROM read_parquet(?) "
        "ORDER BY audit_offset DESC LIMIT 1",
        [str(tmp_path / "new" / "decisions.parquet")],
    ).fetchall()
    wanted = (last.rollout_id, last.sequence, last.action.value, last.counts["requests"], last.digest(), "chained")
    assert row == wanted


def test_an_export_is_never_written_over(tmp_path: Path) -> None:
    """A folder that holds one is refused, and one that failed leaves nothing."""
    with pytest.raises(RuntimeError, match="broker"), ParquetFolder(tmp_path, TABLES):
        raise RuntimeError("the broker went away")
    assert list(tmp_path.iterdir()) == []

    export(tmp_path)
    with pytest.raises(ConfigError, match=r"holds windows\.parquet already"):
        export(tmp_path)


def test_every_recipe_gives_rows(recipes: dict[str, list[tuple[Any, ...]]]) -> None:
    """All headings below the first have SQL, and it finds something."""
    headings = re.findall(r"^## (.+)$", PAGE.read_text(), re.MULTILINE)

    assert list(recipes) == headings
    assert [h for h in headings[1:] if not recipes[h]] == []


def test_the_life_of_a_rollout_is_its_steps(recipes: dict[str, list[tuple[Any, ...]]]) -> None:
    """The recipe lists what was decided, without holds."""
    steps = [(d.rollout_id, d.sequence) for d in LOGS.decisions if d.action.value != "hold" or d.sequence == 0]

    assert [row[:2] for row in recipes["The life of every rollout"]] == sorted(steps)


def test_segments_are_summed_over_the_newest_versions(recipes: dict[str, list[tuple[Any, ...]]]) -> None:
    """The requests of all segments of a rollout are those of its newest reports."""
    rows = recipes["Error rates of both arms by segment"]
    newest = {(r.rollout_id, r.partition, r.window_start_ms): r for r in LOGS.reports}
    s1 = sum(cell.counts[0] for (rollout, *_), r in newest.items() if rollout == "s1" for cell in r.cells)

    assert sum(row[2] for row in rows if row[0] == "s1") == s1


def test_every_accepted_command_meets_its_decision(recipes: dict[str, list[tuple[Any, ...]]]) -> None:
    """What was refused stands without one."""
    rows = recipes["Who said what, and what came of it"]
    refused = [row[0] for row in rows if row[5] is None]

    assert refused == [0]
    assert len(rows) == len(LOGS.commands)


def test_windows_give_the_counts_that_decisions_hold(recipes: dict[str, list[tuple[Any, ...]]]) -> None:
    """Requests by SQL equal what the decision says, for every decision that saw a window."""
    rows = recipes["Is a decision's count what the windows give?"]

    assert len(rows) >= sum(d.counts.get("requests", 0) > 0 for d in LOGS.decisions)
    assert [row for row in rows if row[2] != row[3]] == []
