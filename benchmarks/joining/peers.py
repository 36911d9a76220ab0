"""Run the peers over the same topics: each a process that prints its progress and, at the end, its counts.

Law: each peer in its best fault-tolerant setting, doing the same work: join by request id within a window of event
time, compare label, status and latency, count per segment. A peer that this machine cannot run says why.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from joining.figures import Run
from joining.ours import named_segments
from joining.stage import Stage
from joining.watching import Watch

HERE = Path(__file__).resolve().parents[1] / "peers"
ROOT = HERE.parents[1]
SCHEMA = ROOT / "schemas" / "avro" / "prediction_event.v1.avsc"
QUIX = "quixstreams==3.28.1"
#: As long as an event of ours may wait, lateness and grace of the plan's defaults.
WINDOW_MS = 2_500
GRACE_MS = 2_500
_WITHIN_S = 900.0
_BUILD_WITHIN_S = 600.0


class CannotRunError(Exception):
    """This machine cannot run a peer; the text says why."""


@dataclass(frozen=True, slots=True)
class Peers:
    """What was installed for the peers, under ``folder``."""

    folder: Path

    def kafka_streams(self, stage: Stage, *, changelog: bool) -> Run:
        """Kafka Streams 4.3.1 in Java, RocksDB window stores, two threads."""
        return self._run(stage, [
            "java", "-Xmx2g", "-cp", self._java_classes(), "peer.Join", stage.settings.bootstrap, *stage.topics,
            _name(stage, "streams"), str(self._fresh("streams-state")), "2",
            "changelog" if changelog else "no-changelog", str(WINDOW_MS), str(GRACE_MS), str(stage.truth.pairs),
        ])  # fmt: skip

    def quixstreams(self, stage: Stage) -> Run:
        """Quix Streams, ``join_interval`` on RocksDB with changelogs."""
        return self._run(stage, [
            self._quix_python(), str(HERE / "quix_join.py"), stage.settings.bootstrap, *stage.topics,
            _name(stage, "quix"), str(self._fresh("quix-state")), str(SCHEMA), str(WINDOW_MS), str(2 * GRACE_MS),
            str(stage.truth.pairs),
        ])  # fmt: skip

    def faust_tables(self, stage: Stage) -> Run:
        """Faust: two agents, two Tables with changelogs."""
        return self._run(stage, [
            sys.executable, str(HERE / "faust_tables.py"), stage.settings.bootstrap, *stage.topics,
            _name(stage, "faust"), str(self._fresh("faust-state")), str(SCHEMA), str(stage.partitions),
            str(stage.truth.pairs),
        ])  # fmt: skip

    def _fresh(self, name: str) -> Path:
        folder = self.folder / name
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        return folder

    def _java_classes(self) -> str:
        """Jars and compiled classes, made once. :raises CannotRunError: no JDK, no Maven, or they failed."""
        source = HERE / "kafka_streams"
        into = self.folder / "kafka-streams"
        ready = into / "built"
        if not ready.exists():
            for tool in ("java", "javac", "mvn"):
                if shutil.which(tool) is None:
                    raise CannotRunError(f"no {tool} on the path: install a JDK 17 and Maven")
            into.mkdir(parents=True, exist_ok=True)
            copy = ["mvn", "-q", "-B", "-f", str(source / "pom.xml"), "dependency:copy-dependencies"]
            _build([*copy, f"-DoutputDirectory={into / 'jars'}", "-DincludeScope=runtime"])
            sources = sorted(str(p) for p in source.rglob("*.java"))
            classpath = str(into / "jars" / "*")
            _build(["javac", "--release", "17", "-d", str(into / "classes"), "-cp", classpath, *sources])
            ready.touch()
        return f"{into / 'classes'}:{into / 'jars' / '*'}"

    def _quix_python(self) -> str:
        """Python of an environment with quixstreams, made once. :raises CannotRunError: it cannot be installed."""
        environment = self.folder / "quix"
        python = environment / "bin" / "python"
        ready = environment / "built"
        if not ready.exists():
            uv = Path(sys.executable).with_name("uv")
            if not uv.exists():
                raise CannotRunError("no uv beside this Python to install quixstreams with: run 'make setup'")
            _build([str(uv), "venv", "-q", "--clear", "--python", sys.executable, str(environment)])
            _build([str(uv), "pip", "install", "-q", "--python", str(python), QUIX, "fastavro"])
            ready.touch()
        return str(python)

    def _run(self, stage: Stage, command: Sequence[str]) -> Run:
        found = Run(pairs=stage.truth.pairs)
        result: dict[str, Any] = {}
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / "peer.log").open("ab") as log:
            process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, cwd=self.folder)
        # A peer that hangs is ended, so that reading what it prints ends too.
        ends = threading.Timer(_WITHIN_S, process.kill)
        ends.start()
        try:
            assert process.stdout is not None
            with Watch([process]) as watch:
                for line in process.stdout:
                    word, _, rest = line.decode().strip().partition(" ")
                    if word == "progress":
                        at_ms, pairs = rest.split()
                        found.progress.append((int(at_ms), int(pairs)))
                    elif word == "result":
                        watch.look()
                        result = json.loads(rest)
                        break
        finally:
            ends.cancel()
            process.kill()
            process.wait()
        found.cpu_s, found.rss_mib, found.rss_over_time = watch.cpu_s, watch.peak_mib, watch.over_time
        found.wrong = _difference(result, stage)
        return found


def _name(stage: Stage, engine: str) -> str:
    """A group of its own for each run; the stage's name is in it, so that its topics go with the stage."""
    return f"{stage.settings.topic_prefix}{engine}-{time.time_ns():x}"


def _build(command: Sequence[str]) -> None:
    try:
        told = subprocess.run(command, capture_output=True, text=True, check=False, timeout=_BUILD_WITHIN_S)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise CannotRunError(f"{command[0]} failed: {error}") from None
    if told.returncode:
        lines = (told.stdout + told.stderr).strip().splitlines() or ["it said nothing"]
        raise CannotRunError(f"{Path(command[0]).name} failed: {lines[0]}")


def _difference(result: dict[str, Any], stage: Stage) -> str:
    if not result:
        return "it ended without a result"
    truth = stage.truth
    wanted = {
        "pairs": truth.pairs,
        "label_changes": truth.label_changes,
        "candidate_errors": truth.candidate_errors,
    }
    wrong = [f"{name} {result[name]:,}, not {n:,}" for name, n in wanted.items() if result[name] != n]
    if not wrong and result["segments"] != named_segments(stage):
        wrong.append("the counts of its segments are not those sent")
    return "; ".join(wrong)
