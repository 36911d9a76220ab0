"""The container files, checked as far as that goes without an engine."""

from __future__ import annotations

import re
import shutil
import subprocess
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
import yaml

from paritygate.cli.broker.jars import kafka_version
from paritygate.cli.main import load
from paritygate.schemas.client import KafkaSettings
from paritygate.streams.settings import WorkerSettings
from tests.support.container import IMAGE, environment
from tests.support.tree import ROOT, rooms

DOCKERFILE = (ROOT / "Dockerfile").read_text()
SERVICES: dict[str, dict[str, Any]] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]
OURS = {name: service for name, service in SERVICES.items() if "build" in service}
# They run to their end; all others stay and are watched.
ONE_SHOT = {"topics", "demo"}
each_service = pytest.mark.parametrize("name", SERVICES)


def _command(words: list[str]) -> tuple[Any, list[str]]:
    """The command that these words reach, and the words left for it."""
    command, rest = load(words[0]), words[1:]
    if hasattr(command, "get_command"):
        command, rest = command.get_command(None, rest[0]), rest[1:]
    assert command is not None, words
    return command, rest


def test_the_engines_own_client_takes_the_file() -> None:
    """``docker compose config`` resolves the file without a complaint, where the plugin is installed."""
    docker = shutil.which("docker")
    if (
        docker is None
        or subprocess.run([docker, "compose", "version"], capture_output=True, check=False).returncode
    ):
        pytest.skip("docker has no compose plugin here")

    told = subprocess.run(
        [docker, "compose", "--profile", "demo", "config", "--quiet"], cwd=ROOT, capture_output=True, check=False
    )

    assert told.returncode == 0, told.stderr.decode()


@each_service
def test_every_image_is_pinned(name: str) -> None:
    """Every image has a whole version, so that tomorrow's start is today's."""
    assert re.fullmatch(r"[a-z/-]+:v?\d+\.\d+\.\d+", SERVICES[name]["image"])


@each_service
def test_no_port_is_open_to_other_machines(name: str) -> None:
    """Every published port is bound to loopback."""
    assert all(port.startswith("127.0.0.1:") for port in SERVICES[name].get("ports", ()))


@each_service
def test_every_service_is_fenced_in(name: str) -> None:
    """No capability, no new privilege, bounded memory and processes; all but Kafka on a read-only disk."""
    service = SERVICES[name]

    assert service["cap_drop"] == ["ALL"]
    assert "no-new-privileges:true" in service["security_opt"]
    assert service["mem_limit"]
    assert service["pids_limit"] > 0
    assert service.get("read_only", False) is (name != "kafka")
    assert not service.get("privileged")


@each_service
def test_what_stays_is_watched(name: str) -> None:
    """Every service that stays has a health check and comes back after a crash; one-shots have neither."""
    assert ("healthcheck" in SERVICES[name]) is (name not in ONE_SHOT)
    assert (SERVICES[name].get("restart") == "unless-stopped") is (name not in ONE_SHOT)


@pytest.mark.parametrize("name", OURS)
def test_every_command_is_one_that_the_cli_knows(name: str) -> None:
    """Each command of the file is a verb of the command line, and each option one of its options."""
    command, rest = _command(SERVICES[name]["command"])

    known = {option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)}
    assert {word for word in rest if word.startswith("--")} <= known


@pytest.mark.parametrize("name", OURS)
def test_our_services_find_kafka_when_it_is_ready(name: str) -> None:
    """Ours wait for a healthy Kafka and use the address that it advertises to containers."""
    settings = KafkaSettings.from_mapping(SERVICES[name]["environment"])

    assert f"INSIDE://{settings.bootstrap}" in SERVICES["kafka"]["environment"]["KAFKA_ADVERTISED_LISTENERS"]
    assert SERVICES[name]["depends_on"]["kafka"]["condition"] == "service_healthy"


@pytest.mark.parametrize("name", OURS)
def test_every_worker_setting_is_one_that_the_worker_reads(name: str) -> None:
    """A mistyped ``PARITYGATE_WORKER_…`` would be ignored without a word."""
    known = {f"PARITYGATE_WORKER_{field.name.upper()}" for field in fields(WorkerSettings)}
    said = {key for key in SERVICES[name]["environment"] if key.startswith("PARITYGATE_WORKER_")}

    assert said <= known


def test_the_worker_waits_for_its_topics() -> None:
    """The worker starts after the topics job ended well: it would refuse missing topics."""
    assert SERVICES["worker"]["depends_on"]["topics"]["condition"] == "service_completed_successfully"


