"""Apache Kafka's jars on this machine: which Java runs them, and how Maven brings them.

Law: a cache folder that has its final name is complete (it is filled under another name and renamed), and its
name holds the digest of the pinned pom, so a new pin never meets old jars.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path

from paritygate.cli.broker.running import Say, silent
from paritygate.schemas.errors import ConfigError

JAVA_AT_LEAST = 17
_DOWNLOAD_WITHIN_S = 900


def packaged(name: str) -> str:
    """The text of a file that lies beside this module."""
    return files("paritygate.cli.broker").joinpath(name).read_text(encoding="utf-8")


def kafka_version() -> str:
    """Kafka's version as the packaged pom pins it."""
    match = re.search(r"<artifactId>kafka_2\.13</artifactId>\s*<version>([^<]+)</version>", packaged("pom.xml"))
    assert match is not None, "the packaged pom.xml pins no Kafka"
    return match[1]


def find_java(environ: Mapping[str, str] = os.environ) -> str:
    """The ``java`` to run: ``$JAVA_HOME/bin/java``, else the one on the path.

    :raises ConfigError: none, or older than 17, which Kafka 4 needs.
    """
    home = environ.get("JAVA_HOME")
    java = str(Path(home) / "bin" / "java") if home else shutil.which("java", path=environ.get("PATH"))
    if java is None:
        raise ConfigError(
            f"no Java on the path: install Java {JAVA_AT_LEAST} or newer (Debian: openjdk-17-jre-headless)"
        )
    try:
        told = subprocess.run([java, "-version"], capture_output=True, text=True, check=True, timeout=30)  # noqa: S603
    except (OSError, subprocess.SubprocessError) as error:
        raise ConfigError(
            f"{java} does not run: install Java {JAVA_AT_LEAST} or newer, or mend JAVA_HOME"
        ) from error
    # Java 8 called itself 1.8; an early build of 21 is "21-ea".
    match = re.search(r'version "(?:1\.)?(\d+)', told.stderr + told.stdout)
    major = int(match[1]) if match else 0
    if major < JAVA_AT_LEAST:
        raise ConfigError(
            f"{java} is Java {major or 'of an unknown version'}: "
            f"Kafka {kafka_version()} needs {JAVA_AT_LEAST} or newer"
        )
    return java


def jars_folder(cache: Path) -> Path:
    """Where the jars of the packaged pom lie, or will lie, under ``cache``."""
    digest = hashlib.sha256(packaged("pom.xml").encode()).hexdigest()[:8]
    return cache / f"kafka-{kafka_version()}-{digest}"


def ensure_jars(cache: Path, *, environ: Mapping[str, str] = os.environ, say: Say = silent) -> Path:
    """The folder of all jars; Maven resolves them (46 jars, 44 MB) where the cache does not hold them yet.

    Safe with several processes at once: one fills a folder and names it, the others wait for that.

    :raises ConfigError: no Maven, or it could not get them.
    """
    folder = jars_folder(cache)
    if folder.is_dir():
        return folder
    maven = shutil.which("mvn", path=environ.get("PATH"))
    if maven is None:
        raise ConfigError(
            f"Kafka's jars are not in {folder} and there is no Maven to get them: install it (Debian: maven)"
        )
    say(f"Apache Kafka {kafka_version()}: Maven resolves its jars into {folder} …")
    began = time.monotonic()
    try:
        cache.mkdir(parents=True, exist_ok=True)
        # Maven's own repository is not made for two that fill it at once.
        with (cache / ".jars.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if folder.is_dir():
                return folder
            partial = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=cache))
            try:
                _resolve(maven, partial)
                partial.rename(folder)
            finally:
                shutil.rmtree(partial, ignore_errors=True)
    except OSError as error:
        raise ConfigError(
            f"the cache {cache} cannot be written ({error.strerror}): set PARITYGATE_CACHE"
        ) from error
    jars = list(folder.glob("*.jar"))
    size_mb = sum(jar.stat().st_size for jar in jars) / 1e6
    say(f"{len(jars)} jars, {size_mb:.0f} MB, in {time.monotonic() - began:.1f} s")
    return folder


def _resolve(maven: str, into: Path) -> None:
    """Let Maven copy every jar of the packaged pom into a folder, checksums required."""
    pom = into / "pom.xml"
    pom.write_text(packaged("pom.xml"), encoding="utf-8")
    command = [maven, "-q", "-B", "-C", "-f", str(pom), "dependency:copy-dependencies"]
    command += [f"-DoutputDirectory={into}", "-DincludeScope=runtime"]
    try:
        told = subprocess.run(command, capture_output=True, text=True, check=False, timeout=_DOWNLOAD_WITHIN_S)  # noqa: S603
    except subprocess.TimeoutExpired as error:
        raise ConfigError(f"Maven did not finish within {_DOWNLOAD_WITHIN_S} s: check the network") from error
    if told.returncode:
        lines = [line for line in (told.stdout + told.stderr).splitlines() if "ERROR" in line] or [
            "it said nothing"
        ]
        raise ConfigError(f"Maven could not get Kafka's jars: {_plain(lines[0])}")


def _plain(line: str) -> str:
    """A line of Maven without colours and its level."""
    return re.sub(r"\x1b\[[0-9;]*m", "", line).removeprefix("[ERROR] ").strip()
