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
from importlib.util import find_spec
from typing import Annotated, Any

import typer
from typer.core import TyperGroup
from typer.exceptions import TyperException

from paritygate.cli.console import note
from paritygate.schemas.errors import ParityGateError

DEBUG = "PARITYGATE_DEBUG"
OUR_MISTAKE = 70
INTERRUPTED = 130

#: Verb -> module and name of its function or Typer app, in the order of ``--help``.
VERBS: Mapping[str, tuple[str, str]] = {
    "demo": ("paritygate.cli.demo", "demo"),
    "init": ("paritygate.cli.init", "init"),
    "validate": ("paritygate.cli.validate", "validate"),
    "broker": ("paritygate.cli.broker", "broker_app"),
    "topics": ("paritygate.cli.topics", "topics_app"),
    "worker": ("paritygate.cli.worker", "worker"),
    "start": ("paritygate.cli.command", "start"),
    "pause": ("paritygate.cli.command", "pause"),
    "resume": ("paritygate.cli.command", "resume"),
    "rollback": ("paritygate.cli.command", "rollback"),
    "status": ("paritygate.cli.status", "status"),
    "watch": ("paritygate.cli.watch", "watch"),
    "tail": ("paritygate.cli.tail", "tail"),
    "doctor": ("paritygate.cli.doctor", "doctor"),
    "version": ("paritygate.cli.version", "version"),
}


class Verbs(TyperGroup):
    """A group whose commands are imported when asked for: ``--version`` must not pay for Kafka."""

    def list_commands(self, ctx: Any) -> list[str]:
        """The verbs whose module is there."""
        return [name for name, (module, _) in VERBS.items() if find_spec(module) is not None]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """The verb, or None where there is no such."""
        module, attribute = VERBS.get(cmd_name, ("", ""))
        if not module or find_spec(module) is None:
            return None
        found = getattr(import_module(module), attribute, None)
        if found is None:
            return None
        if isinstance(found, typer.Typer):
            group = typer.main.get_group(found)
            group.name = cmd_name
            return group
        return _single(cmd_name, found)

    def resolve_command(self, ctx: Any, args: list[str]) -> tuple[str | None, Any, list[str]]:
        """Split the arguments; an unknown verb gets the nearest known one named."""
        if args and not args[0].startswith("-") and self.get_command(ctx, args[0]) is None:
            near = get_close_matches(args[0], self.list_commands(ctx), n=1)
            ctx.fail(f"no such command {args[0]!r}" + (f", did you mean {near[0]!r}?" if near else ""))
        return super().resolve_command(ctx, args)


def _single(name: str, function: Callable[..., Any]) -> Any:
    app = typer.Typer(add_completion=False)
    app.command(name)(function)
    return typer.main.get_command(app)


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


def _explain(error: BaseException) -> int:
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
            if context is not None and type(error).__name__ == "NoArgsIsHelpError":
                sys.stderr.write(f"{context.get_help()}\n")  # its message is the whole help text
                return 2
            where = f" (see '{context.command_path} --help')" if context is not None else ""
            return _error(f"{error.format_message().rstrip('.')}{where}", 2)
        case ParityGateError():
            return _error(str(error), 2)
        case _:
            what = f"unexpected {type(error).__name__}: {error}"
            return _error(f"{what} (set {DEBUG}=1 for the traceback)", OUR_MISTAKE)


def _error(text: str, code: int) -> int:
    note("error: " + " ".join(text.split()))
    return code


if __name__ == "__main__":
    sys.exit(main())
