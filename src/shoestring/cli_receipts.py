"""cli_receipts: receipts on standard output, as JSON, or as a page in a file."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

import shoestring
from shoestring.cli_options import print_json
from shoestring.core.errors import BundleError, RunError
from shoestring.data.names import counted
from shoestring.report import words

if TYPE_CHECKING:
    from shoestring.report.sheet import Sheet


def show_receipts(
    paths: Sequence[str | os.PathLike[str]], as_json: bool, details: bool, single: bool = False
) -> None:
    """One receipt in full; several side by side, and in full as well with `details`."""
    sheets = list(_read(paths).values())
    if as_json:
        print_json(sheets[0] if single else sheets)
        return
    from shoestring.report import text

    if len(paths) > 1:
        from shoestring.report import front

        text.show(front.side_by_side(sheets), sys.stdout)
    for number, sheet in enumerate(sheets if details or len(paths) == 1 else ()):
        click.echo("\n" if number or len(paths) > 1 else "", nl=False)
        text.show(text.receipt(sheet, details), sys.stdout)
    if len(paths) > 1 and not details:
        click.echo("\neach by itself: shoestring receipt RUNS --details")
    elif not details and sheets[0].has_details:
        path = words.visible(str(paths[0]))
        click.echo(f"\nmore tables: shoestring receipt {path} --details")


def write_page(paths: Sequence[str], file: str, as_json: bool) -> None:
    """The receipts as one HTML file, while a terminal is told how far it is."""
    from shoestring.report import page, progress

    page.check(file)
    readable = list(_read(paths))
    with progress.watch(sys.stderr) as listener:
        page.write(readable, file, listener.stage)
    click.echo(f"{words.visible(file)} shows {counted(len(readable), 'receipt')}", err=as_json)


def _read(paths: Sequence[str | os.PathLike[str]]) -> dict[str, Sheet]:
    """By path. Of several those that are none are left out, and said to be: `runs/*` may hold a
    run that is not finished. Raises what reading raises where there is nothing else."""
    found: dict[str, Sheet] = {}
    left: list[RunError | BundleError] = []
    for path in paths:
        try:
            found[os.fspath(path)] = shoestring.receipt(path)
        except (RunError, BundleError) as error:
            left.append(error)
    if not found:
        raise left[0]
    for reason in left:
        click.echo(f"left out: {words.visible(str(reason))}", err=True)
    return found
