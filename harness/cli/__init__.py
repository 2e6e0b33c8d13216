"""The ``harness`` command: one module a subcommand, imported when it is called."""

from __future__ import annotations

import difflib
import io
import os
import sys
import traceback
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import Any, NoReturn

import click

from harness import extras
from harness.errors import HarnessError
from harness.formatting import printable
from harness.version import __version__

COMMANDS = {
    "run": ("harness.cli.run", "Run a suite: everything that has no result yet."),
    "status": ("harness.cli.status", "Show which runs of a suite are done, running, failed or to do."),
    "watch": ("harness.cli.watch", "Follow a run from another terminal or machine."),
    "logs": ("harness.cli.logs", "Show the logs of a run's SLURM jobs."),
    "cancel": ("harness.cli.cancel", "End the SLURM jobs of a suite or a run."),
    "compare": ("harness.cli.compare", "Compare methods on equal terms, with confidence intervals."),
    "leaderboard": ("harness.cli.leaderboard", "Write the leaderboards again from the result files."),
    "archive": ("harness.cli.archive", "Pack a suite's finished runs into four files."),
    "clean": ("harness.cli.clean", "Remove superseded results and stages; lists them unless told --yes."),
    "merge": ("harness.cli.merge", "Bring the results of several machines into one folder."),
    "claims": ("harness.cli.claims", "Set what papers claim beside what was measured."),
    "publish": ("harness.cli.publish", "Upload a suite's results as a dataset with a card."),
    "report": ("harness.cli.report", "Write the results as one interactive HTML page."),
    "verify": ("harness.cli.verify", "Recompute every table from the results and compare."),
    "reproduce": ("harness.cli.reproduce", "Repeat one run from its record and compare."),
    "show": ("harness.cli.show", "Show one run's record."),
    "import": ("harness.cli.import_", "Bring in a published checkpoint, so that suites can start from it."),
    "export": ("harness.cli.export", "Write a finished run's network for other programs."),
    "plugins": ("harness.cli.plugins", "List architectures, methods, benchmarks and tools, or explain one."),
    "data": ("harness.cli.data", "List, fetch and check the data of benchmarks."),
    "new": ("harness.cli.new", "Write a working plugin to start from."),
    "doctor": ("harness.cli.doctor", "Check this machine: devices, data, plugins, SLURM, disk."),
}
"""Name -> module with a click command named ``command``, and that command's short help."""

DEBUG = "HARNESS_DEBUG"
INTERRUPTED = 130  # 128 + SIGINT, as shells report it
WRONG_USE = 2
LONGEST = 20_000
"""Characters of a message; a plugin's may have millions."""
BUG = 70  # EX_SOFTWARE of sysexits.h

plugin_option = click.option(
    "--plugin",
    "plugin_files",
    multiple=True,
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Load a single-file plugin; may be given several times.",
)


def _set_data_directory(context: click.Context, parameter: click.Parameter, value: str | None) -> None:
    if value:
        os.environ["HARNESS_DATA"] = str(Path(value).expanduser().absolute())


data_option = click.option(
    "--data",
    metavar="DIR",
    expose_value=False,
    is_eager=True,
    callback=_set_data_directory,
    help="Folder of downloaded data (else $HARNESS_DATA, else the user's cache folder).",
)


def show_warnings(texts: Iterable[str]) -> None:
    """On stderr; for what works today and will not for ever, or not to the end."""
    for text in texts:
        click.echo(f"warning: {text}", err=True)


class Commands(click.Group):
    """A group that imports a subcommand when it is called, not to list it."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Names, in the order in which a user meets them."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import a subcommand; None if there is none of that name."""
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = import_module(COMMANDS[cmd_name][0]).command
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """As click does, with the nearest right name in the error."""
        if args[0] not in COMMANDS and not args[0].startswith("-"):
            near = difflib.get_close_matches(args[0], COMMANDS, n=1, cutoff=0.5)
            hint = f" Did you mean '{near[0]}'?" if near else ""
            raise click.UsageError(f"unknown command '{args[0]}'.{hint} Commands: {', '.join(COMMANDS)}.", ctx)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The table above: nothing is imported."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, help_text) for name, (_, help_text) in COMMANDS.items()])


@click.group(
    cls=Commands,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
    epilog="""\b
Examples:
  harness run suites/quickstart.yaml
  harness status suites/quickstart.yaml
  harness plugins
  harness new method my_method

HARNESS_DEBUG=1 shows tracebacks.""",
)
@click.version_option(__version__, prog_name="harness")
def cli() -> None:
    """Compare sparsity methods at equal density, data, compute and seeds."""


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the command line and exit: 0 well, 1 problems found, 2 wrong use, 70 a bug, 130 interrupted."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a character that it cannot show ends no command
    code = _guarded(lambda: cli.main(arguments, prog_name="harness", standalone_mode=False))
    sys.exit(code)


def _guarded(call: Callable[[], Any]) -> int:
    """Call it and turn what it raises into a message and an exit code."""
    try:
        result = call()
        sys.stdout.flush()
        return result if isinstance(result, int) else 0
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except (click.Abort, KeyboardInterrupt):
        click.echo("interrupted: run the same command again to go on; finished work is kept.", err=True)
        return INTERRUPTED
    except BrokenPipeError:
        # The reader has gone (`harness show | head`); keep Python's own flush at exit quiet too.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except BaseException as error:
        if isinstance(error, SystemExit) and not (isinstance(error.code, str) or _by_plugin(error)):
            return int(error.code or 0)  # a command's own
        if os.environ.get(DEBUG):
            traceback.print_exc()
        code, text = _ending(error)
        with suppress(OSError):
            click.echo(printable(text, LONGEST), err=True)
        return code


def _ending(error: BaseException) -> tuple[int, str]:
    """Exit code and message for what a command raised."""
    error = extras.explained(error) or error
    if isinstance(error, HarnessError):
        return error.exit_code, f"error: {error}"
    if isinstance(error, MemoryError):
        return WRONG_USE, "error: this machine has not enough memory for that"
    from harness.registry.blame import blamed, caller, explained  # late: few commands come to this

    shown = f"{DEBUG}=1 shows the traceback."
    if blame := blamed(error):
        return WRONG_USE, f"error: {explained(blame, error)}\n{shown}"
    if isinstance(error, OSError) and error.strerror:
        where = f"{error.filename}: " if error.filename else ""
        return WRONG_USE, f"error: {where}{error.strerror}. Repair that and run the same command again."
    frame = traceback.extract_tb(error.__traceback__)[-1]
    by = f", or in what called it: {whose.text}" if (whose := caller(error)) else ""
    name = f"{type(error).__name__}: {error} (at {frame.filename}:{frame.lineno})"
    return BUG, f"internal error: {name}\nThis is a bug in the harness{by}; {shown}"


def _by_plugin(error: BaseException) -> bool:
    from harness.registry.blame import blamed  # late: few commands come to this

    return blamed(error) is not None
