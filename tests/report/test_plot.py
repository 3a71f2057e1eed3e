"""Pictures as SVG: well formed, harmless, and refused before any work where they cannot be."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

import pytest

from shoestring.core.errors import UserError
from shoestring.report.plot import Line, Plot, check, svg, write

PLOT = Plot(
    "A & <b>",
    "x",
    "y",
    [
        Line("one", [0, 1, 2], [5, 6, 9], [(4, 6), (5, 7), (8, 10)]),
        Line("two", [1, 2], [7, 7], dashed=True),
    ],
    [(0, "none"), (2, "two")],
    "%",
)


def test_a_plot_is_well_formed_and_its_words_do_no_harm() -> None:
    root = ElementTree.fromstring(svg(PLOT))
    space = "{http://www.w3.org/2000/svg}"
    words = [element.text for element in root.iter(f"{space}text")]
    assert {"A & <b>", "one", "two", "none"} <= set(words)
    assert len(list(root.iter(f"{space}circle"))) == 5
    assert len(list(root.iter(f"{space}polygon"))) == 1


def test_all_points_lie_in_the_frame() -> None:
    root = ElementTree.fromstring(svg(PLOT))
    for circle in root.iter("{http://www.w3.org/2000/svg}circle"):
        assert 70 <= float(circle.attrib["cx"]) <= 470
        assert 40 <= float(circle.attrib["cy"]) <= 350


def test_one_point_is_a_plot_too() -> None:
    assert "circle" in svg(Plot("", "", "", [Line("", [1], [0])], []))


def test_a_plot_is_written_to_an_svg_file_alone(tmp_path: Path) -> None:
    write(PLOT, tmp_path / "a.svg")
    assert (tmp_path / "a.svg").read_text("utf-8") == svg(PLOT)
    with pytest.raises(UserError, match=r"a\.svg, not"):
        check(tmp_path / "a.png")
    with pytest.raises(UserError, match="there is no folder"):
        check(tmp_path / "none" / "a.svg")
