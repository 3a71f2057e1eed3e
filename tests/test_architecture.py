"""test_architecture: the rules of docs/architecture.md, read off the source with `ast`."""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

SOURCE = Path(__file__).resolve().parent.parent / "src"
PACKAGE = "shoestring"

# Each room may import the rooms before it, and itself. `plugins` is a module between them.
ROOMS = ("core", "data", "plugins", "bundle", "engine", "cluster", "techniques", "autopilot")
ROOMS += ("report", "cli")
TOP = ("", "__main__")  # the package's lazy names and `python -m`: above all rooms

# Modules (or rooms, with all that is in them) that load without torch.
TORCH_FREE = ("", "__main__", "cli", "core", "data", "plugins", "bundle", "techniques", "autopilot")
TORCH_FREE += ("report", "engine.store", "engine.measure", "engine.evidence", "engine.apply")
TORCH_FREE += ("engine.shift", "engine.part", "engine.effects", "engine.tensorfile")
TORCH_FREE += ("engine.offspring",)
TORCH_FREE += ("engine.search.space", "engine.search.study", "engine.search.workers")
TORCH_FREE += ("engine.search.trial_words", "cluster.plan", "cluster.launch")
TORCH_FREE += ("engine.spread.traffic", "engine.spread.parallel_job", "engine.spread.launched")
TORCH_FREE += ("engine.spread.parallel_crew", "engine.spread.parallel_fit")
TORCH_FREE_OF_A_TASK = ("data", "task", "predict")

LONGEST_MODULE = 350
FORBIDDEN_WORDS = {"utils", "util", "helpers", "helper", "common", "manager", "handler"}
FORBIDDEN_WORDS |= {"cfg", "hparams", "val", "vals"}
# Functions that take any keyword, each with its reason.
TAKES_ANY_KEYWORD = {
    "core.run.with_recipe": "fields of Recipe; dataclasses.replace refuses all others",
    "engine.derive.child": "fields of Run; the same",
    "engine.derive.tuned": "fields of Recipe; the same",
    "tasks.translation.graph.node": "the attributes of an ONNX operator, as below",
    "tasks.translation.graph.several": "the same",
    "tasks.translation.graph_ensemble.several": "the same",
    "tasks.images.graph.node": "the attributes of an ONNX operator, checked when the graph is",
    "tasks.images.graph.several": "the same",
    "tasks.images.integers.node": "the same",
}
# A catalogue says what kind of problem a data set is for; the files of MNIST, and what scikit-learn
# calls its pictures, have names of their own. The data room imports no task that it could ask.
MAY_NAME_A_TASK = ("tasks", "data.catalog", "data.mnist", "data.digits")
MAY_PRINT = ("cli", "__main__", "report", "bundle.grade")
# The one caller of torch.load, which takes nothing but tensors out of a file with a known hash.
MAY_LOAD_TENSORS = "tasks.images.transfer"
# Reads how many bytes the system counted on connections that torch opened; opens none itself.
COUNTS_BYTES = "engine.spread.traffic"
# The one reader of a pickle: MNIST's wheel, checked by its hash first. See SECURITY.md.
MAY_UNPICKLE = "data.pickled"


@dataclass(frozen=True)
class Import:
    target: str  # a dotted module, "shoestring.core.run" or "torch.nn"
    name: str  # what is taken from it; "" for the module itself
    line: int
    at_load: bool  # when the module is loaded, not inside a function
    for_types: bool  # under `if TYPE_CHECKING`
    relative: bool = False


@dataclass(frozen=True)
class Module:
    path: Path
    name: str  # without the package: "core.run", "tasks.images.model", "" for the package itself

    @property
    def room(self) -> str:
        first = self.name.partition(".")[0]
        return "cli" if first.startswith("cli_") else first  # cli.py and what was cut from it

    @property
    def tree(self) -> ast.Module:
        return _parsed(self.path)

    @property
    def imports(self) -> tuple[Import, ...]:
        return _imports(self.path)

    def __str__(self) -> str:
        return str(self.path.relative_to(SOURCE))


@cache
def _parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), str(path))


@cache
def modules() -> tuple[Module, ...]:
    found = []
    for path in sorted((SOURCE / PACKAGE).rglob("*.py")):
        parts = path.relative_to(SOURCE / PACKAGE).with_suffix("").parts
        found.append(Module(path, ".".join(p for p in parts if p != "__init__")))
    return tuple(found)


def by_name() -> dict[str, Module]:
    return {module.name: module for module in modules()}


@cache
def _imports(path: Path) -> tuple[Import, ...]:
    return tuple(_walk_imports(_parsed(path).body, at_load=True, for_types=False))


