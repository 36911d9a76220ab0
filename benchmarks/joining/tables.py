"""Tables of the join benchmark's result file, for the page on performance. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

Result = Mapping[str, Any]


def _table(*rows: Sequence[str]) -> list[str]:
    """Lines of a table; the first row is its head."""
    lines = [f"| {' | '.join(row)} |" for row in rows]
    return [lines[0], f"|{'---|' * len(rows[0])}", *lines[1:]]


def engines(result: Result) -> str:
    """Every engine, its ratios, and how the result was made."""
    rows: list[tuple[str, ...]] = [
        ("engine", "pairs/s, median", "min to max", "runs", "pairs a run", "pairs per CPU-s", "peak RSS MiB")
    ]
    for name, row in result["engines"].items():
        rate = row["pairs_per_s"]
        spread = f"{rate['min']:,} to {rate['max']:,}"
        figures = (row["runs"], row["pairs"], row["pairs_per_cpu_s"] or 0, row["rss_mib"])
        rows.append((f"`{name}`", f"{rate['median']:,}", spread, *(f"{figure:,}" for figure in figures)))
    rows += [(f"`{name}`", f"skipped: {why}", *[""] * 5) for name, why in result["skipped"].items()]
    ratios = ", ".join(f"{times:g} times `{name}`" for name, times in result["ratios"].items())
    versions = ", ".join(f"{name} {version}" for name, version in result["versions"].items())
    load = result["load_average_before"][0]
    made = f"`{result['command']}`, in {result['took_s'] / 60:.0f} min; load before it {load:g}"
    lines = [*_table(*rows), "", f"One worker joins as many pairs a second as {ratios}.", ""]
    return "\n".join([*lines, f"Machine: {result['machine']}.", f"Versions: {versions}.", f"Command: {made}."])


def hot_path(result: Result) -> str:
    """Where a worker's microseconds go, and what the libraries below take."""
    timed = {
        name: row["stages_us_per_pair"] for name, row in result["engines"].items() if "stages_us_per_pair" in row
    }
    stages = list(dict.fromkeys(stage for row in timed.values() for stage in row))
    spent = [(f"`{name}`", *(f"{row.get(stage, 0):.2f}" for stage in stages)) for name, row in timed.items()]
    alone = [(f"`{name}`", f"{us:.2f}") for name, us in result["limits_us_per_pair"].items()]
    return "\n".join([
        *_table(("us a pair", *stages), *spent), "", *_table(("part alone", "us a pair"), *alone)
    ])  # fmt: skip


def beside(result: Result) -> str:
    """Linearity, memory and latency."""
    rows: list[tuple[str, ...]] = [("row", "pairs", "ns a pair", "processor ns a pair", "peak RSS MiB")]
    for name, row in result["linear"].items():
        kind, _, count = name.partition("_")
        what = f"{int(count):,} {'pairs' if kind == 'pairs' else 'segment combinations'}"
        figures = (row["pairs"], row["ns_per_pair"] or 0, row["cpu_ns_per_pair"], row["rss_mib"])
        rows.append((what, *(f"{figure:,}" for figure in figures)))
    lines = _table(*rows)
    if memory := result["memory"]:
        growth = memory["growth_percent"]
        grown = "" if growth is None else f"; from the first fifth to the end it grew by {growth:g} %"
        lines += ["", f"Peak memory over {memory['pairs']:,} pairs at {memory['partitions']} partitions: "]
        lines[-1] += f"{memory['peak_rss_mib']:,} MiB{grown}."
    if latency := result["latency"]:
        kinds = ("report_after_window_end_ms", "beyond_lateness_and_grace_ms", "hard_event_to_report_ms",
                 "hard_event_to_decision_ms")  # fmt: skip
        found = [
            (kind.removesuffix("_ms").replace("_", " "),
             *(f"{latency[kind].get(p, 0):,}" for p in ("count", "p50", "p99", "max")))
            for kind in kinds
        ]  # fmt: skip
        lines += ["", *_table((f"ms at {latency['pairs_per_s']:,} pairs/s", "count", "p50", "p99", "max"), *found)]
    return "\n".join(lines)
