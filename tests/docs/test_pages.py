"""The pages say what the code does: blocks are current, links lead somewhere, commands and plans are real."""

from __future__ import annotations

import ast
import dataclasses
import importlib
import json
import re
import runpy
import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import BaseModel

from paritygate.cli.main import VERBS, load
from paritygate.cli.notify.config import NotifyFile
from paritygate.gates.spec import KEYS, parse_gates
from paritygate.rollouts.finding import Mistake
from paritygate.rollouts.plan import GATES_KEY, RolloutPlan, parse_gate_file
from paritygate.schemas.client import KafkaSettings
from paritygate.schemas.metrics import METRICS
from paritygate.schemas.topics import BY_NAME
from paritygate.streams.settings import PREFIX, WorkerSettings

ROOT = Path(__file__).resolve().parents[2]
BUILD = runpy.run_path(str(ROOT / "docs" / "build.py"))
PAGES = [page.relative_to(ROOT).as_posix() for page in BUILD["pages"]()]
LINKING = [*PAGES, "ARCHITECTURE.md", "CONTRIBUTING.md", "CHANGELOG.md"]
ROOMS = ("cli", "comparators", "dashboard", "gates", "producers", "rollouts", "router", "schemas", "streams")
#: What a plan cannot leave out.
LEAST = """\
rollout: least-1
service: least
baseline: {version: "1"}
candidate: {version: "2"}
owner: ann@example.com
rollback_condition: any required gate fails
promotion_gates: {error_rate: {maximum: 0.01}, schema_validation_pass_rate: {minimum: 0.995}}
"""
_FENCE = re.compile(r"^```(?P<language>\w*)\n(?P<body>.*?)^```$", re.DOTALL | re.MULTILINE)
_ENVIRONMENT = re.compile(r"\bPARITYGATE_[A-Z_]*[A-Z]\b")


def _text(page: str) -> str:
    return (ROOT / page).read_text()


def _fences(page: str, *languages: str) -> list[str]:
    return [m["body"] for m in _FENCE.finditer(_text(page)) if m["language"] in languages]


def _prose(page: str) -> str:
    return _FENCE.sub("", _text(page))


def _inline(page: str) -> list[str]:
    return re.findall(r"`([^`\n]+)`", _prose(page))


@pytest.mark.parametrize("page", PAGES)
def test_generated_blocks_are_current(page: str) -> None:
    """Tables and snippets on the pages are those of the code."""
    text = _text(page)

    assert BUILD["refreshed"](text) == text, f"{page} is not current: make docs"


@pytest.mark.parametrize("page", LINKING)
def test_links_lead_somewhere(page: str) -> None:
    """Every relative link names a file that is there and, after #, a heading of it."""
    broken = []
    for target in re.findall(r"\]\(([^)\s]+)\)", _prose(page)):
        if target.startswith(("http://", "https://")):
            continue
        path, _, heading = target.partition("#")
        file = (ROOT / page).parent / path if path else ROOT / page
        if not file.exists() or (heading and heading not in _headings(file)):
            broken.append(target)

    assert broken == []


