"""Refresh the generated blocks of the pages: README.md and docs/**/*.md. Run it: make docs

Law: what stands in a table of the code is written by hand nowhere. A block lies between ``<!-- block: NAME -->``
and ``<!-- end -->``; everything outside belongs to people. ``tests/docs/test_pages.py`` fails on a stale block.
"""

from __future__ import annotations

import json
import math
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from enum import Enum
from pathlib import Path
from typing import Any

import yaml

from paritygate.cli.demo.scenarios import SCENARIOS, Scenario
from paritygate.cli.main import VERBS, load
from paritygate.gates import measures, questions
from paritygate.schemas import metrics, topics

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "benchmarks"))
from joining import tables as join_tables  # noqa: E402

#: A value that Prometheus puts into a text.
_LABEL = re.compile(r"\{\{ \$(?:labels\.)?(\w+).*?\}\}")
_BLOCK = re.compile(r"(<!-- block: (?P<name>[^>]+?) -->\n).*?(<!-- end -->)", re.DOTALL)
_KINDS: Mapping[Any, str] = {
    str: "text",
    int: "whole number",
    float: "number",
    Path: "path",
    list[str]: "text, may be repeated",
}


def pages() -> list[Path]:
    """Every page, README first."""
    return [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


def refreshed(text: str) -> str:
    """The text of a page with all its blocks made anew.

    :raises KeyError: a block has a name that nobody makes.
    """
    return _BLOCK.sub(lambda found: f"{found[1]}\n{_make(found['name']).strip()}\n\n{found[3]}", text)


def _make(name: str) -> str:
    kind, _, path = name.partition(" ")
    return _file(ROOT / path) if kind == "file" else BLOCKS[name]()


def _file(path: Path) -> str:
    language = {".py": "python", ".yaml": "yaml"}[path.suffix]
    return f"```{language}\n{path.read_text()}```\n"


def alerts() -> str:
    """Every alert rule: when it speaks, for how long before, how urgent it is, and what helps."""
    groups = yaml.safe_load((ROOT / "deploy" / "alerts.yml").read_text())["groups"]
    lines = ["| alert | urgency | after | says | what helps |", f"|{'---|' * 5}"]
    for rule in (rule for group in groups for rule in group["rules"] if "alert" in rule):
        notes = rule["annotations"]
        says, helps = (_LABEL.sub(r"*\1*", notes[name]) for name in ("summary", "mend"))
        urgency, after = rule["labels"]["severity"], rule.get("for", "at once")
        lines.append(f"| {rule['alert']} | {urgency} | {after} | {says} | {helps} |")
    return "\n".join(lines) + "\n"


def scenarios() -> str:
    """The demo's scenarios and the end that each must have."""
    rows = ["| scenario | what happens | must end |", "|---|---|---|"]
    rows += (f"| `{s.name}` | {s.about} | {_end_of(s)} |" for s in SCENARIOS.values())
    return "\n".join(rows) + "\n"


def _end_of(scenario: Scenario) -> str:
    if scenario.final_action == "promote":
        return f"at {scenario.final_stage} %"
    users = "exposed requests counted" if scenario.exposed else "no user exposed"
    words = [*scenario.reason_has, *([scenario.worst_segment] if scenario.worst_segment else [])]
    named = f", {' and '.join(f'`{w}`' for w in words)} named" if words else ""
    return f"rolled back from {scenario.final_stage}, {users}{named}"


def command_line() -> str:
    """Every verb with its arguments and options."""
    lines = ["| verb | what it does |", "|---|---|"]
    lines += (f"| [`{name}`](#paritygate-{name}) | {verb.about} |" for name, verb in VERBS.items())
    for name in VERBS:
        command = load(name)
        lines += ["", f"## paritygate {name}", ""]
        if not hasattr(command, "commands"):
            lines += _verb(f"paritygate {name}", command)
            continue
        lines += [command.help, ""]
        for i, (sub_name, sub_command) in enumerate(command.commands.items()):
            lines += [""] if i else []
            lines += [f"### paritygate {name} {sub_name}", "", *_verb(f"paritygate {name} {sub_name}", sub_command)]
    return "\n".join(lines) + "\n"


def _verb(words: str, command: Any) -> Iterator[str]:
    arguments = [p for p in command.params if p.param_type_name == "argument"]
    options = [p for p in command.params if p.param_type_name == "option"]
    shown = " ".join([words, *(a.metavar for a in arguments), *(["[OPTIONS]"] if options else [])])
    yield from (f"`{shown}`", "", " ".join((command.help or "").split()))
    if command.params:
        yield from ("", "| argument or option | value | default | meaning |", "|---|---|---|---|")
    for p in (*arguments, *options):
        name = p.metavar if p in arguments else ", ".join(sorted((*p.opts, *p.secondary_opts), reverse=True))
        yield f"| `{name}` | {_value(p)} | {_default(p)} | {_meaning(p)} |"


def _value(parameter: Any) -> str:
    if getattr(parameter, "is_bool_flag", False):
        return ""
    annotation = parameter.type_descriptor.annotation
    if isinstance(annotation, type) and issubclass(annotation, Enum):
        return " or ".join(f"`{member.value}`" for member in annotation)
    low, high = parameter.min, parameter.max
    bounds = "" if low is None else f", {low:g} or more" if high is None else f", {low:g} to {high:g}"
    return _KINDS[annotation] + bounds


def _default(parameter: Any) -> str:
    if parameter.required:
        return "required"
    match parameter.default:
        case None | False | "":
            return ""
        case True:
            return "on"
        case float(number):
            return f"`{number:g}`"
        case other:
            return f"`{other}`"


def _meaning(parameter: Any) -> str:
    text = parameter.help or ""
    return f"{text} Also `{parameter.envvar}`." if parameter.envvar else text


def calibration() -> str:
    """The result of the calibration: a table per gate."""
    lines: list[str] = []
    gate = ""
    for row in json.loads((ROOT / "benchmarks" / "results" / "calibration.json").read_text())["rows"]:
        if row["gate"] != gate:
            gate = row["gate"]
            lines += ["", f"### {gate}", ""]
            lines += ["| case | runs | false rollback | false promotion | pairs to rollback p50, p90 "]
            lines[-1] += "| window rule | z-test | Mann-Whitney |"
            lines += [f"|{'---|' * 8}"]
        case = f"(!) {row['case']}" if row.get("known_weakness") else row["case"]
        sick = row["false_rollback"] is None
        delays = ", ".join(_pairs(row[f"delay_pairs_{p}"]) for p in ("p50", "p90")) if sick else ""
        cells = [case, f"{row['runs']:,}", _rate(row["false_rollback"]), _rate(row["false_promote"]), delays]
        lines.append(f"| {' | '.join([*cells, *(_peer(found, sick) for found in row['peers'].values())])} |")
    return "\n".join(lines) + "\n"


def _of_join(table: Callable[[Mapping[str, Any]], str]) -> str:
    return table(json.loads((ROOT / "benchmarks" / "results" / "join.json").read_text()))


def core() -> str:
    """What a pair costs on its way through the core of a worker."""
    result = json.loads((ROOT / "benchmarks" / "results" / "core.json").read_text())
    load = result["load_average"]
    lines = [f"`{result['command']}` on {result['machine']}, load average {load}.", ""]
    lines += ["| way | pairs per CPU second | decode, µs a pair | join, µs a pair |", f"|{'---|' * 4}"]
    lines += [
        f"| {row['what']} | {row['pairs_per_cpu_s']:,} | {row['us_per_pair']['decode']:.1f} "
        f"| {row['us_per_pair']['join']:.1f} |"
        for row in result["rows"]
    ]
    return "\n".join(lines) + "\n"


def evaluation() -> str:
    """How long one look at the gates takes, by part."""
    result = json.loads((ROOT / "benchmarks" / "results" / "evaluation.json").read_text())
    versions = ", ".join(f"{name} {version}" for name, version in result["versions"].items())
    lines = [f"`{result['command']}` on {result['machine']}, {versions}, load average {result['load_average']}."]
    lines += [f"{result['repeats']} repeats.", ""]
    lines += ["| part | median ms | least to most ms | goal ms | times the reference |", f"|{'---|' * 5}"]
    for row in result["rows"]:
        goal = "" if row["goal_ms"] is None else f"{row['goal_ms']:g}"
        spread = f"{row['least_ms']:.2f} to {row['most_ms']:.2f}"
        lines.append(
            f"| {row['part']} | {row['median_ms']:.2f} | {spread} | {goal} | {row['ratio_to_reference']} |"
        )
    return "\n".join(lines) + "\n"


def scale() -> str:
    """What a number of events a second needs, from what one pair, event and report cost."""
    result = json.loads((ROOT / "benchmarks" / "results" / "scale.json").read_text())
    per_cpu_s, size = result["pairs_per_cpu_s"], result["event_bytes"]
    lines = [f"`{result['command']}` on {result['machine']}, python {result['versions']['python']}.", ""]
    lines += ["| measured | |", "|---|---|"]
    lines += [
        f"| pairs joined in a second of one core, Avro, answers repeat | {per_cpu_s['avro']:,} |",
        f"| the same, every answer new, checked and compared | {per_cpu_s['avro_outputs']:,} |",
        f"| the same, JSON events, answers repeat | {per_cpu_s['json']:,} |",
        f"| one event on the wire, plain and lz4 | {size['raw']} B, {size['lz4']} B |",
        f"| one window report of {result['report']['cells']} combinations | {result['report']['bytes']:,} B |",
    ]
    lines += [
        f"| decider, one report, {partitions} partitions | {ms} ms |"
        for partitions, ms in result["report_cpu_ms"].items()
    ]
    lines += ["", "| events a second | 20,000 | 1,000,000 | 100,000,000 |", f"|{'---|' * 4}"]
    table = [_needs(result, rate) for rate in (20_000, 1_000_000, 100_000_000)]
    lines += [f"| {name} | {' | '.join(column[name] for column in table)} |" for name in table[0]]
    return "\n".join(lines) + "\n"


def _needs(result: Mapping[str, Any], events_per_s: int) -> dict[str, str]:
    """One column: cores at 60 % load, partitions as the next power of two, replication 3, 7 days of retention."""
    pairs_per_s = events_per_s / 2
    cores = {way: pairs_per_s / result["pairs_per_cpu_s"][way] / 0.6 for way in ("avro", "avro_outputs")}
    partitions = max(4, 1 << math.ceil(math.log2(max(1.0, cores["avro_outputs"]))))
    packed, report = result["event_bytes"]["lz4"], result["report"]["bytes"]
    decider = result["report_cpu_ms"][max(result["report_cpu_ms"], key=int)] / 1000
    in_mb_s = events_per_s * packed / 1e6
    return {
        "cores for the join, answers repeat": f"{math.ceil(cores['avro']):,}",
        "cores for the join, every answer new": f"{math.ceil(cores['avro_outputs']):,}",
        "partitions of each joined topic": f"{partitions:,}",
        "into the brokers, lz4": f"{in_mb_s:,.1f} MB/s",
        "with replication 3, between all": f"{3 * in_mb_s:,.1f} MB/s",
        "disk for 7 days, 3 replicas": f"{3 * in_mb_s * 7 * 86_400 / 1e6:,.1f} TB",
        "reports a second, 1 s windows": f"{partitions:,}",
        "into windows.v1": f"{partitions * report / 1e6:,.1f} MB/s",
        "decider's core, 1 s windows": f"{partitions * decider:.0%}",
        "decider's core, 10 s windows": f"{partitions * decider / 10:.0%}",
    }


def _rate(ratio: float | None) -> str:
    return "" if ratio is None else f"{100.0 * ratio:.1f} %"


def _pairs(count: int | None) -> str:
    return "-" if count is None else f"{count:,}"


def _peer(found: Mapping[str, Any], sick: bool) -> str:
    """Rates of a peer, and its median delay where something is to be found; nothing where it cannot be used."""
    rates = [_rate(found[name]) for name in ("false_rollback", "false_promote") if found[name] is not None]
    return ", ".join([*rates, *([_pairs(found["delay_pairs_p50"])] if sick and rates else [])])


BLOCKS: Mapping[str, Callable[[], str]] = {
    "topics": topics.markdown_table,
    "measures": measures.markdown_tables,
    "questions": questions.markdown_table,
    "metrics": metrics.markdown_table,
    "alerts": alerts,
    "scenarios": scenarios,
    "command line": command_line,
    "calibration": calibration,
    "core": core,
    "evaluation": evaluation,
    "join": lambda: _of_join(join_tables.engines),
    "join hot path": lambda: _of_join(join_tables.hot_path),
    "join beside": lambda: _of_join(join_tables.beside),
    "scale": scale,
}


def main() -> None:
    """Write the pages whose blocks have changed."""
    for page in pages():
        old = page.read_text()
        if (new := refreshed(old)) != old:
            page.write_text(new)
            print(f"docs: refreshed {page.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
