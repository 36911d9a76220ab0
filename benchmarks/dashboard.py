"""How fast the dashboard is there with 1,000 segments, and what its pushes to 200 viewers cost.

Law: the application is the real one in its own process; its CPU time is read from the kernel, with and without
viewers over the same feed of a window a second, so that the difference is what the viewers cost.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any, Final

from viewing.records import ROLLOUT
from viewing.viewers import Heard, look_on

HERE: Final = Path(__file__).resolve().parent
#: Goals: milliseconds from asking to the first paint; percent of a core for pushing.
PAINT_MS: Final = 1000
PUSH_PERCENT: Final = 5.0
#: How long the dashboard has been up when the first visitor comes.
UP_S: Final = 5.0
PAGES: Final = {"rollout": f"/rollouts/{ROLLOUT}", "all segments": f"/rollouts/{ROLLOUT}/segments"}
_PAINTED: Final = "performance.getEntriesByName('first-contentful-paint').map(e => e.startTime)[0]"


@contextmanager
def server(segments: int, before: int, seconds: int) -> Iterator[tuple[int, int]]:
    """The dashboard in its own process: its pid and port."""
    command = [sys.executable, "-m", "viewing.server", "--segments", str(segments)]
    command += ["--before", str(before), "--seconds", str(seconds)]
    paths = os.pathsep.join([str(HERE), *sys.path])
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, env=os.environ | {"PYTHONPATH": paths}
    ) as child:
        try:
            assert child.stdout is not None
            yield child.pid, int(child.stdout.readline())
        finally:
            child.kill()


def cpu_s(pid: int) -> float:
    """CPU seconds of a process so far, user and system."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def paints(port: int, repeats: int) -> dict[str, dict[str, float]]:
    """Milliseconds to the first contentful paint of each page, in a browser that has seen none of them before."""
    sys.path.insert(0, str(HERE.parent))
    from tests.support.browser import browser  # noqa: PLC0415  (only where there is a browser)

    found: dict[str, list[float]] = {name: [] for name in PAGES}
    with (
        tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder,
        browser(Path(folder) / "profile") as tab,
    ):
        tab.show(1440)
        for _ in range(repeats):
            for name, path in PAGES.items():
                tab.open(f"http://127.0.0.1:{port}{path}")
                tab.wait(f"{_PAINTED} > 0")
                found[name].append(round(float(tab.run(_PAINTED)), 1))
    return {
        name: {"first_ms": ms[0], "median_ms": round(median(ms), 1), "most_ms": max(ms), "goal_ms": PAINT_MS}
        for name, ms in found.items()
    }


async def pushes(pid: int, port: int, viewers: int, seconds: int) -> dict[str, Any]:
    """Percent of a core without viewers, with one, and with all of them, over the same feed."""
    alone = await _busy_percent(pid, seconds)
    shares, heard = {}, Heard()
    for count in (1, viewers):
        ready, heard = asyncio.Event(), Heard()
        looking = asyncio.create_task(look_on(port, f"{PAGES['rollout']}/events", count, ready, heard))
        await asyncio.wait({looking, asyncio.create_task(ready.wait())}, return_when=asyncio.FIRST_COMPLETED)
        await asyncio.sleep(2)
        before = heard.pushes, heard.sent_bytes
        shares[count] = await _busy_percent(pid, seconds)
        told, sent_bytes = heard.pushes - before[0], heard.sent_bytes - before[1]
        looking.cancel()
        with suppress(asyncio.CancelledError):
            await looking
    return {
        "viewers": viewers,
        "seconds": seconds,
        "nobody_percent": round(alone, 2),
        "one_viewer_percent": round(shares[1], 2),
        "all_viewers_percent": round(shares[viewers], 2),
        "pushes_percent": round(shares[viewers] - shares[1], 2),
        "page_percent": round(shares[1] - alone, 2),
        "goal_percent": PUSH_PERCENT,
        "pushes_per_viewer_s": round(told / viewers / seconds, 2),
        "bytes_per_push": round(sent_bytes / max(told, 1)),
        "closed": heard.closed,
    }


async def _busy_percent(pid: int, seconds: int) -> float:
    began, before = time.monotonic(), cpu_s(pid)
    await asyncio.sleep(seconds)
    return 100.0 * (cpu_s(pid) - before) / (time.monotonic() - began)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print, write the file."""
    parser = argparse.ArgumentParser(description="First paint with many segments, and what pushes cost.")
    parser.add_argument("--segments", type=int, default=1000, help="default 1000")
    parser.add_argument("--viewers", type=int, default=200, help="default 200")
    parser.add_argument("--before", type=int, default=60, help="windows there already, default 60")
    parser.add_argument("--seconds", type=int, default=20, help="of each of three looks, default 20")
    parser.add_argument("--repeats", type=int, default=5, help="of each paint, default 5; 0 leaves the browser out")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the result there")
    options = parser.parse_args(arguments)
    feed_s = 3 * options.seconds + 10 * options.repeats + 30
    with server(options.segments, options.before, feed_s) as (pid, port):
        time.sleep(UP_S)
        painted = paints(port, options.repeats) if options.repeats else {}
        for name, ms in painted.items():
            print(f"first paint, {name}: first {ms['first_ms']} ms, median {ms['median_ms']} ms", flush=True)
        pushed = asyncio.run(pushes(pid, port, options.viewers, options.seconds))
    print(json.dumps(pushed, indent=1))
    if options.json:
        result = {
            "segments": options.segments,
            "up_s": UP_S,
            "paint": painted,
            "push": pushed,
            "command": " ".join(["python benchmarks/dashboard.py", *(arguments or sys.argv[1:])]),
            "machine": f"{platform.machine()}, {os.cpu_count()} cores",
            "load_average": round(os.getloadavg()[0], 1),
            "versions": {"python": platform.python_version(), "starlette": version("starlette")},
        }
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
