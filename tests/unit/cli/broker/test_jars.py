"""Java and Kafka's jars: found, brought, or one clear line why not."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from paritygate.cli.broker.jars import ensure_jars, find_java, jars_folder, kafka_version
from paritygate.schemas.errors import ConfigError

# Plays Maven: writes one jar where -DoutputDirectory says, slowly enough for two to meet.
MAVEN = """#!/bin/sh
for word; do case $word in -DoutputDirectory=*) into=${word#-DoutputDirectory=};; esac; done
echo ran >> "$into/../runs"
sleep 0.2
echo jar > "$into/kafka.jar"
"""
NO_NETWORK = """#!/bin/sh
printf '\\033[1;31m[ERROR] Could not transfer artifact: Connection refused\\n'
exit 1
"""


def _program(folder: Path, name: str, text: str) -> dict[str, str]:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / name
    path.write_text(text)
    path.chmod(0o755)
    return {"PATH": os.pathsep.join((str(folder), "/usr/bin", "/bin"))}


@pytest.mark.parametrize(
    ("told", "major"),
    [("1.8.0_412", "8"), ("11.0.2", "11"), ("16", "16"), ("words", "of an unknown version")],
)
def test_an_old_java_is_named(tmp_path: Path, told: str, major: str) -> None:
    """A Java below 17 is refused with its version and the one that is needed."""
    environ = _program(tmp_path, "java", f"#!/bin/sh\necho 'openjdk version \"{told}\" 2019' >&2\n")

    with pytest.raises(ConfigError, match=rf"is Java {major}: Kafka {kafka_version()} needs 17"):
        find_java(environ)


@pytest.mark.parametrize("told", ["17.0.15", "21-ea", "25"])
def test_a_new_java_is_used(tmp_path: Path, told: str) -> None:
    """Java 17 and everything after it will do."""
    environ = _program(tmp_path, "java", f"#!/bin/sh\necho 'openjdk version \"{told}\"' >&2\n")

    assert find_java(environ) == str(tmp_path / "java")


def test_no_java_is_one_line(tmp_path: Path) -> None:
    """Without Java the error says what to install; a JAVA_HOME that leads nowhere is named."""
    with pytest.raises(ConfigError, match="no Java on the path: install Java 17"):
        find_java({"PATH": str(tmp_path)})
    with pytest.raises(ConfigError, match="mend JAVA_HOME"):
        find_java({"JAVA_HOME": str(tmp_path)})


def test_no_maven_is_one_line(tmp_path: Path) -> None:
    """Without Maven and without a filled cache the error names both."""
    with pytest.raises(ConfigError, match=r"no Maven to get them: install it"):
        ensure_jars(tmp_path / "cache", environ={"PATH": str(tmp_path)})


def test_a_failed_download_leaves_nothing_behind(tmp_path: Path) -> None:
    """When Maven fails, its reason is told without colours and the cache holds no jar."""
    environ = _program(tmp_path / "bin", "mvn", NO_NETWORK)

    with pytest.raises(ConfigError, match=r"jars: Could not transfer artifact: Connection refused$"):
        ensure_jars(tmp_path / "cache", environ=environ)

    assert [path.name for path in (tmp_path / "cache").iterdir()] == [".jars.lock"]


def test_jars_are_brought_once(tmp_path: Path) -> None:
    """The second call finds the folder and needs no Maven."""
    environ = _program(tmp_path / "bin", "mvn", MAVEN)

    first = ensure_jars(tmp_path / "cache", environ=environ)
    second = ensure_jars(tmp_path / "cache", environ={"PATH": str(tmp_path)})

    assert first == second == jars_folder(tmp_path / "cache")
    assert (first / "kafka.jar").exists()


def test_two_at_once_end_with_one_whole_folder(tmp_path: Path) -> None:
    """Two that fill the cache at the same time both get the complete folder, and Maven is asked once."""
    environ = _program(tmp_path / "bin", "mvn", MAVEN)
    found: list[Path] = []
    threads = [
        threading.Thread(target=lambda: found.append(ensure_jars(tmp_path / "cache", environ=environ)))
        for _ in range(2)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    folder = jars_folder(tmp_path / "cache")
    assert found == [folder, folder]
    assert (folder / "kafka.jar").exists()
    assert {path.name for path in (tmp_path / "cache").iterdir()} == {folder.name, "runs", ".jars.lock"}
    assert (tmp_path / "cache" / "runs").read_text().count("\n") == 1
