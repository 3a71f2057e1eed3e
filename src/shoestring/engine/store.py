"""store: run folders, checkpoints, resume. Reading a run needs no torch."""

from __future__ import annotations

import errno
import json
import os
import shutil
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from shoestring.bundle import bundle
from shoestring.core.budget import Cost
from shoestring.core.errors import RunError, UserError
from shoestring.core.plain import from_plain, to_plain
from shoestring.core.receipt import Plain
from shoestring.core.run import RUN_VERSION, Recipe, Run
from shoestring.core.trials import Trials

RUN, RECIPE, WEIGHTS = "run.json", "recipe.toml", "model.safetensors"
METRICS, OUTCOMES, BUNDLE, OPENINGS = "metrics.jsonl", "outcomes.npz", "bundle", "openings.jsonl"
EVENTS = "events.out.tfevents.shoestring"  # one name in every run: no clock and no host in it
SAFE = "safe.safetensors"  # where a rollback goes, of a run stopped between two looks
STARTED = bundle.STARTED
CHECKPOINT, SPENT = "checkpoint.safetensors", "spent.json"  # of a run that is not finished
BUILD = "build.json"  # of a build that is not finished
RATES = "rates.json"  # of a fit that is not finished: what was measured before it
TRIALS, TRIALS_FOLDER = "trials.json", "trials"  # of a search before the fit
_OWN: tuple[str, ...] = (RUN, RECIPE, WEIGHTS, METRICS, OUTCOMES, BUNDLE, OPENINGS)
POINTERS = tuple(name.replace(".safetensors", ".json") for name in (CHECKPOINT, SAFE))
_OWN += (SAFE, CHECKPOINT, *POINTERS, STARTED, SPENT)
_OWN += (TRIALS, TRIALS_FOLDER, EVENTS, BUILD, RATES)


_LEFT = (
    "{folder} is what a technique left that was ended, and cannot be gone on with: remove it, and "
    "apply the technique again"
)


def create(path: Path) -> None:
    """An empty folder for a new run; refuses one that holds anything, before any work is done."""
    try:
        path.mkdir(parents=True, exist_ok=True)
        if any(path.iterdir()):
            begun = (path / STARTED).exists() or (path / BUILD).exists()
            what = "holds an unfinished run (go on with it: --resume)" if begun else "is not empty"
            if left_by_apply(path):
                what = "holds what a technique left that was ended (it can be removed)"
            raise UserError(f"{path} {what}; name another folder with --out")
        probe = path / ".writable"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise UserError(f"cannot write the run to {path}: {error.strerror or error}") from error


def write_started(run: Run) -> None:
    """What a resume needs before the first checkpoint exists."""
    write_atomically(run.path / RECIPE, recipe_toml(run.recipe))
    write_atomically(run.path / STARTED, _json(to_plain(replace(run, path=Path(".")))))


def write_finished(run: Run) -> Run:
    """Writes run.json last: with it the folder is finished, and what only a resume needs goes."""
    write_atomically(run.path / RECIPE, recipe_toml(run.recipe))
    write_atomically(run.path / RUN, _json(to_plain(replace(run, path=Path(".")))))
    for name in (STARTED, SPENT, RATES):
        (run.path / name).unlink(missing_ok=True)
    for name in (CHECKPOINT, SAFE):
        drop(run.path / name)
    for left in run.path.glob(".*"):  # by processes that were killed while they wrote
        remove(left)
    return run


def keep(folder: Path, files: Mapping[str, bytes]) -> None:
    """Writes what the data brought along for `Network.graphs`, or finds it there as it is. Raises
    RunError where it stands there otherwise: the data would be read otherwise than before."""
    for name, data in files.items():
        path = folder / name
        if path.name != name or name.startswith(".") or name in _OWN:
            raise ValueError(f"{name!r} is no name for a file that a data set brings along")
        if not path.exists():
            write_atomically(path, data)
        elif path.read_bytes() != data:
            raise RunError(
                f"{path} is not what the data give now, so the run cannot go on as it began; put "
                "the data back (or the package versions that read them), or start a new run"
            )


