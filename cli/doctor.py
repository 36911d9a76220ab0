"""``paritygate doctor``: is everything that the join and the routers rest on as it should be?"""

from __future__ import annotations

from dataclasses import asdict

import typer

from paritygate.cli.console import console, new_table, print_json
from paritygate.cli.finding import Check, Result
from paritygate.cli.kafka import kafka_settings
from paritygate.cli.options import Bootstrap, Json


def doctor(bootstrap: Bootstrap = None, as_json: Json = False) -> None:
    """Check broker, topics, keys, worker, join, bins, freshness, routers; exit 1 when a check fails."""
    from paritygate.cli.checks import all_checks  # noqa: PLC0415

    settings = kafka_settings(bootstrap)
    checks: list[Check] = list(all_checks(settings))
    if as_json:
        print_json({"bootstrap": settings.bootstrap, "checks": [asdict(c) for c in checks]})
    else:
        from rich.text import Text  # noqa: PLC0415

        styles = {Result.OK: "green", Result.WARN: "yellow", Result.FAIL: "bold red", Result.SKIP: "dim"}
        table = new_table("check", "result", "what", "mend")
        for c in checks:
            table.add_row(c.name, Text(c.result.value, style=styles[c.result]), c.detail, c.mend)
        console().print(table)
    if any(c.result is Result.FAIL for c in checks):
        raise typer.Exit(1)