def _walk_imports(nodes: Iterable[ast.AST], *, at_load: bool, for_types: bool) -> Iterator[Import]:
    for node in nodes:
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield Import(alias.name, "", node.lineno, at_load, for_types)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            for alias in node.names:
                target = _module_of(base, alias.name)
                relative = node.level > 0
                yield Import(target, alias.name, node.lineno, at_load, for_types, relative)
        elif isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
            yield from _walk_imports(node.body, at_load=at_load, for_types=True)
            yield from _walk_imports(node.orelse, at_load=at_load, for_types=for_types)
        else:
            inside = isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda))
            yield from _walk_imports(
                ast.iter_child_nodes(node), at_load=at_load and not inside, for_types=for_types
            )


def _module_of(base: str, name: str) -> str:
    """`from base import name` reaches the module base.name where there is one, base otherwise."""
    path = SOURCE / Path(*f"{base}.{name}".split("."))
    there = path.is_dir() or path.with_suffix(".py").exists()
    return f"{base}.{name}" if base.partition(".")[0] == PACKAGE and there else base


def ours(target: str) -> str | None:
    """The name inside the package; None for everything else."""
    if target == PACKAGE:
        return ""
    return target.removeprefix(f"{PACKAGE}.") if target.startswith(f"{PACKAGE}.") else None


def names_in(folder: str, *, folders: bool) -> set[str]:
    entries = (SOURCE / PACKAGE / folder).iterdir()
    return {
        entry.stem
        for entry in entries
        if not entry.name.startswith(("_", ".")) and entry.is_dir() == folders
    }


def docstrings(tree: ast.Module) -> set[int]:
    """The ids of the constants that are docstrings: prose."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
            first = node.body[0] if node.body else None
            if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant):
                found.add(id(first.value))
    return found


def defined_names(tree: ast.Module) -> Iterator[tuple[str, int]]:
    """Functions, classes and parameters. A local variable may repeat the name that a library
    gave to what it holds."""
    for node in ast.walk(tree):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            yield node.name, node.lineno
        elif isinstance(node, ast.arg):
            yield node.arg, node.lineno


def words_of(name: str) -> set[str]:
    return {word.lower() for word in re.findall(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])", name)}


def within(name: str, places: Iterable[str]) -> bool:
    return any(name == place or (place and name.startswith(f"{place}.")) for place in places)


def report(broken: list[str]) -> None:
    assert not broken, "\n" + "\n".join(broken)


# --- who may import whom ------------------------------------------------------------------------


def may_import(importer: Module, target: str) -> bool:
    room, other = importer.room, target.partition(".")[0]
    if importer.name in TOP:
        return True
    if room == "tasks":
        own = ".".join(importer.name.split(".")[:2])
        return other in ("core", "data") or within(target, (own, "tasks")[: 1 + (own == "tasks")])
    if room == "techniques":
        return within(target, (importer.name, "techniques")[: 1 + (importer.name == room)]) or (
            other in ROOMS and ROOMS.index(other) < ROOMS.index(room)
        )
    if room == "plugins" and target in ("tasks", "techniques"):
        return True  # the folders that it looks through, not what is in them
    if room == "cli" and (other.startswith("cli_") or not other):
        return True  # the verbs are the package's public names
    return room in ROOMS and other in ROOMS and ROOMS.index(other) <= ROOMS.index(room)


def only_its_version(module: Module) -> bool:
    """Whether a module that imports the package asks it for nothing but `__version__` and such."""
    asked = {i.name for i in module.imports if i.target == PACKAGE} - {""}
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Attribute) and ast.unparse(node.value) == PACKAGE:
            asked.add(node.attr)
    return all(name.startswith("__") for name in asked)


def test_imports_go_one_way() -> None:
    broken = [
        f"{module}:{i.line} imports {i.target}"
        for module in modules()
        for i in module.imports
        if (target := ours(i.target)) is not None
        and not (i.target == PACKAGE and only_its_version(module))
        and not may_import(module, target)
    ]
    report(broken)


def test_every_room_has_its_place() -> None:
    rooms = {module.room for module in modules()} - set(TOP)
    assert rooms <= {*ROOMS, "tasks"}


def test_no_relative_imports() -> None:
    report([f"{m}:{i.line} {i.target}" for m in modules() for i in m.imports if i.relative])


def test_core_needs_the_standard_library_alone() -> None:
    broken = [
        f"{module}:{i.line} imports {i.target}"
        for module in modules()
        if module.room == "core"
        for i in module.imports
        if not i.for_types
        and not within(ours(i.target) or "", ("core",))
        and i.target.split(".")[0] not in sys.stdlib_module_names
    ]
    report(broken)


def loaded_by(name: str) -> dict[str, str]:
    """All that loading a module loads, each with the module that asks for it."""
    found: dict[str, str] = {}
    known = by_name()
    todo = [(part, name) for part in _with_parents(name)]
    while todo:
        current, asker = todo.pop()
        if current in found:
            continue
        found[current] = asker
        if current in known:
            for i in known[current].imports:
                if i.at_load and not i.for_types:
                    target = ours(i.target)
                    reached = [i.target] if target is None else _with_parents(target)
                    todo += [(part, current) for part in reached]
    return found


def _with_parents(name: str) -> list[str]:
    parts = name.split(".") if name else []
    return ["", *(".".join(parts[: n + 1]) for n in range(len(parts)))]


def torch_free_modules() -> list[str]:
    return [
        module.name
        for module in modules()
        if within(module.name, TORCH_FREE)
        or (module.room == "tasks" and module.name.rpartition(".")[2] in TORCH_FREE_OF_A_TASK)
    ]


def test_torch_is_loaded_where_it_is_used() -> None:
    broken = []
    for name in torch_free_modules():
        for target, asker in loaded_by(name).items():
            if target.partition(".")[0] in ("torch", "torchvision", "onnxscript"):
                broken.append(f"loading {name or PACKAGE} loads {target}, asked for by {asker}")
    report(broken)


def test_techniques_know_neither_tasks_nor_each_other() -> None:
    tasks = names_in("tasks", folders=True) | {"translation"}
    others = names_in("techniques", folders=False)
    broken = []
    for module in modules():
        if module.room == "techniques" and module.name != "techniques":
            forbidden = tasks | (others - {module.path.stem})
            broken += [
                f"{module}:{i.line} imports {i.target}"
                for i in module.imports
                if within(ours(i.target) or "", ("tasks", *(f"techniques.{n}" for n in forbidden)))
            ]
    report(broken)


# --- names that only one room may know ----------------------------------------------------------


def words_in_code(module: Module) -> Iterator[tuple[str, int]]:
    """Every word of this module's names and strings; prose to readers of the code apart."""
    prose = docstrings(module.tree)
    for node in ast.walk(module.tree):
        found: list[str] = []
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in prose:
            found = re.findall(r"[A-Za-z]+", node.value)
        elif isinstance(node, ast.Name | ast.Attribute | ast.keyword | ast.arg | ast.alias):
            name = getattr(node, "id", None) or getattr(node, "attr", None)
            name = name or getattr(node, "arg", None) or getattr(node, "name", None)
            found = [*words_of(str(name or ""))]
        elif isinstance(node, ast.FunctionDef | ast.ClassDef):
            found = [*words_of(node.name)]
        for word in found:
            yield word.lower(), getattr(node, "lineno", 0)


