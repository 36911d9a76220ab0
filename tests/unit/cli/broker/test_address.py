"""Which broker is meant."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from paritygate.cli.broker import process
from paritygate.cli.broker.address import (
    STATE_FILE,
    BrokerState,
    broker_folder,
    cache_folder,
    read_state,
    remove_state,
    resolve_bootstrap,
    write_state,
)
from paritygate.schemas.errors import ConfigError


def _state(*, born: str | None = None) -> BrokerState:
    return BrokerState(
        kind="apache",
        bootstrap="127.0.0.1:1234",
        pid=os.getpid(),
        born=born or process.birth(os.getpid()) or "",
        started_at_ms=1,
        log="broker.log",
        durable=True,
    )


def test_a_given_address_wins(tmp_path: Path) -> None:
    """The option beats the environment, the environment beats the broker that we started."""
    write_state(tmp_path, _state())
    environ = {"PARITYGATE_BOOTSTRAP": "env:1"}

    assert resolve_bootstrap("option:1", environ=environ, run_dir=tmp_path) == "option:1"
    assert resolve_bootstrap(environ=environ, run_dir=tmp_path) == "env:1"
    assert resolve_bootstrap(environ={}, run_dir=tmp_path) == "127.0.0.1:1234"


def test_no_address_says_the_three_ways(tmp_path: Path) -> None:
    """Without any broker the error names everything that would help."""
    with pytest.raises(ConfigError, match=r"PARITYGATE_BOOTSTRAP or --bootstrap, or run 'paritygate broker up'"):
        resolve_bootstrap(environ={}, run_dir=tmp_path)


def test_another_process_under_the_same_pid_is_not_ours(tmp_path: Path) -> None:
    """A state whose pid now belongs to a process born at another time names no broker."""
    write_state(tmp_path, _state(born="tick 1"))

    with pytest.raises(ConfigError, match="has ended"):
        resolve_bootstrap(environ={}, run_dir=tmp_path)


def test_a_state_reads_as_written_and_is_forgotten(tmp_path: Path) -> None:
    """What is written is read back whole; forgetting twice is no error."""
    write_state(tmp_path, _state())
    assert read_state(tmp_path) == _state()

    remove_state(tmp_path)
    remove_state(tmp_path)

    assert read_state(tmp_path) is None


@pytest.mark.parametrize("text", ["", "{", "[]", '{"kind": "apache"}', '{"other": 1}'])
def test_a_broken_state_is_one_clear_error(tmp_path: Path, text: str) -> None:
    """A state file that is not ours names itself and what to do."""
    (tmp_path / STATE_FILE).write_text(text)

    with pytest.raises(ConfigError, match=STATE_FILE):
        read_state(tmp_path)


def test_folders_follow_the_environment(tmp_path: Path) -> None:
    """PARITYGATE_RUN and PARITYGATE_CACHE move the folders, XDG_CACHE_HOME the cache's parent."""
    assert broker_folder({"PARITYGATE_RUN": str(tmp_path)}) == tmp_path / "broker"
    assert broker_folder({}) == Path.cwd() / "run" / "broker"
    assert cache_folder({"PARITYGATE_CACHE": str(tmp_path)}) == tmp_path
    assert cache_folder({"XDG_CACHE_HOME": str(tmp_path)}) == tmp_path / "paritygate"
