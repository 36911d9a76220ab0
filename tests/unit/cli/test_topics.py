from __future__ import annotations

import orjson
import pytest

from paritygate.cli.main import main
from paritygate.cli.topics import compare_partitions
from paritygate.schemas.topics import BULK, TOPICS

GOOD = {t.name: t.partition_count(4) for t in TOPICS}


def test_list_needs_no_broker(capsys: pytest.CaptureFixture[str]) -> None:
    """The table is printed whole, uncut, as text and as JSON."""
    assert main(["topics", "list"]) == 0
    text = capsys.readouterr().out
    assert main(["topics", "list", "--json"]) == 0
    data = orjson.loads(capsys.readouterr().out)

    assert all(t.name in text and t.about in text for t in TOPICS)
    assert [t["name"] for t in data] == [t.name for t in TOPICS]
    assert data[0]["config"]["cleanup.policy"] == "delete"


def test_counts_as_in_the_table_are_no_difference() -> None:
    """Any common count of the joined topics is fine, and so is a topic that is not there."""
    assert compare_partitions(GOOD) == []
    assert compare_partitions({name: 12 if n == 4 else n for name, n in GOOD.items()}) == []
    assert compare_partitions({}) == []


def test_unequal_joined_topics_are_named_with_the_mend() -> None:
    """The topic that has fewer partitions than another is named with its prefix, both counts and a mend."""
    (found,) = compare_partitions({**GOOD, BULK[1].name: 3}, "eu.")

    assert (found.topic, found.severity) == (f"eu.{BULK[1].name}", "fail")
    assert "has 3 partitions" in found.what
    assert f"eu.{BULK[0].name} has 4" in found.what
    assert "--partitions 4" in found.mend


def test_ordered_topics_have_one_partition() -> None:
    """A control topic with more than one partition has lost its order."""
    (found,) = compare_partitions({**GOOD, "decisions.v1": 4})

    assert found.topic == "decisions.v1"
    assert "not 1" in found.what