def test_only_tasks_know_which_task_it_is() -> None:
    names = names_in("tasks", folders=True)
    assert names >= {"images", "translation"}
    broken = [
        f"{module}:{line} says {word}"
        for module in modules()
        if not within(module.name, MAY_NAME_A_TASK)
        for word, line in words_in_code(module)
        if word in names
    ]
    report(broken)


def test_a_task_imports_no_other_and_is_imported_by_none() -> None:
    """What differs between tasks is behind `Task` and `Network`, which `plugins` hands out."""
    broken = [
        f"{module}:{i.line} imports {i.target}"
        for module in modules()
        for i in module.imports
        if within(target := ours(i.target) or "", ("tasks",))
        and target != "tasks"
        and not within(target, (".".join(module.name.split(".")[:2]),))
    ]
    report(broken)


def test_the_loop_names_no_technique() -> None:
    words = names_in("techniques", folders=False)
    fit = by_name()["engine.fit"]
    compared = [
        f"{fit}:{node.lineno} says {node.value!r}"
        for node in ast.walk(fit.tree)
        if isinstance(node, ast.Constant) and node.value in words
    ]
    report(compared)


def test_modules_and_names_say_what_they_are() -> None:
    broken = []
    for module in modules():
        for name, line in [(module.path.stem, 1), *defined_names(module.tree)]:
            if words_of(name) & FORBIDDEN_WORDS:
                broken.append(f"{module}:{line} {name}")
    report(broken)


# --- how a module is written --------------------------------------------------------------------


@pytest.mark.parametrize("module", modules(), ids=str)
def test_a_module_opens_with_its_name_and_a_sentence(module: Module) -> None:
    expected = module.path.parent.name if module.path.stem == "__init__" else module.path.stem
    first = (ast.get_docstring(module.tree) or "").partition("\n\n")[0]
    assert re.match(rf"{re.escape(expected)}: \S.*\.\Z", first, re.DOTALL), first


@pytest.mark.parametrize("module", modules(), ids=str)
def test_a_module_is_short(module: Module) -> None:
    lines = module.path.read_text(encoding="utf-8").count("\n")
    assert lines <= LONGEST_MODULE, f"{module} has {lines} lines: cut it along a noun"