def kept(folder: Path) -> dict[str, bytes]:
    """What the data brought along, by name, as `keep` wrote it."""
    if not folder.is_dir():
        raise RunError(f"there is no folder {folder} any more; put the run back where it was")
    return {
        path.name: path.read_bytes()
        for path in sorted(folder.iterdir())
        if path.is_file()
        and path.name not in _OWN
        and path.name not in bundle.BESIDE
        and path.suffix not in (".png", ".jsonl", ".html", ".txt")  # what a person puts there
        and not path.name.startswith(".")
    }


@dataclass(frozen=True)
class Spent:
    """What an unfinished run has used, and the limit that it runs under."""

    seconds: float = 0.0
    limit_seconds: float | None = None
    cost: Cost = Cost()  # of its fit


def write_spent(folder: Path, spent: Spent) -> None:
    write_atomically(folder / SPENT, json.dumps(to_plain(spent)))


def read_spent(folder: Path) -> Spent:
    """Nothing used and no limit where none was noted, or the note cannot be read."""
    try:
        plain = json.loads((folder / SPENT).read_text(encoding="utf-8"))
        return from_plain(Spent, plain, SPENT)
    except (OSError, ValueError, UserError):
        return Spent()


def read(path: str | os.PathLike[str]) -> Run:
    """The finished run in a folder. Raises RunError for anything else, saying what it is."""
    folder = Path(path)
    if not folder.is_dir():
        raise RunError(f"{folder} is not a run: there is no such folder")
    if not (folder / RUN).exists():
        if (folder / BUILD).exists():
            raise RunError(
                f"{folder} is an unfinished build; go on with it: "
                f"shoestring build --resume --out {folder}"
            )
        if left_by_apply(folder):
            raise RunError(_LEFT.format(folder=folder))
        if (folder / STARTED).exists():
            raise RunError(
                f"{folder} is an unfinished run; go on with it: shoestring train --resume {folder}"
            )
        raise RunError(f"{folder} is not a run: it has no {RUN}")
    return _read(folder, RUN)


def begun(folder: Path) -> bool:
    """Whether there is something to resume: a fit's first step was planned, or a search begun."""
    if (folder / RUN).exists() or (folder / TRIALS_FOLDER).exists():
        return True
    return (folder / STARTED).exists() and bool(_read(folder, STARTED).recipe.plan)


def left_by_apply(folder: Path) -> bool:
    """Whether a folder is that of a technique on finished runs which was killed: its fit alone
    could be gone on with, from weights that are not those that the technique had made."""
    try:
        return (folder / STARTED).exists() and bool(_read(folder, STARTED).lineage)
    except RunError:  # damaged: whose it was cannot be told
        return False


def read_resumable(path: str | os.PathLike[str]) -> Run:
    """The unfinished run of a training in a folder; RunError where it is a technique's."""
    run = read_started(path)
    if run.lineage:
        raise RunError(_LEFT.format(folder=path))
    return run


def read_started(path: str | os.PathLike[str]) -> Run:
    """The unfinished run in a folder."""
    folder = Path(path)
    if (folder / RUN).exists():
        raise RunError(f"{folder} is finished; there is nothing to resume")
    if not (folder / STARTED).exists():
        raise RunError(f"{folder} holds no unfinished run; start one without --resume")
    return _read(folder, STARTED)


