from __future__ import annotations

from pathlib import Path

import orjson
import pytest

from paritygate.cli.main import main
from paritygate.rollouts.plan import RolloutPlan

PLAN = """\
rollout: fraud-9
service: fraud
baseline: {version: "1"}
candidate: {version: "2"}
owner: ada@example.com
rollback_condition: any required gate fails
promotion_gates:
  error_rate: {maximum: 0.01}
  schema_validation_pass_rate: {minimum: 0.99}
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "rollout.yaml"


def test_json_is_the_whole_plan(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """--json prints the plan with its defaults, from which the same digest follows."""
    file.write_text(PLAN)

    assert main(["validate", str(file), "--json"]) == 0
    out, err = capsys.readouterr()
    data = orjson.loads(out)
    assert err == ""
    assert RolloutPlan.from_plain(data["plan"]).digest() == data["digest"]
    assert data["rollout_id"] == "fraud-9"


@pytest.mark.parametrize(
    ("text", "place", "what"),
    [
        (PLAN + "colour: red\n", ":10:1 colour", "unknown"),
        (PLAN.replace("maximum:", "maximun:"), ":8:", "maximum"),
        (PLAN + "owner: bob@example.com\n", ":10:1", "twice"),
        (PLAN.replace("owner: ada@example.com", "owner: &a ada"), "", "anchor"),
        ("just a sentence\n", "", "mapping"),
        ("a: [1, 2\n", "", ""),
    ],
)
def test_errors_name_file_line_and_column(
    text: str, place: str, what: str, file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A plan that cannot be used is one line that an editor can jump to, exit code 2."""
    file.write_text(text)

    assert main(["validate", str(file)]) == 2
    err = capsys.readouterr().err
    assert err.startswith(f"error: {file}{place}")
    assert what in err
    assert err.count("\n") == 1


@pytest.mark.parametrize(
    ("data", "what"), [(b"\xff\xfe\x00", "not UTF-8"), (b"#" * (2 << 20), "larger than"), (b"", "")]
)
def test_files_that_are_no_text_are_refused(
    data: bytes, what: str, file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Binary, huge and empty files are errors with the file's name."""
    file.write_bytes(data)

    assert main(["validate", str(file)]) == 2
    err = capsys.readouterr().err
    assert str(file) in err
    assert what in err