def test_no_exception_is_caught_that_was_not_thought_of() -> None:
    broad = {"Exception", "BaseException"}
    broken = []
    for module in modules():
        for node in ast.walk(module.tree):
            if isinstance(node, ast.ExceptHandler):
                kinds = node.type.elts if isinstance(node.type, ast.Tuple) else [node.type]
                named = {k.id for k in kinds if isinstance(k, ast.Name)}
                if node.type is None or named & broad:
                    broken.append(f"{module}:{node.lineno}")
    report(broken)


def test_nothing_is_left_for_later() -> None:
    broken = [
        f"{module}:{node.lineno}"
        for module in modules()
        for node in ast.walk(module.tree)
        if isinstance(node, ast.Name) and node.id == "NotImplementedError"
    ]
    report(broken)


def test_no_function_takes_whatever_comes() -> None:
    broken = [
        f"{module}:{node.lineno} {node.name}(**{node.args.kwarg.arg})"
        for module in modules()
        for node in ast.walk(module.tree)
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))
        and node.args.kwarg
        and f"{module.name}.{node.name}" not in TAKES_ANY_KEYWORD
    ]
    report(broken)


# --- what can do harm ---------------------------------------------------------------------------


def calls(module: Module, names: set[str]) -> Iterator[tuple[str, int]]:
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in names:
            yield node.func.id, node.lineno


def test_nothing_is_evaluated() -> None:
    names = {"eval", "exec", "compile", "__import__"}
    report([f"{m}:{line} {name}" for m in modules() for name, line in calls(m, names)])


def test_only_the_outside_prints() -> None:
    broken = [
        f"{module}:{line}"
        for module in modules()
        if not within(module.name, MAY_PRINT)
        for _, line in calls(module, {"print"})
    ]
    report(broken)


def test_one_module_reads_a_pickle() -> None:
    readers = {"pickle", "_pickle", "cPickle", "dill", "cloudpickle", "joblib", "shelve", "marshal"}
    broken = [
        f"{module}:{i.line} imports {i.target}"
        for module in modules()
        for i in module.imports
        if i.target.split(".")[0] in readers and module.name != MAY_UNPICKLE
    ]
    report(broken)


def test_loaders_that_can_unpickle_are_told_not_to() -> None:
    """numpy.load refuses pickles unless told otherwise; torch.load is used once, for tensors."""
    broken = []
    for module in modules():
        for node in ast.walk(module.tree):
            if not isinstance(node, ast.Call):
                continue
            called = ast.unparse(node.func)
            allowed = [
                k
                for k in node.keywords
                if k.arg == "allow_pickle" and ast.unparse(k.value) != "False"
            ]
            tensors = module.name == MAY_LOAD_TENSORS and any(
                k.arg == "weights_only" and ast.unparse(k.value) == "True" for k in node.keywords
            )
            if (called == "torch.load" and not tensors) or allowed:
                broken.append(f"{module}:{node.lineno} {called}")
    report(broken)


def test_nothing_speaks_to_the_network_but_downloads() -> None:
    """Who imports a client: the data room, which downloads what a person asked for by name."""
    clients = {"urllib.request", "http", "socket", "ftplib", "smtplib", "requests", "httpx"}
    broken = [
        f"{module}:{i.line} imports {i.target}"
        for module in modules()
        for i in module.imports
        if within(i.target.replace("/", "."), clients)
        and module.room != "data"
        and module.name != COUNTS_BYTES
    ]
    report(broken)


def test_the_rules_find_what_they_look_for() -> None:
    """A rule that cannot fail protects nothing."""
    code = (
        "if TYPE_CHECKING:\n import torch\nimport os\ndef f():\n  from shoestring.core import run"
    )
    found = list(_walk_imports(ast.parse(code).body, at_load=True, for_types=False))
    assert [(i.target, i.at_load, i.for_types) for i in found] == [
        ("torch", True, True),
        ("os", True, False),
        ("shoestring.core.run", False, False),
    ]
    core = Module(SOURCE / PACKAGE / "core" / "run.py", "core.run")
    task = Module(SOURCE, "tasks.images.model")
    technique = Module(SOURCE, "techniques.augment")
    assert not may_import(core, "data.cache")
    assert not may_import(core, "tasks.images")
    assert may_import(task, "tasks.images.layers")
    assert not may_import(task, "tasks.translation.data")
    assert not may_import(task, "engine.fit")
    assert may_import(technique, "engine.fit")
    assert not may_import(technique, "techniques.average")
    assert not may_import(technique, "autopilot.train")
    cli = {word for word, _ in words_in_code(by_name()["cli"])}
    assert {"budget", "epochs", "wall", "clock"} <= cli  # names, and words of the help
    assert words_of("DataHandler") == {"data", "handler"}
    assert words_of("train_utils") == {"train", "utils"}
