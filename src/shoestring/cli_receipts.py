"""cli_receipts: receipts on standard output, as pages or as JSON."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

import click

import shoestring
from shoestring.cli_options import print_json
from shoestring.report import words


def show_receipts(
    paths: Sequence[str | os.PathLike[str]], as_json: bool, details: bool, single: bool = False
) -> None:
    sheets = [shoestring.receipt(path) for path in paths]
    if as_json:
        print_json(sheets[0] if single else sheets)
        return
    from shoestring.report import text

    for number, sheet in enumerate(sheets):
        click.echo("\n" if number else "", nl=False)
        text.show(text.receipt(sheet, details), sys.stdout)
    if not details and any(sheet.has_details for sheet in sheets):
        path = paths[0] if len(paths) == 1 else "RUNS"
        click.echo(f"\nmore tables: shoestring receipt {words.visible(str(path))} --details")