def _headings(file: Path) -> set[str]:
    titles = re.findall(r"^#+ (.+)$", _FENCE.sub("", file.read_text()), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def test_readme_leads_to_every_page() -> None:
    """No page is written for nobody: README links each of them."""
    links = set(re.findall(r"\]\(([^)#\s]+)", _text("README.md")))

    assert set(PAGES) - links == {"README.md"}


def _commands(page: str) -> Iterator[list[str]]:
    """Words after ``paritygate`` of every command line on a page."""
    lines = [line for line in _inline(page) if "[OPTIONS]" not in line]
    for body in _fences(page, "console", "bash", "sh"):
        lines += [line.removeprefix("$ ") for line in body.splitlines()]
    for line in lines:
        words = shlex.split(line, comments=True) if "paritygate" in line else []
        while words and re.fullmatch(r"[A-Z_]+=.*", words[0]):
            words = words[1:]
        if words[:1] == ["paritygate"] and len(words) > 1:
            yield words[1:]


@pytest.mark.parametrize("page", PAGES)
def test_commands_exist(page: str) -> None:
    """Every ``paritygate …`` on a page is a verb with options and values that it takes."""
    for words in _commands(page):
        _parse(words)


def _parse(words: list[str]) -> None:
    """Read a command line as the program would, without doing it."""
    if words[0] in {"--version", "--help"}:
        return
    assert words[0] in VERBS, f"no such verb: paritygate {' '.join(words)}"
    command, rest = load(words[0]), [word for word in words[1:] if word != "--help"]
    if hasattr(command, "commands") and rest:
        assert rest[0] in command.commands, f"no such verb: paritygate {' '.join(words)}"
        command, rest = command.commands[rest[0]], rest[1:]
    if rest:  # a verb alone is spoken of, not said
        command.make_context(words[0], rest)


def test_command_lines_are_found() -> None:
    """The reader of pages reads: the ways to write a command are all seen, and a wrong one is refused."""
    found = [words for page in PAGES for words in _commands(page)]

    assert {words[0] for words in found} >= VERBS.keys() - {"demo"}
    assert ["worker"] in found  # after a variable
    assert ["start", "rollout.yaml"] in found
    with pytest.raises(Exception, match="no-such-option"):
        _parse(["tail", "audit.v1", "--no-such-option"])


def test_commands_in_messages_exist() -> None:
    """What an error message tells the user to say can be said."""
    for room in ROOMS:
        for file in sorted((ROOT / room).rglob("*.py")):
            for words in re.findall(r"'paritygate ([a-z]+)(?: ([a-z]+))?", file.read_text()):
                assert words[0] in VERBS, f"{file}: paritygate {words[0]}"
                command = load(words[0])
                if words[1] and hasattr(command, "commands"):
                    assert words[1] in command.commands, f"{file}: paritygate {' '.join(words)}"


@pytest.mark.parametrize("page", PAGES)
def test_yaml_blocks_are_plans_or_gates(page: str) -> None:
    """Every YAML block is a plan, gates, a file of receivers, or a section that a plan takes."""
    for body in _fences(page, "yaml"):
        keys = yaml.safe_load(body).keys()
        if "rollout" in keys:
            RolloutPlan.from_yaml(body, file=page)
        elif "targets" in keys:
            NotifyFile.model_validate(yaml.safe_load(body))
        elif keys == {GATES_KEY}:
            parse_gate_file(body, file=page)
        else:
            RolloutPlan.from_yaml(LEAST + body, file=page)


@pytest.mark.parametrize("page", PAGES)
def test_python_blocks_import_what_there_is(page: str) -> None:
    """Every Python block compiles, and each name that it takes from paritygate is there."""
    for body in _fences(page, "python"):
        for node in ast.walk(ast.parse(body)):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("paritygate"):
                module = importlib.import_module(node.module or "")
                assert [a.name for a in node.names if not hasattr(module, a.name)] == []


def test_the_plan_page_holds_every_key_with_its_default() -> None:
    """``rollout-yaml.md`` shows a plan with all keys; those that may be left out stand there as they are then."""
    (body,) = _fences("docs/reference/rollout-yaml.md", "yaml")
    written, plan, least = yaml.safe_load(body), RolloutPlan.from_yaml(body), RolloutPlan.from_yaml(LEAST)

    assert _keys(written) == _model_keys(RolloutPlan)
    required = {name for name, field in RolloutPlan.model_fields.items() if field.is_required()}
    assert len(required) == 7
    for name in written.keys() - required:
        assert plan.to_plain().get(name) == least.to_plain().get(name), name


def test_the_page_of_mistakes_names_each_and_its_test() -> None:
    """Every common mistake has its row, and the tests that the rows name are there."""
    page = _text("docs/reference/mistakes.md")
    tests = (ROOT / "tests" / "unit" / "rollouts" / "test_mistakes.py").read_text()
    named = re.findall(r"`test_mistakes\.py::(\w+)`", page)

    assert [m for m in Mistake if f"\n| {m} | " not in page] == []
    assert len(named) >= len(Mistake)
    assert [name for name in named if f"def {name}(" not in tests] == []


def _keys(plain: dict[str, Any]) -> set[str]:
    found = set(plain)
    for name, value in plain.items():
        inner = value[0] if isinstance(value, list) and value and isinstance(value[0], dict) else value
        if isinstance(inner, dict) and name != GATES_KEY:
            found |= {f"{name}.{key}" for key in inner}
    return found


def _model_keys(model: type[BaseModel]) -> set[str]:
    found = set(model.model_fields)
    for name, field in model.model_fields.items():
        for section in re.findall(r"rollouts\.sections\.(\w+)", repr(field.annotation)):
            inner = getattr(importlib.import_module("paritygate.rollouts.sections"), section)
            found |= {f"{name}.{key}" for key in inner.model_fields}
    return found


def test_the_gates_page_explains_every_key() -> None:
    """Each rule and option of a gate has its row on ``gates.md``."""
    rows = re.findall(r"^\| (.+?) \|", _text("docs/reference/gates.md"), re.MULTILINE)
    explained = {name for row in rows for name in re.findall(r"`(\w+)`", row)}

    assert set(KEYS) - explained == set()


def test_readme_shows_the_gates_of_the_template() -> None:
    """The five gates in README are those that ``paritygate init`` writes."""
    text = (ROOT / "cli" / "templates" / "rollout.yaml").read_text()
    # The review gate is there as a comment: it waits for reviews that not every service has.
    template = RolloutPlan.from_yaml(text.replace("# human_review_score:", "human_review_score:"))
    shown = [yaml.safe_load(body) for body in _fences("README.md", "yaml")]

    assert template.gates in [parse_gates(plain[GATES_KEY]) for plain in shown]


def test_the_settings_page_holds_every_setting_with_its_default() -> None:
    """Names and defaults on ``settings.md`` are those of KafkaSettings and WorkerSettings, and no more."""
    row = re.compile(r"^\| `(PARITYGATE_\w+)` \| ?`?([^|`]*?)`? ?\|", re.MULTILINE)
    shown = dict(row.findall(_text("docs/reference/settings.md")))
    wanted = _defaults("PARITYGATE_", KafkaSettings) | _defaults(PREFIX, WorkerSettings)

    assert shown | wanted == shown
    assert shown.keys() - wanted.keys() == {
        "PARITYGATE_RUN", "PARITYGATE_CACHE", "PARITYGATE_ACTOR", "PARITYGATE_CANDIDATE", "PARITYGATE_DEBUG",
        "PARITYGATE_CONFLUENT_IDS", "PARITYGATE_ROUTER_KILL", "PARITYGATE_SIGNING_KEY", "PARITYGATE_COMMAND_KEYS",
        "PARITYGATE_DECISION_KEYS",
    }  # fmt: skip


def _defaults(prefix: str, settings: type[Any]) -> dict[str, str]:
    found = {}
    for field in dataclasses.fields(settings):
        if field.name == "kafka":
            continue
        default = "" if field.default is dataclasses.MISSING else field.default
        found[prefix + field.name.upper()] = f"{default:g}" if isinstance(default, float) else str(default)
    return found


def test_variables_are_those_of_the_code() -> None:
    """A variable that a page names is on the settings page, and so is each that the code reads."""
    documented = set(_ENVIRONMENT.findall(_text("docs/reference/settings.md")))
    named = {name for page in PAGES for name in _ENVIRONMENT.findall(_text(page))}
    code = {
        name
        for room in ROOMS
        for file in (ROOT / room).rglob("*.py")
        for name in _ENVIRONMENT.findall(file.read_text())
    }

    assert named - documented == set()
    assert {name for name in code if f"{name}_" != PREFIX} - documented == set()


@pytest.mark.parametrize("page", PAGES)
def test_topics_and_metrics_exist(page: str) -> None:
    """A topic or metric that a page names is one of the tables."""
    topics, metrics = set(BY_NAME), {metric.value for metric in METRICS}
    engines = json.loads((ROOT / "benchmarks" / "results" / "join.json").read_text())["engines"].keys()
    for code in _inline(page):
        name = code.removeprefix("ml.")
        if re.fullmatch(r"[a-z.]+\.v1", name):
            assert name in topics
        if re.fullmatch(r"(paritygate|rollout)_\w*[a-z]", name) and not name.startswith("rollout_condition"):
            assert name in metrics | engines


def test_make_help_lists_every_verb() -> None:
    """``make help`` names each verb of the Makefile; the pages name no other."""
    makefile = _text("Makefile")
    verbs = set(re.findall(r"^([a-z][a-z-]*):", makefile, re.MULTILINE)) - {"lint"}
    told = subprocess.run(["make", "-s", "help"], cwd=ROOT, capture_output=True, text=True, check=True).stdout

    assert set(re.findall(r"^  make ([a-z-]+) ", told, re.MULTILINE)) == verbs
    for page in LINKING:
        lines = [*_inline(page), *(line for body in _fences(page, "console", "") for line in body.splitlines())]
        said = {match[1] for line in lines if (match := re.match(r"(?:\$ )?make ([a-z-]+)", line))}
        assert said <= verbs, page


@pytest.mark.parametrize("page", ["docs/concepts/exactness.md", "docs/concepts/fail-safe.md"])
def test_every_fault_met_has_its_tests(page: str) -> None:
    """Each row of the table names tests, and each of them is there."""
    rows = re.findall(r"^\| .* \| (`tests/.*`) \|$", _text(page), re.MULTILINE)
    assert len(rows) >= 20
    for row in rows:
        for file, name in re.findall(r"`(tests/[a-z_/]+\.py)::(test_\w+)`", row):
            assert re.search(rf"^(async )?def {name}\(", _text(file), re.MULTILINE), f"{file} has no {name}"
