"""``paritygate plan``: tables, JSON and exit codes."""

from __future__ import annotations

from pathlib import Path

import orjson
import pytest

from paritygate.cli.main import main

PLAN = """\
rollout: fraud-9
service: fraud
baseline: {version: "1"}
candidate: {version: "2"}
owner: ada@example.com
rollback_condition: any required gate fails
segments: [tier]
output: {machine_consumed: false}
promotion_gates:
  error_rate: {maximum: 0.01}
  latency_p95_ms: {maximum_regression_percent: 10}
  human_review_score: {minimum_delta: -0.02, advisory: true}
stages:
  - {weight: 0, minimum_seconds: 60, minimum_pairs: 1000, maximum_seconds: 600}
  - {weight: 5, minimum_seconds: 60, minimum_pairs: 1000}
  - {weight: 100, minimum_seconds: 0, minimum_pairs: 1}
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "rollout.yaml"
    path.write_text(PLAN)
    return path


def test_power_shows_every_stage_and_gate(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Needs, times, floors, verdicts, the sum and the assumptions; exit code 0 when all can be decided."""
    assert main(["plan", "power", str(file), "--rps", "200"]) == 0
    out, err = capsys.readouterr()

    assert err == ""
    for word in ("shadow", "5 (5 %)", "error_rate", "latency_p95_ms", "human_review_score (advisory)", "11,200"):
        assert word in out
    assert "= stage (at least 1 m and 1,000 pairs, at most 10 m)" in out
    assert "all stages: " in out
    assert "error_rate=0.003" in out
    assert out.count("not decidable within maximum_seconds") == 1
    assert "stage shadow, human_review_score: needs a wider limit" in out


def test_power_fails_where_a_required_gate_cannot_be_decided(
    file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit code 1, and what to change in words."""
    assert main(["plan", "power", str(file), "--rps", "5"]) == 1
    out = capsys.readouterr().out

    assert "stage shadow, latency_p95_ms: needs a wider limit (maximum_regression_percent: " in out
    assert "more traffic (" in out


def test_power_as_json_has_every_number(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One document; never is null; overrides are in it."""
    arguments = ["--rps", "200", "--assume", "error_rate=0.02", "--json"]
    assert main(["plan", "power", str(file), *arguments]) == 1
    data = orjson.loads(capsys.readouterr().out)
    shadow = data["stages"][0]

    assert (data["rollout_id"], data["decidable"], data["requests_per_second"]) == ("fraud-9", False, 200.0)
    assert data["assumed"]["error_rate"] == 0.02
    assert [s["stage"] for s in data["stages"]] == ["shadow", "5"]
    assert (shadow["minimum_pairs"], shadow["maximum_ms"], shadow["p90_ms"]) == (1000, 600_000, None)
    assert shadow["gates"][0] == {
        "gate": "error_rate",
        "required": True,
        "sample": "pairs",
        "needed_p50": None,
        "needed_p90": None,
        "p50_ms": None,
        "p90_ms": None,
        "live_only_p90_ms": None,
        "verdict": "never (limit not provable)",
        "change": "needs a wider limit (maximum: 0.025)",
    }
    assert shadow["gates"][2]["sample"] == "scored pairs"


def test_power_shows_the_times_that_are_obeyed(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Two circumstances make the low stages three times as long: in words, in the floors, and as JSON."""
    file.write_text(PLAN + "spend_more_time_when: [trust_or_money, traffic_variable]\n")

    assert main(["plan", "power", str(file), "--rps", "200"]) == 0
    out = capsys.readouterr().out
    assert (
        "traffic is highly variable and the model affects customer trust or money movement: shadow, 5 last 3" in out
    )
    assert "= stage (at least 3 m and 1,000 pairs, at most 12 m)" in out

    assert main(["plan", "power", str(file), "--rps", "200", "--json"]) == 0
    data = orjson.loads(capsys.readouterr().out)
    assert data["spend_more_time_when"] == ["traffic_variable", "trust_or_money"]
    times = [(s["written_minimum_ms"], s["minimum_ms"], s["maximum_ms"]) for s in data["stages"]]
    assert times == [(60_000, 180_000, 720_000), (60_000, 180_000, None)]

    assert main(["validate", str(file)]) == 0
    assert "shadow, 5 last 3 times their minimum_seconds" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["power"], "Missing option '--rps'"),
        (["power", "--rps", "0"], "--rps"),
        (["power", "--rps", "nan"], "--rps"),
        (["power", "--rps", "inf"], "--rps must be a finite number"),
        (["power", "--rps", "5", "--assume", "error_rate"], "NAME=NUMBER"),
        (["power", "--rps", "5", "--assume", "eror_rate=1"], "did you mean error_rate?"),
        (["power", "--rps", "5", "--assume", "error_rate=much"], "must be a number"),
        (["lint", "--rps", "many"], "'--rps'"),
        (["lint", "--assume", "error_rate=7"], "lies in 0..0.5"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(
    arguments: list[str], says: str, file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Options and assumptions that make no sense."""
    assert main(["plan", arguments[0], str(file), *arguments[1:]]) == 2
    out, err = capsys.readouterr()

    assert out == ""
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    assert says in err


@pytest.mark.parametrize("verb", [["power", "--rps", "5"], ["lint"]])
def test_a_plan_that_cannot_be_read_is_bad_input(
    verb: list[str], file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The same line as that of validate, exit code 2."""
    file.write_text(PLAN.replace("maximum:", "maximun:", 1))

    assert main(["plan", verb[0], str(file), *verb[1:]]) == 2
    assert f"{file}:10:" in capsys.readouterr().err


def test_lint_warns_and_goes_on(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Warnings alone are no failure."""
    file.write_text(PLAN.replace("weight: 5,", "weight: 10,"))

    assert main(["plan", "lint", str(file)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith(
        f"{file}:15:14 stages.1.weight: warning: promoting too quickly: the first users are 10 %"
    )
    assert lines[-1] == f"{file}: 0 refused, {len(lines) - 1} warned of"


def test_lint_refuses_what_cannot_be_decided(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit code 1 and one line each; as JSON the same."""
    assert main(["plan", "lint", str(file), "--rps", "5"]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert main(["plan", "lint", str(file), "--rps", "5", "--json"]) == 1
    data = orjson.loads(capsys.readouterr().out)

    assert lines[0].startswith(f"{file}:14:76 stages.0.maximum_seconds: latency_p95_ms is not decidable")
    assert data["refused"] == 1
    assert [f["line"] for f in data["findings"]] == lines[:-1]
    assert data["findings"][0]["path"] == "stages.0.maximum_seconds"


def test_the_group_explains_itself(capsys: pytest.CaptureFixture[str]) -> None:
    """Both verbs stand in the help."""
    assert main(["plan", "--help"]) == 0
    out = capsys.readouterr().out

    assert "power" in out
    assert "lint" in out
