"""The public names: each there when asked for, none loaded before."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import shoestring


def test_every_public_name_can_be_had() -> None:
    for name in shoestring.__all__:
        assert getattr(shoestring, name) is getattr(shoestring, name)


def test_names_are_sorted_listed_and_each_has_a_home() -> None:
    assert list(shoestring.__all__) == sorted(shoestring.__all__)
    assert set(shoestring.__all__) == set(shoestring._HOMES)
    assert set(shoestring.__all__) <= set(dir(shoestring))
    assert "__version__" in dir(shoestring)


def test_public_names_say_what_they_do() -> None:
    for name in shoestring.__all__:
        assert getattr(shoestring, name).__doc__, name


def test_a_wrong_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'trian'"):
        _ = shoestring.trian


def test_importing_loads_no_room() -> None:
    script = "import shoestring, sys; print(sorted(m for m in sys.modules if 'shoestring' in m))"
    done = subprocess.run(
        [sys.executable, "-c", script], check=False, capture_output=True, text=True
    )
    assert done.stdout.strip() == "['shoestring']"


def test_a_technique_class_is_reached_by_its_package() -> None:
    from shoestring.techniques.augment import Augment

    assert shoestring.techniques.augment.Augment is Augment


def test_the_version_is_that_of_the_project(root: Path) -> None:
    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert "version" in project.get("dynamic", ()) or project["version"] == shoestring.__version__
