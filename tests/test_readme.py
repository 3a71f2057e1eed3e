"""test_readme: what the pages say is there, and no more."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import click
import pytest

from scripts import tree
from shoestring.cli import commands

ROOT = Path(__file__).resolve().parent.parent
PAGES = [path.name for path in sorted(ROOT.glob("*.md"))] + [
    str(path.relative_to(ROOT)) for path in sorted((ROOT / "docs").rglob("*.md"))
]


def text_of(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def blocks(page: str, language: str = "") -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", text_of(page), re.DOTALL | re.MULTILINE)


def lines_said(page: str) -> list[list[str]]:
    """The command lines in a page's plain code blocks, as words."""
    lines = [line for block in blocks(page) for line in block.splitlines()]
    said = [
        shlex.split(line, comments=True) for line in lines if re.match(r"(make|shoestring) ", line)
    ]
    return [words for words in said if words]


def targets() -> set[str]:
    return set(re.findall(r"^([a-z]+):", text_of("Makefile"), re.MULTILINE))


def command_of(words: list[str]) -> tuple[click.Command, click.Context, list[str]]:
    """The verb that the words after `shoestring` name, and the words that are left."""
    command: click.Command = commands
    # with the settings of a real call: click remembers each command's help option
    context = click.Context(commands, **commands.context_settings)
    rest = list(words)
    while isinstance(command, click.Group):
        name = rest.pop(0)
        found = command.get_command(context, name)
        assert found is not None, f"there is no command {name!r}: {' '.join(words)}"
        command, context = found, click.Context(found, parent=context)
    return command, context, rest


def test_the_file_tree_is_true() -> None:
    assert tree.with_tree(text_of("README.md")) == text_of("README.md"), "run: make fix"


def test_every_file_of_the_package_says_what_it_is() -> None:
    files = [path for path in (ROOT / "src").rglob("*") if tree.holds(path)]
    assert not [path for path in files if not tree.summary(path)]


def test_two_commands_set_it_up() -> None:
    first = blocks("README.md")[0]
    assert [line.split("#")[0].split() for line in first.splitlines()] == [
        ["make", "demo"],
        ["make", "test"],
    ]


@pytest.mark.parametrize("page", PAGES)
def test_every_make_target_is_there(page: str) -> None:
    said = {word for words in lines_said(page) if words[0] == "make" for word in words[1:]}
    said |= set(re.findall(r"`make ([a-z]+)`", text_of(page)))
    assert {word for word in said if "=" not in word} <= targets()


@pytest.mark.parametrize("page", ["README.md", "CONTRIBUTING.md", "SECURITY.md"])
def test_every_command_and_option_is_there(page: str) -> None:
    for words in lines_said(page):
        if words[0] == "shoestring" and "COMMAND" not in words:
            command, context, rest = command_of(words[1:])
            known = {name for parameter in command.get_params(context) for name in parameter.opts}
            options = {word.partition("=")[0] for word in rest if word.startswith("-")}
            assert options <= known, " ".join(words)


def test_the_tour_has_every_verb() -> None:
    said = {words[1] for words in lines_said("README.md") if words[0] == "shoestring"}
    context = click.Context(commands)
    assert said == set(commands.list_commands(context))


@pytest.mark.parametrize("page", PAGES)
def test_every_link_leads_somewhere(page: str) -> None:
    for target in re.findall(r"\]\(([^)#]+)[^)]*\)", text_of(page)):
        if "://" not in target:
            assert (ROOT / page).parent.joinpath(target).exists(), target


def test_python_in_the_readme_compiles_and_names_what_is_there() -> None:
    import shoestring

    for block in blocks("README.md", "python"):
        compile(block, "README.md", "exec")
        assert set(re.findall(r"shoestring\.(\w+)", block)) <= set(shoestring.__all__)


def test_the_version_is_one() -> None:
    import tomllib

    import shoestring

    project = tomllib.loads(text_of("pyproject.toml"))["project"]
    assert project["version"] == shoestring.__version__
    assert re.search(rf"^## {re.escape(project['version'])}", text_of("CHANGELOG.md"), re.MULTILINE)
