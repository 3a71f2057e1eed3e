"""test_plugins: tasks and techniques are found by their files; options are read from words."""

from __future__ import annotations

import sys
import types
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

import shoestring.tasks
import shoestring.techniques
from shoestring import plugins
from shoestring.core.errors import UserError


@dataclass(frozen=True)
class Sand:
    grit: int = 80
    pressure: float = 0.5
    wet: bool = False
    grain: Literal["along", "across"] = "along"
    boards: tuple[str, ...] = ()
    passes: int | None = None
    maker: str = "none named"

    def __post_init__(self) -> None:
        if self.grit <= 0:
            raise ValueError(f"grit must be above zero, not {self.grit}")


@dataclass(frozen=True)
class Glue:
    kind: str


@pytest.fixture
def techniques(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Path]:
    """A folder with the technique `sand` in it, in place of the real ones."""
    (tmp_path / "sand.py").touch()
    (tmp_path / "_private.py").touch()
    module = types.ModuleType("shoestring.techniques.sand")
    vars(module).update(TECHNIQUE=Sand, Literal=Literal)  # its annotations are read in here
    monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.setattr(Sand, "__module__", module.__name__)
    monkeypatch.setattr(shoestring.techniques, "__path__", [str(tmp_path)])
    plugins.technique_names.cache_clear()
    yield tmp_path
    plugins.technique_names.cache_clear()


class FakeTask:
    def __init__(self, name: str, suffix: str) -> None:
        self.name, self.suffix = name, suffix

    def recognizes(self, source: str) -> bool:
        return source.endswith(self.suffix)


