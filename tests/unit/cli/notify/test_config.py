from __future__ import annotations

from pathlib import Path

import pytest

from paritygate.cli.main import main
from paritygate.cli.notify.change import Severity
from paritygate.cli.notify.config import read_targets
from paritygate.cli.notify.message import Format
from paritygate.schemas.errors import ConfigError, PlanError
from tests.unit.cli.notify.conftest import Receiver

SECRET = "a-secret-that-is-long-enough"
WHOLE = """\
targets:
  - name: on-call
    url: https://hooks.example.com/paritygate
    secret: {env: HOOK_SECRET}
    least: warning
  - name: chat
    url: {file: %s}
    format: slack
private_hosts: [hooks.internal]
plain_http_hosts: [hooks.internal]
link: https://page.example/{rollout}
"""


def write(folder: Path, text: str) -> Path:
    path = folder / "notify.yaml"
    path.write_text(text)
    return path


def test_the_whole_file(tmp_path: Path) -> None:
    """Every key is read; secrets come from where the file says, and are shown by nothing."""
    (tmp_path / "url").write_text("http://hooks.internal/T0/secret\n")
    path = write(tmp_path, WHOLE % (tmp_path / "url"))
    first, second = read_targets(path, {"HOOK_SECRET": SECRET})

    assert (first.name, first.format, first.least, first.key) == (
        "on-call", Format.CLOUDEVENTS, Severity.WARNING, SECRET.encode(),
    )  # fmt: skip
    assert not first.private
    assert second.private
    assert (second.url.host, second.url.path, second.url.tls) == ("hooks.internal", "/T0/secret", False)
    assert second.key is None
    assert SECRET not in repr(first)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("targets: []", "at least 1 item"),
        ("targets:\n  - {name: a, url: 'https://h/', secrets: {env: X}}", "notify.yaml:2:"),
        ("targets:\n  - {name: A B, url: 'https://h/'}", "targets.0.name"),
        ("targets:\n  - {name: a, url: 'https://h/', format: mail}", "targets.0.format"),
        ("targets:\n  - {name: a, url: 'https://h/', secret: plain}", "targets.0.secret"),
        ("targets:\n  - {name: a, url: 'https://h/', secret: {env: X, file: y}}", "either env or file"),
        ("targets:\n  - {name: a, url: 'https://h/'}\n  - {name: a, url: 'https://i/'}", "two targets are named a"),
        ("", "empty"),
        ("[]", "notify.yaml"),
    ],
)
def test_a_wrong_file_is_refused_with_its_place(tmp_path: Path, text: str, says: str) -> None:
    """Unknown keys, wrong values and names that would share a position."""
    with pytest.raises(PlanError) as error:
        read_targets(write(tmp_path, text), {})

    assert says in str(error.value)


@pytest.mark.parametrize(
    ("target", "says"),
    [
        ("url: http://h.example/", "use https, or name the host"),
        ("url: {env: NOWHERE}", "the variable NOWHERE is empty"),
        ("url: {file: /no/such/file}", "cannot be read"),
        ("url: https://h.example/\n    secret: {env: SHORT}", "at least 24"),
    ],
)
def test_what_is_missing_is_said_before_anything_starts(tmp_path: Path, target: str, says: str) -> None:
    """A secret that is not there, or a URL that is not https, ends the process at once."""
    path = write(tmp_path, f"targets:\n  - name: a\n    {target}\n")
    with pytest.raises(ConfigError, match=says):
        read_targets(path, {"SHORT": "short"})


def test_a_test_message(
    tmp_path: Path, receiver: Receiver, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """--test tells each target once, signed, and ends with 1 where one does not take it."""
    monkeypatch.setenv("HOOK_SECRET", SECRET)
    text = f"targets:\n  - name: a\n    url: http://localhost:{receiver.port}/x\n    secret: {{env: HOOK_SECRET}}\n"
    hosts = "private_hosts: [localhost]\nplain_http_hosts: [localhost]\n"
    assert main(["notify", str(write(tmp_path, text + hosts)), "--test"]) == 0
    assert receiver.got[0][1]["webhook-signature"].startswith("v1,")
    assert capsys.readouterr().out == f"a: http://localhost:{receiver.port} has taken a test message\n"

    receiver.answers.append((403, {}))
    assert main(["notify", str(tmp_path / "notify.yaml"), "--test"]) == 1
    assert "answered 403" in capsys.readouterr().err
    assert main(["notify", str(write(tmp_path, text + "plain_http_hosts: [localhost]\n")), "--test"]) == 1
    assert "name the host in private_hosts" in (err := capsys.readouterr().err) or "loopback" in err
