"""``paritygate watch``: one rollout live: the sentence, the ladder, the gates.

Law: on a terminal one picture is redrawn; anywhere else each decision is one line (or, with ``--json``, one
document), so that a log or a pipe gets what happened and not a film of it.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING, Annotated

import typer

from paritygate.cli.console import console, note, print_json, print_line
from paritygate.cli.kafka import kafka_settings, require_topics
from paritygate.cli.options import Bootstrap, Json, RolloutId
from paritygate.schemas.topics import DECISIONS, ROLLOUTS

if TYPE_CHECKING:
    from paritygate.cli.follow import Declared
    from paritygate.schemas.decision import GateDecision


def watch(
    rollout: RolloutId,
    bootstrap: Bootstrap = None,
    until_done: Annotated[
        bool,
        typer.Option("--until-done", help="End with the rollout: exit 0 at 100 %, exit 1 on a rollback."),
    ] = False,
    as_json: Json = False,
) -> None:
    """Follow the decisions of one rollout until Ctrl-C."""
    from paritygate.cli.follow import Newest, decisions, decisions_end, declared, is_over, newest_decisions  # noqa: PLC0415

    settings = kafka_settings(bootstrap)
    require_topics(settings, DECISIONS.name, ROLLOUTS.name)
    since = decisions_end(settings)
    newest = Newest()
    newest.decisions = newest_decisions(settings)
    known = newest.decisions.get(rollout)
    plan = declared(settings, rollout)
    if known is None and not plan.rungs:
        note(f"rollout {rollout} is not known yet; waiting for its start")

    def changes() -> Iterable[GateDecision]:
        if known is not None:
            yield known
        if known is not None and until_done and is_over(known):
            return
        for decision in decisions(settings, start=since, follow=True):
            if decision.rollout_id == rollout and newest.take(decision):
                yield decision
                if until_done and is_over(decision):
                    return

    if as_json:
        last = _each(changes(), lambda d: print_json(d.model_dump(mode="json"), indent=False))
    elif not sys.stdout.isatty():
        last = _each(changes(), _print_sentence)
    else:
        last = _live(changes(), plan)
    if last is not None and last.action.value == "rollback":  # only --until-done comes here
        raise typer.Exit(1)


def _each(changes: Iterable[GateDecision], show: object) -> GateDecision | None:
    assert callable(show)
    last = None
    for last in changes:
        show(last)
    return last


def _print_sentence(decision: GateDecision) -> None:
    from paritygate.cli.render import instant, sentence  # noqa: PLC0415

    print_line(f"{instant(decision.at_ms)} {sentence(decision).plain}")


def _live(changes: Iterable[GateDecision], plan: Declared) -> GateDecision | None:
    from rich.live import Live  # noqa: PLC0415

    from paritygate.cli.render import panel  # noqa: PLC0415

    last = None
    with Live("waiting for the first decision", console=console(), auto_refresh=False) as live:
        for last in changes:
            live.update(panel(last, plan), refresh=True)
    return last
