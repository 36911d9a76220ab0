from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from paritygate.router.last_known_good import MAX_FILE_BYTES, LastKnownGood
from paritygate.schemas.decision import GateDecision
from tests.support import decisions

LAW = settings(
    derandomize=True,
    max_examples=100,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


def decision(sequence: int = 3, rollout_id: str = "r1") -> GateDecision:
    return decisions.decision(sequence=sequence, rollout_id=rollout_id)


def test_what_was_saved_is_loaded(tmp_path: Path) -> None:
    """Save and load give the same decision, and the newest save wins; no other file stays behind."""
    lkg = LastKnownGood(tmp_path / "state", "r1")
    for sequence in (3, 4):
        lkg.save(decision(sequence))

    loaded = LastKnownGood(tmp_path / "state", "r1").load()

    assert loaded.decision == decision(4)
    assert loaded.warning == ""
    assert list((tmp_path / "state").iterdir()) == [lkg.path]


def test_no_file_is_no_warning(tmp_path: Path) -> None:
    """A first start is nothing to warn of."""
    loaded = LastKnownGood(tmp_path, "r1").load()

    assert loaded.decision is None
    assert loaded.warning == ""


@LAW
@given(cut=st.integers(0, 400))
def test_truncated_file_is_absent(tmp_path: Path, cut: int) -> None:
    """A file cut at any byte reads as absent with a warning that names it."""
    lkg = LastKnownGood(tmp_path, "r1")
    lkg.save(decision())
    lkg.path.write_bytes(lkg.path.read_bytes()[:cut])

    loaded = lkg.load()

    assert loaded.decision is None
    assert str(lkg.path) in loaded.warning


@LAW
@given(place=st.integers(0, 400), byte=st.integers(0, 255))
def test_changed_byte_never_changes_the_decision(tmp_path: Path, place: int, byte: int) -> None:
    """Whatever byte is put anywhere, the file reads as the decision that was saved or as absent."""
    lkg = LastKnownGood(tmp_path, "r1")
    lkg.save(decision())
    data = bytearray(lkg.path.read_bytes())
    data[place % len(data)] = byte
    lkg.path.write_bytes(data)

    loaded = lkg.load()

    assert loaded.decision in (None, decision())
    assert (loaded.decision is None) == bool(loaded.warning)


@LAW
@given(st.binary(max_size=300))
def test_any_bytes_are_no_exception(tmp_path: Path, data: bytes) -> None:
    """Foreign content reads as absent with a warning."""
    lkg = LastKnownGood(tmp_path, "r1")
    lkg.path.write_bytes(data)

    loaded = lkg.load()

    assert loaded.decision is None
    assert loaded.warning


def test_other_rollout_is_absent(tmp_path: Path) -> None:
    """A file copied from another rollout's router is not obeyed."""
    other, mine = LastKnownGood(tmp_path, "r2"), LastKnownGood(tmp_path, "r1")
    other.save(decision(rollout_id="r2"))
    other.path.rename(mine.path)

    loaded = mine.load()

    assert loaded.decision is None
    assert "another rollout" in loaded.warning


def test_huge_file_is_not_read(tmp_path: Path) -> None:
    """A file larger than any decision is absent."""
    lkg = LastKnownGood(tmp_path, "r1")
    with lkg.path.open("wb") as file:
        file.truncate(MAX_FILE_BYTES + 1)

    assert "larger" in lkg.load().warning


def test_folder_in_place_of_the_file_is_absent(tmp_path: Path) -> None:
    """What cannot be opened is a warning, not an exception."""
    lkg = LastKnownGood(tmp_path, "r1")
    lkg.path.mkdir()

    assert "cannot be read" in lkg.load().warning


def test_failed_save_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """When the disk is full the last decision still stands and no temporary file is left."""
    lkg = LastKnownGood(tmp_path, "r1")
    lkg.save(decision(3))

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="No space left"):
        lkg.save(decision(4))

    assert lkg.load().decision == decision(3)
    assert list(tmp_path.iterdir()) == [lkg.path]


def test_rollout_id_never_becomes_a_path(tmp_path: Path) -> None:
    """An id with slashes stays inside the folder."""
    assert LastKnownGood(tmp_path, "../../etc/passwd").path.parent == tmp_path
