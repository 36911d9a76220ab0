"""``paritygate``: the verbs, each loaded only when it is said, and what a failure looks like.

Law: a user never sees a traceback (``PARITYGATE_DEBUG=1`` shows it). Exit codes: 0 done; 1 a check failed or
what was waited for did not come; 2 bad input or a world that is not ready, one ``error:`` line on stderr;
70 a mistake of ours; 130 Ctrl-C.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping, Sequence
from difflib import get_close_matches
from importlib import import_module
from typing import Annotated, Any, NamedTuple

import typer
from typer.core import TyperGroup
from typer.exceptions import TyperException

from paritygate.cli.console import note
from paritygate.schemas.errors import ParityGateError

DEBUG = "PARITYGATE_DEBUG"
OUR_MISTAKE = 70
INTERRUPTED = 130


class Verb(NamedTuple):
    """Where a verb's function or Typer app is, and its line in ``--help``."""

    module: str
    attribute: str
    about: str


VERBS: Mapping[str, Verb] = {
    "demo": Verb(
        "demo", "demo", "Run the whole story on real flights: a fault is caught, the mended model climbs."
    ),
    "init": Verb("init", "init", "Write a commented rollout.yaml and a small service to start from."),
    "validate": Verb("validate", "validate", "Check a rollout.yaml and print its digest."),
    "plan": Verb("plan", "plan_app", "Weigh a rollout.yaml before it begins: power and lint."),
    "broker": Verb("broker", "broker_app", "Start, stop or look at the local Kafka broker."),
    "topics": Verb("topics", "topics_app", "List the topics, make them, check them."),
    "worker": Verb("worker", "worker", "Run a worker that joins, measures and decides."),
    "start": Verb("command", "start", "Start a rollout in the shadow."),
    "pause": Verb("command", "pause", "Pause a rollout: no promotion until it is resumed."),
    "hold": Verb("command", "pause", "The same as pause."),
    "resume": Verb("command", "resume", "Resume a paused rollout."),
    "approve": Verb("intervene", "approve", "Approve of leaving a stage that asks for it."),
    "promote": Verb("intervene", "promote", "Go one stage up by force, without proof."),
    "rollback": Verb("command", "rollback", "Take a rollout back: weight 0 at every router, for good."),
    "abandon": Verb("intervene", "abandon", "End a rollout without judgement: weight 0, for good."),
    "acknowledge": Verb("intervene", "acknowledge", "Put on record that a person has seen a decision."),
    "status": Verb("status", "status", "Show where each rollout stands, or one with its gates and routers."),
    "watch": Verb("watch", "watch", "Follow one rollout live."),
    "dashboard": Verb("dashboard", "dashboard", "Serve the page of every rollout, live, and the same as JSON."),
    "notify": Verb("notify.verb", "notify", "Tell people what changes in any rollout, by webhook."),
    "report": Verb(
        "report.verb", "report", "Write the review of a rollout: a page, Markdown, a regression bundle."
    ),
    "tail": Verb("tail", "tail", "Print the records of a topic, decoded and filtered."),
    "explain": Verb("explain", "explain", "Say why one past decision was made, with its numbers."),
    "audit": Verb("audit", "audit_app", "Check the record of decisions against the logs."),
    "replay": Verb(
        "replay", "replay", "Derive a rollout's decisions again, from its windows or from the raw topics."
    ),
    "backtest": Verb("backtest", "backtest", "Say what another policy would have decided on a rollout's windows."),
    "keys": Verb("keys", "keys_app", "Make and name keys for signed decisions."),
    "doctor": Verb("doctor", "doctor", "Check broker, topics, partitioner, keys, worker and freshness."),
    "version": Verb("version", "version", "Print the version."),
}


class Verbs(TyperGroup):
    """A group whose commands are imported when they are said: the help must not pay for Kafka and pandas."""

    def list_commands(self, ctx: Any) -> list[str]:
        """The verbs, in the order of the table."""
        return list(VERBS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """A stand-in with the verb's line of help; None where there is no such verb."""
        return _single(cmd_name, _nothing, VERBS[cmd_name].about) if cmd_name in VERBS else None

    def resolve_command(self, ctx: Any, args: list[str]) -> tuple[str | None, Any, list[str]]:
        """The real command; an unknown verb gets the nearest known one named."""
        name = args[0]
        if name not in VERBS and not name.startswith("-"):
            near = get_close_matches(name, VERBS, n=1)
            ctx.fail(f"no such command {name!r}" + (f", did you mean {near[0]!r}?" if near else ""))
        return (name, load(name), args[1:]) if name in VERBS else super().resolve_command(ctx, args)


def load(name: str) -> Any:
    """Import a verb.

    :raises ConfigError: an extra that it needs is not installed.
    """
    verb = VERBS[name]
    found = getattr(import_module(f"paritygate.cli.{verb.module}"), verb.attribute)
    if isinstance(found, typer.Typer):
        group = typer.main.get_group(found)
        group.name = name
        return group
    return _single(name, found)


def _nothing() -> None:
    pass


def _single(name: str, function: Callable[..., Any], about: str | None = None) -> Any:
    single = typer.Typer(add_completion=False)
    single.command(name, help=about)(function)
    return typer.main.get_command(single)


app = typer.Typer(
    cls=Verbs,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Model releases made boring: compare a candidate with the version in use, and move traffic by proof.",
)


def _print_version(wanted: bool) -> None:
    if wanted:
        from paritygate.cli.version import version  # noqa: PLC0415

        version()
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    pass


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command line; the exit code. The console script ends the process with it."""
    args = list(sys.argv[1:] if argv is None else argv)
    try:
        code = typer.main.get_command(app).main(args, prog_name="paritygate", standalone_mode=False)
    except (Exception, KeyboardInterrupt) as e:
        if os.environ.get(DEBUG):
            import traceback  # noqa: PLC0415

            traceback.print_exception(e)
        return _explain(e)
    return code if isinstance(code, int) else 0


def _explain(error: BaseException) -> int:  # noqa: PLR0911  (one line per kind of failure)
    """Say what went wrong in one line; the exit code."""
    match error:
        case KeyboardInterrupt() | typer.Abort():
            return INTERRUPTED
        case BrokenPipeError():
            # The reader of our output has gone (``| head``); what is still buffered must not raise at exit.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return 1
        case TyperException():
            context = getattr(error, "ctx", None)
            if type(error).__name__ == "NoArgsIsHelpError":
                # Making it has printed the help already, except where rich is switched off.
                sys.stderr.write(f"{text}\n" if (text := error.format_message()) else "")
                return 2
            where = f" (see '{context.command_path} --help')" if context is not None else ""
            return _error(f"{error.format_message().rstrip('.')}{where}", 2)
        case ParityGateError():
            return _error(str(error), 2)
        case OSError() if error.errno is not None:
            # A path, a port or a disk that is not as it must be. One without a number is raised by code.
            place = f"{error.filename}: " if error.filename is not None else ""
            return _error(f"{place}{error.strerror or error}", 2)
        case ModuleNotFoundError() if error.name and not error.name.startswith("paritygate"):
            # The base install is for services; plans, gates and the worker need more.
            return _error(f'this needs {error.name}: pip install "paritygate[stream]"', 2)
        case _:
            what = f"unexpected {type(error).__name__}: {error}"
            return _error(f"{what} (set {DEBUG}=1 for the traceback)", OUR_MISTAKE)


def _error(text: str, code: int) -> int:
    note("error: " + " ".join(text.split()))
    return code


if __name__ == "__main__":
    sys.exit(main())