def test_the_host_listener_is_the_published_port() -> None:
    """What Kafka advertises to this machine is what the file publishes."""
    (port,) = SERVICES["kafka"]["ports"]
    outside, _, inside = port.rpartition(":")

    assert f"HOST://{outside}" in SERVICES["kafka"]["environment"]["KAFKA_ADVERTISED_LISTENERS"]
    assert f"HOST://:{inside}" in SERVICES["kafka"]["environment"]["KAFKA_LISTENERS"]


def test_one_kafka_everywhere() -> None:
    """Compose, the test container and the local broker run the same version of Kafka."""
    assert SERVICES["kafka"]["image"] == IMAGE == f"apache/kafka:{kafka_version()}"


def test_every_kafka_setting_is_shaped_for_one_node() -> None:
    """Both containers refuse mistyped topics, and ask for no more replicas than one node can hold."""
    for settings in (SERVICES["kafka"]["environment"], environment("127.0.0.1", 1)):
        assert settings["KAFKA_AUTO_CREATE_TOPICS_ENABLE"] == "false"
        assert {v for k, v in settings.items() if k.endswith(("REPLICATION_FACTOR", "MIN_ISR"))} == {"1"}
        named = set(re.findall(r"([A-Z]+)://", settings["KAFKA_LISTENERS"]))
        mapped = {pair.partition(":")[0] for pair in settings["KAFKA_LISTENER_SECURITY_PROTOCOL_MAP"].split(",")}
        assert named == mapped == {"INSIDE", "CONTROLLER", "HOST"}


def test_prometheus_scrapes_the_port_that_the_worker_serves() -> None:
    """The scrape target is the worker's metrics port on the loopback that both share."""
    config = yaml.safe_load((ROOT / "deploy" / "prometheus.yml").read_text())
    (target,) = config["scrape_configs"][0]["static_configs"][0]["targets"]

    assert SERVICES["prometheus"]["network_mode"] == "service:worker"
    assert target == f"127.0.0.1:{SERVICES['worker']['environment']['PARITYGATE_WORKER_METRICS_PORT']}"


def test_mounted_files_exist() -> None:
    """Each file that a service mounts from the checkout is there."""
    mounts = [volume for service in SERVICES.values() for volume in service.get("volumes", ())]
    files = [mount.split(":")[0] for mount in mounts if mount.startswith(".")]

    assert files
    assert all((ROOT / file).is_file() for file in files)


def test_the_images_run_as_nobody_special() -> None:
    """Each image that compose builds ends as a numeric user that is not root, and starts our program."""
    stages = dict(re.findall(r"^FROM \S+ AS (\S+)\n(.*?)(?=^FROM |\Z)", DOCKERFILE, re.MULTILINE | re.DOTALL))

    for service in OURS.values():
        users = re.findall(r"^USER (\d+):\d+$", stages[service["build"]["target"]], re.MULTILINE)
        assert users
        assert int(users[-1]) >= 10000
    assert 'ENTRYPOINT ["paritygate"]' in DOCKERFILE


def test_the_images_come_from_pinned_parts() -> None:
    """The base image has a whole version, and every package from an index needs its hash."""
    (base,) = re.findall(r"^ARG PYTHON=(\S+)$", DOCKERFILE, re.MULTILINE)
    froms = re.findall(r"^FROM (\S+)", DOCKERFILE, re.MULTILINE)
    installs = [line for line in DOCKERFILE.splitlines() if re.search(r"pip (install|wheel)", line)]

    assert re.fullmatch(r"\d+\.\d+\.\d+-slim-[a-z]+", base)
    assert {name for name in froms if "/" in name or ":" in name} == {"python:${PYTHON}"}
    assert installs
    assert all("--require-hashes" in line or "--no-index" in line for line in installs)
    assert "latest" not in DOCKERFILE


def test_the_engine_gets_what_the_image_needs_and_no_more() -> None:
    """Everything that is copied exists and passes ``.dockerignore``, which starts by refusing all."""
    lines = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if line and line[0] != "#"]
    passed = {line[1:] for line in lines if line.startswith("!")}
    copied = [
        word
        for line in re.findall(r"^COPY (?!--from)(.*)$", DOCKERFILE, re.MULTILINE)
        for word in line.split()[:-1]
        if word != "."
    ]

    assert lines[0] == "*"
    assert {*rooms(), "src", "pyproject.toml", "README.md", "LICENSE"} <= passed
    for path in copied:
        assert (ROOT / path).is_file()
        assert any(Path(path).match(pattern) for pattern in passed)
