"""The benchmark of the core measures work that is really done."""

from __future__ import annotations

import json
from pathlib import Path

import core
import pytest
from core_traffic import make_logs


@pytest.mark.parametrize("way", core.WAYS, ids=lambda way: way.name)
def test_every_pair_is_counted(way: core.Way) -> None:
    """A run that loses a pair ends; one that counts all says where the time went."""
    logs = make_logs(600, distinct=way.distinct, as_json=way.as_json)
    spent = core.run(way, logs, 600)

    assert spent.total_s >= spent.decode_s > 0
    with pytest.raises(SystemExit, match="not every pair was counted"):
        core.run(way, logs, 601)


def test_the_file_names_command_and_machine(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A figure without them could not be compared with another."""
    file = tmp_path / "core.json"
    core.main(["--pairs", "500", "--runs", "1", "--only", "avro_outputs", "--json", str(file)])
    result = json.loads(file.read_text())

    assert [row["way"] for row in result["rows"]] == ["avro_outputs"]
    assert result["rows"][0]["pairs_per_cpu_s"] > 0
    assert result["machine"]
    assert result["command"].startswith("python benchmarks/core.py --pairs 500")
    assert "avro_outputs" in capsys.readouterr().out
