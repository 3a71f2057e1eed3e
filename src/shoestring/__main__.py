"""__main__: the command as a process: its exit codes, and errors without tracebacks."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Sequence
from types import TracebackType

import click

import shoestring
from shoestring import cli
from shoestring.core.errors import Interrupted, UserError
from shoestring.report.words import visible


def main(words: Sequence[str] | None = None) -> int:
    """Runs one command and returns its exit code. An error that a person can put right is one
    paragraph on standard error; anything else is a bug and shows where it arose."""
    sys.excepthook = _report_bug
    for stream in (sys.stdout, sys.stderr):
        # A file's name may hold bytes that are no text: they are shown escaped, not a crash.
        getattr(stream, "reconfigure", lambda errors: None)(errors="backslashreplace")
    try:
        return _arrived(int(cli.commands.main(words, "shoestring", standalone_mode=False) or 0))
    except UserError as error:
        return _complain(str(error), error.exit_code)
    except click.Abort:
        return _complain("stopped", Interrupted.exit_code)
    except click.UsageError as error:
        path = error.ctx.command_path if error.ctx is not None else "shoestring"
        return _complain(f"{error.format_message()}\nsee: {path} --help", error.exit_code)
    except click.ClickException as error:
        return _complain(error.format_message(), error.exit_code)


def _arrived(code: int) -> int:
    """The exit code, once what was written has arrived or nobody listens any more."""
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        code = cli.PIPE_CLOSED
    if code == cli.PIPE_CLOSED:
        # Python flushes once more at its exit, which would fail again and say so.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return code


def _complain(message: str, exit_code: int) -> int:
    lines = map(visible, message.split("\n"))
    click.echo("error: " + "\n".join(lines), err=True)
    return exit_code


def _report_bug(
    kind: type[BaseException], error: BaseException, trace: TracebackType | None
) -> None:
    traceback.print_exception(kind, error, trace)
    if issubclass(kind, Exception):
        click.echo(
            f"This is a bug in shoestring {shoestring.__version__}. Please report it on the "
            "project's issue page, with the lines above and the command that you gave.",
            err=True,
        )


if __name__ == "__main__":
    sys.exit(main())
