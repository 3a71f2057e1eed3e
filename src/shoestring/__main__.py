"""__main__: the command as a process: its exit codes, and errors without tracebacks."""

from __future__ import annotations

import os
import re
import signal
import sys
import threading
import traceback
from collections.abc import Sequence
from types import FrameType, TracebackType
from typing import Any

try:  # Ctrl-C in the first moments, too, ends in a word
    import click

    import shoestring
    from shoestring import cli
    from shoestring.core.errors import Interrupted, RunError, UserError
    from shoestring.report.words import visible
except KeyboardInterrupt:
    sys.stderr.write("error: stopped\n")
    sys.exit(130)


def main(words: Sequence[str] | None = None) -> int:
    """Runs one command and returns its exit code. An error that a person can put right is one
    paragraph on standard error; anything else is a bug and shows where it arose."""
    sys.excepthook = _report_bug
    for stream in (sys.stdout, sys.stderr):
        # A file's name may hold bytes that are no text: they are shown escaped, not a crash.
        getattr(stream, "reconfigure", lambda errors: None)(errors="backslashreplace")
    try:
        with _Stops():
            code = cli.commands.main(words, "shoestring", standalone_mode=False)
            return _arrived(int(code or 0))
    except UserError as error:
        return _complain(str(error), error.exit_code)
    except click.UsageError as error:
        path = error.ctx.command_path if error.ctx is not None else "shoestring"
        return _complain(f"{error.format_message()}\nsee: {path} --help", error.exit_code)
    except click.ClickException as error:
        return _complain(error.format_message(), error.exit_code)
    except (MemoryError, RuntimeError) as error:  # torch has errors of its own for it
        if not isinstance(error, MemoryError) and not _NO_MEMORY.search(str(error)):
            raise
        return _complain(
            f"the memory of this machine does not hold it ({str(error).splitlines()[0][-120:]}); "
            "take a smaller network (--network), smaller inputs, or a smaller --batch-size",
            RunError.exit_code,
        )


_NO_MEMORY = re.compile("(can't|cannot|failed to) allocate memory|out of memory", re.IGNORECASE)


class _Stops:
    """Ctrl-C and SIGTERM end a command in the same way, wherever they arrive. A library that is
    just being imported may hide them behind an error of its own."""

    def __enter__(self) -> None:
        self._before: Any = None
        ours = threading.current_thread() is threading.main_thread()
        if ours and signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
            self._before = signal.signal(signal.SIGTERM, _stop)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._before is not None:
            signal.signal(signal.SIGTERM, self._before)
        if not isinstance(error, Interrupted) and _is_stop(error):
            raise Interrupted("stopped") from None


def _stop(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _is_stop(error: BaseException | None) -> bool:
    """Whether an interrupt is at the root of an error."""
    waiting, seen = [error], set[int]()
    while waiting:
        one = waiting.pop()
        if one is None or id(one) in seen:
            continue
        if isinstance(one, (KeyboardInterrupt, click.Abort)):
            return True
        seen.add(id(one))
        waiting += [one.__cause__, one.__context__]
    return False


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
