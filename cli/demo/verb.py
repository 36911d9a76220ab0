"""``paritygate demo``: its options, and what can be known to be wrong before the long work begins.

Law: the help loads no model and no table library; a file that cannot be written, a port that is taken and a
misspelt scenario are found before anything is started. Exit code 0 only when every scenario ended as its table
says.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from paritygate.cli.demo.scenarios import SCENARIOS, STORY
from paritygate.schemas.errors import ConfigError


def demo(  # noqa: PLR0917  (options of a command line, given by name)
    scenario: Annotated[
        str | None, typer.Option(help=f"One of {', '.join(SCENARIOS)}; without it the whole story.")
    ] = None,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write the result here.")] = None,
    speed: Annotated[float, typer.Option(min=0.1, max=4, help="Requests per second, as a factor.")] = 1.0,
    bootstrap: Annotated[
        str | None,
        typer.Option(
            metavar="HOST:PORT",
            help="Kafka address; otherwise $PARITYGATE_BOOTSTRAP, otherwise a broker of the demo's own, "
            "started in its folder and ended with it.",
        ),
    ] = None,
    folder: Annotated[Path, typer.Option(help="Where logs, plans and the broker's data go.")] = Path("run/demo"),
    with_worker: Annotated[
        bool, typer.Option("--worker/--no-worker", help="Start a worker, or use the one that runs already.")
    ] = True,
    with_dashboard: Annotated[
        bool, typer.Option("--dashboard/--no-dashboard", help="Serve the page of every rollout as long as it runs.")
    ] = True,
    metrics_port: Annotated[
        int, typer.Option(min=0, max=65535, help="Serve the demo service's Prometheus metrics here, on 127.0.0.1.")
    ] = 0,
    cache: Annotated[Path, typer.Option(help="Where prepared data and models are kept.")] = Path(".cache"),
) -> None:
    """Two real models on real flights: a hidden fault is caught, the mended candidate climbs to 100 %."""
    if scenario is not None and scenario not in SCENARIOS:
        raise ConfigError(f"no scenario is called {scenario!r}: choose {', '.join(SCENARIOS)}")
    require_writable("--folder", folder / "worker.log")
    if json_file is not None:
        require_writable("--json", json_file)
    from paritygate.cli.demo.run import run_demo, write_json  # noqa: PLC0415  (sklearn and pandas cost 3 s)

    summaries = run_demo(
        STORY if scenario is None else (scenario,),
        bootstrap=bootstrap,
        folder=folder,
        cache=cache,
        speed=speed,
        with_worker=with_worker,
        with_dashboard=with_dashboard,
        metrics_port=metrics_port,
    )
    if json_file is not None:
        write_json(json_file, summaries)
    if not all(s.ok for s in summaries):
        raise typer.Exit(1)


def require_writable(option: str, path: Path) -> None:
    """Make the folder of ``path`` and see whether the file can be written; leaves the file as it was.

    :raises ConfigError: it cannot; the text names the option and the path.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        there = path.exists()
        with path.open("ab"):
            pass
        if not there:
            path.unlink()
    except OSError as e:
        raise ConfigError(f"{option}: {path} cannot be written: {e.strerror or type(e).__name__}") from None
