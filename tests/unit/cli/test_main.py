from __future__ import annotations

import sys
from typing import NoReturn

import pytest
import typer

from paritygate import __version__
from paritygate.cli import extras
from paritygate.cli.main import VERBS, main
from paritygate.schemas.errors import BrokerUnavailableError


@pytest.fixture(autouse=True)
def _no_broker_named(monkeypatch: pytest.MonkeyPatch, tmp_path: object) -> None:
    for name in ("PARITYGATE_BOOTSTRAP", "PARITYGATE_DEBUG", "PARITYGATE_TOPIC_PREFIX"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PARITYGATE_RUN", str(tmp_path))


@pytest.mark.parametrize("arguments", [["--version"], ["version"]])
def test_version_is_one_line(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """Both spellings print the version of the distribution."""
    assert main(arguments) == 0
    assert capsys.readouterr().out == f"paritygate {__version__}\n"


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["stauts"], "did you mean 'status'"),
        (["--nope"], "No such option: --nope"),
        (["status", "--nope"], "see 'paritygate status --help'"),
        (["rollback", "r1"], "Missing option '--reason'"),
        (["rollback", "--reason", "x"], "Missing argument"),
        (["start", "no-such-file.yaml"], "no-such-file.yaml: cannot be read"),
        (["validate", "no-such-file.yaml"], "no-such-file.yaml: cannot be read"),
        (["tail", "decisions.v1", "--max", "0"], "--max"),
        (["tail", "decisions.v1", "--from", "middle"], "'middle'"),
        (["topics", "create", "--partitions", "zero"], "Invalid value for '--partitions'"),
        (["topics", "destroy"], "No such command 'destroy'"),
        (["status"], "no Kafka address"),
        (["status", "--bootstrap", "127.0.0.1:1"], "no Kafka broker answers at 127.0.0.1:1"),
        (["topics", "check", "--bootstrap", "127.0.0.1:1"], "no Kafka broker answers at 127.0.0.1:1"),
        (["tail", "decisions.v1", "--bootstrap", "127.0.0.1:1"], "no Kafka broker answers at 127.0.0.1:1"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(
    arguments: list[str], says: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever is wrong: one ``error:`` line on stderr that names it, nothing on stdout, exit code 2."""
    monkeypatch.setattr("paritygate.cli.kafka.ANSWER_S", 0.5)

    assert main(arguments) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    assert says in err


def _raise(error: BaseException) -> object:
    def verb() -> NoReturn:
        raise error

    return verb


@pytest.mark.parametrize(
    ("error", "code", "says"),
    [
        (BrokerUnavailableError("no broker\nat all"), 2, "error: no broker at all\n"),
        (RuntimeError("boom"), 70, "error: unexpected RuntimeError: boom (set PARITYGATE_DEBUG=1"),
        (PermissionError(13, "Permission denied", "/proc/x"), 2, "error: /proc/x: Permission denied\n"),
        (OSError(28, "No space left on device"), 2, "error: No space left on device\n"),
        (TimeoutError(), 70, "error: unexpected TimeoutError"),
        (KeyboardInterrupt(), 130, ""),
        (typer.Exit(1), 1, ""),
    ],
)
def test_every_end_has_its_exit_code(
    error: BaseException,
    code: int,
    says: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Errors of ours, mistakes, Ctrl-C and failed checks end with their own code and never a traceback."""
    monkeypatch.setattr("paritygate.cli.version.version", _raise(error))

    assert main(["version"]) == code
    err = capsys.readouterr().err
    assert err.startswith(says)
    assert "Traceback" not in err


def test_debug_shows_the_traceback(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """With PARITYGATE_DEBUG=1 the traceback comes before the same line."""
    monkeypatch.setenv("PARITYGATE_DEBUG", "1")
    monkeypatch.setattr("paritygate.cli.version.version", _raise(RuntimeError("boom")))

    assert main(["version"]) == 70
    assert "Traceback" in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [[], ["broker"], ["topics"]])
def test_nothing_said_shows_the_help_once(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """Without a verb, or a verb's verb, the help names those there are, once."""
    assert main(arguments) == 2
    out, err = capsys.readouterr()
    assert (out + err).count("Usage:") == 1


@pytest.mark.parametrize(
    "arguments",
    [["broker", "up", "--kind", "apache"], ["broker", "up", "--kind", "memory"], ["init", "/proc/x"]],
)
def test_a_folder_that_cannot_be_written_is_one_line(
    arguments: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever makes the folder: exit code 2, and the line names it."""
    monkeypatch.setenv("PARITYGATE_RUN", "/proc/x")

    assert main(arguments) == 2
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.startswith("error: /proc/x")


def test_every_verb_loads_and_explains_itself(capsys: pytest.CaptureFixture[str]) -> None:
    """``--help`` of every verb works and exits 0."""
    for verb in VERBS:
        assert main([verb, "--help"]) == 0
        assert "Usage" in capsys.readouterr().out


def test_verb_whose_extra_is_missing_says_so(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """On the base install the demo is in the help, and using it names what to install."""
    monkeypatch.setattr(extras, "find_spec", lambda _: None)

    assert main(["--help"]) == 0
    assert "demo" in capsys.readouterr().out
    assert main(["demo"]) == 2
    assert 'pip install "paritygate[demo]"' in capsys.readouterr().err


@pytest.mark.parametrize("option", ["--version", "--help"])
def test_version_and_help_load_nothing_heavy(option: str) -> None:
    """``--version`` and ``--help`` answer quickly because no client, model or table library is imported."""
    import subprocess  # noqa: PLC0415

    code = (
        "import sys; from paritygate.cli.main import main; main([sys.argv[1]]);"
        "print([m for m in ('confluent_kafka', 'pydantic', 'faust', 'numpy', 'sklearn') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code, option], capture_output=True, text=True, check=True)

    assert done.stdout.splitlines()[-1] == "[]"
