"""Options that several verbs share, so that they are spelt and explained once."""

from __future__ import annotations

from typing import Annotated

import typer

Bootstrap = Annotated[
    str | None,
    typer.Option(
        "--bootstrap",
        metavar="HOST:PORT",
        help="Kafka address; otherwise $PARITYGATE_BOOTSTRAP, otherwise the broker that 'broker up' started.",
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON to stdout and nothing else.")]
WaitS = Annotated[
    float, typer.Option("--wait", metavar="SECONDS", min=0, help="How long to wait for the decision.")
]
Actor = Annotated[
    str, typer.Option(envvar="PARITYGATE_ACTOR", help="Who says so; otherwise the user of this shell.")
]
Reason = Annotated[str, typer.Option("--reason", help="Why; goes into the audit log.", show_default=False)]
#: The same, where it must be given.
Why = Annotated[str, typer.Option("--reason", help="Why; goes into the audit log.", show_default=False)]
RolloutId = Annotated[str, typer.Argument(metavar="ROLLOUT", help="Id of the rollout.", show_default=False)]
