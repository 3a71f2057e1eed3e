"""errors: what a person is told when something is wrong, and the exit code that goes with it.

The tree:

    UserError                 2   a wrong word, option or value
    +-- DataError             3   the data cannot be used as it is
    +-- BundleError           4   a bundle is damaged, foreign or not to be trusted
    +-- RunError              5   a run folder is damaged, unfinished or from a newer version
    +-- MissingExtra          6   an optional package is needed; says which install brings it
    +-- LimitsMissed          7   a bundle was built, but it misses a limit that was asked for
    +-- Interrupted         130   stopped by Ctrl-C or SIGTERM; says how to continue
"""

from __future__ import annotations

from pathlib import Path


class UserError(Exception):
    """Something a person can put right: says what was wrong, what came, and what to do next."""

    exit_code = 2


class DataError(UserError):
    exit_code = 3


class BundleError(UserError):
    exit_code = 4


class RunError(UserError):
    exit_code = 5


class MissingExtra(UserError):
    exit_code = 6

    def __init__(self, package: str, extra: str, purpose: str) -> None:
        super().__init__(
            f"{purpose} needs the package {package!r}, which is not installed. "
            f'Install it with: pip install "shoestring[{extra}]"'
        )


class LimitsMissed(UserError):
    """Says what was the nearest, and what it would take; the bundle lies in `folder`."""

    exit_code = 7

    def __init__(self, message: str, folder: Path) -> None:
        super().__init__(message)
        self.folder = folder


class Interrupted(UserError):
    exit_code = 130


class Skipped(Exception):
    """Raised by a technique that looked and leaves a run as it is; says why. No error: the run
    goes on without it, and the receipt holds the reason."""