def _read(folder: Path, name: str) -> Run:
    try:
        plain = json.loads((folder / name).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise RunError(f"{folder / name} cannot be read: {error}") from error
    version = plain.get("version") if isinstance(plain, dict) else None
    if not isinstance(version, int):
        raise RunError(f"{folder / name} is not a run's description: it has no version")
    if version > RUN_VERSION:
        raise RunError(
            f"{folder} was written by a newer shoestring (run version {version}, this one reads up "
            f"to {RUN_VERSION}); upgrade shoestring to read it"
        )
    try:
        run = from_plain(Run, plain, str(folder / name))
    except RunError:
        raise
    except UserError as error:
        raise RunError(f"{error}") from error
    return replace(run, path=folder)


def read_trials(folder: Path) -> Trials | None:
    """The trials of a run, or of the training that it was made of; None where nothing was searched.
    RunError for a file that is damaged."""
    for path in (folder / TRIALS, folder / "steps" / "0-train" / TRIALS):
        if path.is_file():
            try:
                return from_plain(Trials, json.loads(path.read_text(encoding="utf-8")), path.name)
            except (OSError, ValueError, UserError) as error:
                raise RunError(f"{path} cannot be read: {error}") from error
    return None


def read_recipe(path: str | os.PathLike[str]) -> dict[str, Any]:
    """The plain values of a recipe file; a run folder's own is `recipe.toml`. Raises UserError
    with file and line for broken TOML; unknown names are found when the recipe is built."""
    file = Path(path)
    if file.is_dir():
        file = file / RECIPE
    try:
        return tomllib.loads(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"recipe {file} cannot be read: {error}") from error
    except tomllib.TOMLDecodeError as error:
        raise UserError(f"recipe {file} is not TOML: {error}") from error


def recipe_toml(recipe: Recipe) -> str:
    import tomli_w

    return tomli_w.dumps(_without_none(to_plain(recipe)))


def _without_none(plain: Any) -> Any:
    """TOML has no null: an absent name says the same."""
    if isinstance(plain, dict):
        return {k: _without_none(v) for k, v in plain.items() if v is not None}
    if isinstance(plain, list):
        return [_without_none(v) for v in plain]
    return plain


# --- checkpoints ---------------------------------------------------------------------------------


def pointer(path: Path) -> Path:
    """The file that says where the checkpoint of this name lies in parts, written by several
    processes."""
    return path.with_suffix(".json")


def stands(path: Path) -> bool:
    """Whether there is a checkpoint of this name, in one file or in parts."""
    return path.exists() or pointer(path).exists()


def parts(path: Path) -> Path | None:
    """The folder of a checkpoint's parts; None where it is in one file, or there is none."""
    try:
        return path.with_name(json.loads(pointer(path).read_text(encoding="utf-8"))["folder"])
    except FileNotFoundError:
        return None


def drop(path: Path) -> None:
    """Removes a checkpoint, in one file or in parts."""
    path.unlink(missing_ok=True)
    drop_parts(path)


def drop_parts(path: Path, but: str = "") -> None:
    """Removes what several processes wrote of this checkpoint, except for one folder."""
    if not but:
        pointer(path).unlink(missing_ok=True)
    for parts in path.parent.glob(f"{path.stem}-*"):
        if parts.name != but:
            remove(parts)


def append_lines(path: Path, lines: Iterable[Plain]) -> None:
    """Raises RunError when the disk is full or the folder cannot be written."""
    try:
        with path.open("a", encoding="utf-8") as file:
            file.writelines(json.dumps(to_plain(line)) + "\n" for line in lines)
    except OSError as error:
        raise RunError(f"cannot write {path}: {error.strerror or error}") from error


def rewrite_lines(path: Path, lines: Iterable[Plain]) -> None:
    """A file of exactly these lines: what a resume does with lines of steps it will repeat."""
    write_atomically(path, "".join(json.dumps(to_plain(line)) + "\n" for line in lines))


def read_lines(path: Path) -> list[dict[str, Any]]:
    """The JSON lines of a file; a last line that was cut off while written is left out."""
    if not path.exists():
        return []
    found = []
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            found.append(json.loads(line))
        except ValueError:
            break
    return found


def write_atomically(path: Path, content: str | bytes) -> None:
    """The whole new content or the whole old one, whatever happens. Raises RunError when the disk
    is full or the folder cannot be written, with the old content in place."""
    data = content.encode("utf-8") if isinstance(content, str) else content
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with temporary.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        full = "the disk is full" if error.errno == errno.ENOSPC else error.strerror or str(error)
        raise RunError(
            f"cannot write {path}: {full}; what was there before is untouched"
        ) from error


def next_free(parent: Path, name: str) -> Path:
    """`runs/name-1`, or the first number that is not taken."""
    number = 1
    while (parent / f"{name}-{number}").exists():
        number += 1
    return parent / f"{name}-{number}"


def remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _json(plain: Any) -> str:
    return json.dumps(plain, indent=1, ensure_ascii=False) + "\n"
