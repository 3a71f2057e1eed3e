"""page: receipts as one HTML file that opens anywhere, offline: no script, no request, no font."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from shoestring.core.errors import MissingExtra, UserError
from shoestring.core.protocols import Progress, silent
from shoestring.report import front, page_front, page_view
from shoestring.report.page_charts import Figure
from shoestring.report.sheet import Sheet, receipt
from shoestring.report.words import all_visible

if TYPE_CHECKING:
    from jinja2 import Environment

TEMPLATES = Path(__file__).parent / "templates"
SUFFIXES = (".html", ".htm")


def write(
    paths: Sequence[str | os.PathLike[str]],
    file: str | os.PathLike[str],
    progress: Progress = silent,
) -> Path:
    """Writes the page of some runs or bundles. UserError where a file cannot be written there or
    is called otherwise, MissingExtra where Jinja2 is not installed; both before any work."""
    target = check(file)
    text = html(paths, progress)
    try:
        target.write_text(text, encoding="utf-8")
    except OSError as error:
        raise UserError(f"cannot write {target}: {error.strerror or error}") from error
    return target


def check(file: str | os.PathLike[str]) -> Path:
    """Where the page goes; raises as `write` does."""
    target = Path(file)
    if target.suffix.lower() not in SUFFIXES:
        raise UserError(f"a page is an HTML file: name it {target.with_suffix('.html')}")
    if not target.parent.is_dir():
        raise UserError(f"cannot write {target}: there is no folder {target.parent}")
    if target.is_dir():
        raise UserError(f"cannot write {target}: it is a folder")
    if importlib.util.find_spec("jinja2") is None:
        raise MissingExtra("Jinja2", "report", "a receipt as a page")
    return target


def html(paths: Sequence[str | os.PathLike[str]], progress: Progress = silent) -> str:
    """The page as text. Raises what reading a receipt raises."""
    sheets = [all_visible(receipt(path)) for path in paths]
    views = []
    for number, (path, sheet) in enumerate(zip(paths, sheets, strict=True), 1):
        progress("receipts", number, len(paths))
        views.append(page_view.view(sheet, Path(path), number))
    title = f"Receipt of {sheets[0].path}" if len(sheets) == 1 else f"{len(sheets)} receipts"
    page = _environment().get_template("page.html")
    return page.render(
        title=title,
        views=views,
        fields=_fields(sheets) if len(sheets) > 1 else [],
        columns=page_front.COLUMNS,
        note=front.NOTE,
    )


def _fields(sheets: Sequence[Sheet]) -> list[dict[str, Any]]:
    """What is comparable side by side: a table, and both pictures."""
    limits = front.limits(sheets)
    found = []
    for field in front.fields(sheets):
        figures: list[Figure] = []
        if len(field.points) > 1:
            figures = page_front.pictures(field.points, field.metric, limits)
        rows = page_front.table(field.points, field.metric)
        fronts = [one.front for one in field.points]
        found.append({"title": field.title, "rows": rows, "fronts": fronts, "figures": figures})
    return found


def _environment() -> Environment:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    return Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,  # every value, whatever a template is called
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
