"""``paritygate report``: the review of a rollout as files that can be mailed, printed and kept.

Law: nothing is written where something else stands, but a report of the same rollout. Payloads are redacted unless
somebody says ``--show-values``.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from paritygate.cli.console import note, print_json, print_line
from paritygate.cli.kafka import kafka_settings, require_topics
from paritygate.cli.options import Bootstrap, Json, RolloutId
from paritygate.schemas.topics import AUDIT, PREDICTIONS_PRIMARY, PREDICTIONS_SHADOW, ROLLOUTS, WINDOWS

if TYPE_CHECKING:
    from paritygate.schemas.client import KafkaSettings

#: Examples that the page shows.
SHOWN = 8
#: Most pairs of a bundle.
BUNDLED = 40


def report(
    rollout: RolloutId,
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="The folder to write into.")],
    *,
    bundle: Annotated[
        bool, typer.Option("--bundle", help="Also write the request pairs that show the regression, and a test.")
    ] = False,
    show_values: Annotated[
        bool, typer.Option("--show-values", help="Tell payloads as they are, not their types and lengths.")
    ] = False,
    bootstrap: Bootstrap = None,
    as_json: Json = False,
) -> None:
    """Write the review of a rollout as one HTML page and as Markdown, with a regression bundle if wanted."""
    settings = kafka_settings(bootstrap)
    topics = (AUDIT, ROLLOUTS, WINDOWS, PREDICTIONS_PRIMARY, PREDICTIONS_SHADOW)
    require_topics(settings, *(topic.name for topic in topics))
    written = write_report(settings, rollout, out, bundle=bundle, show_values=show_values)
    if as_json:
        print_json({"rollout": rollout, "files": [str(path) for path in written]})
        return
    if show_values:
        note("these files hold payloads as they were: mind who reads them")
    for path in written:
        print_line(str(path))


def write_report(
    settings: KafkaSettings, rollout_id: str, out: Path, *, bundle: bool = False, show_values: bool = False
) -> list[Path]:
    """Write the files of one rollout into ``out`` and return their paths.

    :raises ConfigError: the rollout is unknown, or its plan cannot be read.
    """
    from paritygate.cli.report.bundle import write_bundle  # noqa: PLC0415  (numpy and pyarrow cost 0.3 s)
    from paritygate.cli.report.content import document  # noqa: PLC0415
    from paritygate.cli.report.markdown import markdown  # noqa: PLC0415
    from paritygate.cli.report.page import page  # noqa: PLC0415
    from paritygate.cli.report.records import pairs, recorded  # noqa: PLC0415
    from paritygate.comparators.validation import OutputValidator  # noqa: PLC0415
    from paritygate.rollouts.regression import Showing, cover  # noqa: PLC0415

    found = recorded(settings, rollout_id)
    plan = found.plan
    showing = Showing(
        validator=OutputValidator(plan.output.rules()),
        rules=plan.diff.rules(),
        labels=frozenset(plan.output.labels),
        show_values=show_values,
    )
    chosen = cover(found.review.samples, BUNDLED if bundle else SHOWN)
    told = pairs(settings, chosen, showing, rollout_id)
    content = document(found.review, told[:SHOWN], show_values=show_values)
    out.mkdir(parents=True, exist_ok=True)
    written = [out / f"{rollout_id}.html", out / f"{rollout_id}.md"]
    written[0].write_text(page(content), encoding="utf-8")
    written[1].write_text(markdown(content), encoding="utf-8")
    if bundle:
        written += write_bundle(plan, told, out / f"{rollout_id}.regression")
    return written