@pytest.fixture
def tasks(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """Two tasks, `sounds` for .wav and `poems` for .txt and .wav, in place of the real ones."""
    for name, suffix in (("sounds", ".wav"), ("poems", "")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").touch()
        module = types.ModuleType(f"shoestring.tasks.{name}.task")
        vars(module).update(TASK=FakeTask(name, suffix))
        monkeypatch.setitem(sys.modules, f"shoestring.tasks.{name}", types.ModuleType(name))
        monkeypatch.setitem(sys.modules, module.__name__, module)
    (tmp_path / "notes.py").touch()  # a task is a folder
    monkeypatch.setattr(shoestring.tasks, "__path__", [str(tmp_path)])
    plugins.task_names.cache_clear()
    plugins.task.cache_clear()
    yield
    plugins.task_names.cache_clear()
    plugins.task.cache_clear()


# --- the folder is the registry -----------------------------------------------------------------


def test_every_technique_file_is_a_technique(techniques: Path) -> None:
    assert plugins.technique_names() == ("sand",)
    assert plugins.technique_class("sand") is Sand


def test_a_wrong_technique_is_answered_with_those_there_are(techniques: Path) -> None:
    with pytest.raises(UserError, match=r"^there is no technique 'snad'; there are: sand$"):
        plugins.technique("snad:grit=3")


def test_every_task_folder_is_a_task(tasks: None) -> None:
    assert plugins.task_names() == ("poems", "sounds")
    assert plugins.task("sounds").name == "sounds"


def test_a_wrong_task_is_answered_with_those_there_are(tasks: None) -> None:
    with pytest.raises(UserError, match=r"^there is no task 'poem'; there are: poems, sounds$"):
        plugins.task_for("a.wav", "poem")


def test_the_task_is_told_from_the_data(tasks: None) -> None:
    assert plugins.task_for("a.txt").name == "poems"
    assert plugins.task_for("a.txt", "sounds").name == "sounds"


def test_data_of_two_tasks_asks_for_a_word(tasks: None) -> None:
    expected = r"'a\.wav' looks like data of poems, sounds; say which with --task \(poems, sounds\)"
    with pytest.raises(UserError, match=expected):
        plugins.task_for("a.wav")


def test_a_link_to_nowhere_is_named(tmp_path: Path) -> None:
    (tmp_path / "photos").symlink_to(tmp_path / "gone")
    with pytest.raises(UserError, match=r"photos' is a link to '.*gone', which is not there$"):
        plugins.task_for(str(tmp_path / "photos"))


def test_the_real_folders_hold_what_they_say() -> None:
    assert plugins.task_names()
    for name in plugins.task_names():
        assert (Path(shoestring.tasks.__path__[0]) / name / "task.py").is_file()


# --- words to options and back ------------------------------------------------------------------


def test_a_name_alone_takes_the_defaults(techniques: Path) -> None:
    assert plugins.technique("sand") == Sand()
    assert plugins.technique("sand:") == Sand()


def test_options_are_read_as_their_types(techniques: Path) -> None:
    words = "sand:grit=1e2, pressure=1,wet=yes,grain=across,boards=oak+elm,passes=3,maker=a b"
    assert plugins.technique(words) == Sand(
        grit=100,
        pressure=1.0,
        wet=True,
        grain="across",
        boards=("oak", "elm"),
        passes=3,
        maker="a b",
    )


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("sand:grti=3", "^sand has no option 'grti'; it has: grit, pressure, wet, grain, boards"),
        ("sand:grit", "^sand: 'grit' is not option=value; a comma inside a value is written %2C$"),
        ("sand:grit=fine", "^sand: grit is a whole number, not 'fine'$"),
        ("sand:grit=1.5", r"^sand: grit is a whole number, not '1\.5'$"),
        ("sand:grit=inf", "^sand: grit is a whole number, not 'inf'$"),
        ("sand:grit=", "^sand: grit is a whole number, not ''$"),
        ("sand:pressure=hard", "^sand: pressure is a number, not 'hard'$"),
        ("sand:wet=maybe", "^sand: wet is true or false, not 'maybe'$"),
        ("sand:grain=up", "^sand: grain is one of along, across, not 'up'$"),
        ("sand:passes=some", "^sand: passes is a whole number, not 'some'$"),
        ("sand:grit=-1", "^sand: grit must be above zero, not -1$"),
    ],
)
def test_a_wrong_option_is_named(techniques: Path, words: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        plugins.technique(words)


def test_a_needed_option_is_asked_for() -> None:
    with pytest.raises(UserError, match=r"^glue needs kind$"):
        plugins.options_from(Glue, {}, "glue")
    assert plugins.options_from(Glue, {"kind": "bone"}, "glue") == Glue("bone")


@pytest.mark.parametrize("value", [True, 2.5, float("inf"), float("nan"), [], None])
def test_a_plain_value_that_is_no_whole_number_is_refused(value: Any) -> None:
    with pytest.raises(UserError, match="sand: grit is a whole number"):
        plugins.options_from(Sand, {"grit": value}, "sand")


def test_plain_values_pass_as_they_are() -> None:
    given_ = {"grit": 2**60 + 1, "pressure": 2, "wet": True, "boards": ["oak"], "passes": None}
    assert plugins.options_from(Sand, given_, "sand") == Sand(
        grit=2**60 + 1, pressure=2.0, wet=True, boards=("oak",), passes=None
    )
    assert plugins.options_from(Sand, {"grit": str(2**60 + 1)}, "sand").grit == 2**60 + 1


def test_only_what_differs_is_written(techniques: Path) -> None:
    assert plugins.words(Sand()) == "sand"
    changed = Sand(grit=3, wet=True, boards=("oak", "elm"))
    assert plugins.words(changed) == "sand:grit=3,wet=True,boards=oak+elm"


letters = st.characters(categories=["L", "N"]) | st.sampled_from(list(",+%=/._"))
names = st.text(letters, min_size=1).filter(lambda text: text.lower() != "none")


@given(
    made=st.builds(
        Sand,
        grit=st.integers(1, 2**70),
        pressure=st.floats(allow_nan=False),
        wet=st.booleans(),
        grain=st.sampled_from(["along", "across"]),
        boards=st.lists(names).map(tuple),
        passes=st.none() | st.integers(),
        maker=names,
    )
)
def test_words_give_the_same_technique_again(made: Sand) -> None:
    written = plugins.words(made)
    _, _, rest = written.partition(":")
    pieces = dict(piece.split("=", 1) for piece in filter(None, rest.split(",")))
    assert plugins.options_from(Sand, pieces, "sand", escaped=True) == made


@given(st.text())
def test_any_words_are_options_or_a_user_error(text: str) -> None:
    try:
        made = plugins.options_from(Sand, {"grit": text, "boards": text, "maker": text}, "sand")
        assert isinstance(made, Sand)
    except UserError as error:
        assert str(error).startswith("sand: grit")
