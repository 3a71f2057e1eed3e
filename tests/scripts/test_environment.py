"""test_environment: pip's settings are told to uv, less the places that are not there."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from scripts import environment


def fake_pip(tmp_path: Path, lines: str) -> Path:
    """Stands in for a Python whose pip prints these lines."""
    script = tmp_path / "python"
    script.write_text(f"#!/bin/sh\ncat <<'END'\n{lines}\nEND\n", encoding="utf-8")
    script.chmod(0o755)
    return script


def test_the_environment_wins_over_the_files(tmp_path: Path) -> None:
    lines = (
        "global.find-links='/a'\nglobal.timeout='9'\ninstall.find-links='/b'\n:env:.find-links='/c'"
    )
    assert environment.pip_settings(fake_pip(tmp_path, lines)) == {
        "find-links": "/c",
        "timeout": "9",
    }


def test_several_places_may_stand_on_several_lines(tmp_path: Path) -> None:
    lines = r"global.extra-index-url='\nfile:///a\nfile:///b'" + "\nlist.format='columns'"
    settings = environment.pip_settings(fake_pip(tmp_path, lines))
    assert settings["extra-index-url"].split() == ["file:///a", "file:///b"]
    assert "format" not in settings


def test_this_pip_can_be_asked() -> None:
    assert isinstance(environment.pip_settings(Path(sys.executable)), dict)


def test_uv_is_told_the_same(tmp_path: Path) -> None:
    here, index = tmp_path / "wheels", (tmp_path / "simple").as_uri()
    here.mkdir()
    (tmp_path / "simple").mkdir()
    pip = {
        "find-links": f"{here} /not/there https://example.org/wheels",
        "index-url": "https://example.org/simple",
        "extra-index-url": f"{index} file:///not/there",
        "no-index": "true",
    }
    assert environment.uv_settings(pip, {}) == {
        "UV_INDEX_STRATEGY": "unsafe-best-match",
        "UV_FIND_LINKS": f"{here},https://example.org/wheels",
        "UV_DEFAULT_INDEX": "https://example.org/simple",
        "UV_INDEX": index,
        "UV_NO_INDEX": "1",
    }


def test_nothing_told_is_nothing_passed_on() -> None:
    assert environment.uv_settings({}, {}) == {"UV_INDEX_STRATEGY": "unsafe-best-match"}


def test_what_a_person_told_uv_stays(tmp_path: Path) -> None:
    settings = environment.uv_settings({"find-links": str(tmp_path)}, {"UV_FIND_LINKS": "/mine"})
    assert "UV_FIND_LINKS" not in settings


@pytest.mark.parametrize("places", ["", "  ", "/not/there file:///not/there"])
def test_places_that_are_not_there_are_left_out(places: str) -> None:
    assert environment.reachable(places) == []
