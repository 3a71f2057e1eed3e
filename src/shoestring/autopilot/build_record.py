"""build_record: what an unfinished build knows of itself, in its folder, so that it can go on."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from shoestring import plugins
from shoestring.autopilot import finish
from shoestring.autopilot.knowledge import Result
from shoestring.core.budget import Budget
from shoestring.core.decisions import Decision, Step
from shoestring.core.errors import RunError, UserError
from shoestring.core.limits import Limits
from shoestring.core.plain import from_plain, to_plain
from shoestring.core.receipt import Plain
from shoestring.core.run import Recipe
from shoestring.core.sizing import Gauge, Weight
from shoestring.engine import store

RECORD_VERSION = 1
SPENT_SECONDS = 1.0  # between two notes of the seconds used, for whoever resumes


@dataclass(frozen=True)
class Chosen:
    """The network that the build trains, and what was measured of it before."""

    network: Plain
    words: str  # of the technique that it begins with
    enough_epochs: float
    weight: Weight
    gauge: Gauge
    larger: Plain = field(default_factory=dict)  # the usual one, where limits forbid it
    larger_words: str = ""
    rounded: bool = False  # whether bundles of its fits have whole numbers for weights at once

    @property
    def size_bytes(self) -> int:
        """Of the bundle of a fit, before anything follows it."""
        return self.weight.small_bytes if self.rounded else self.weight.size_bytes


@dataclass(frozen=True)
class Record:
    """All of a build, but for the runs in `steps/`."""

    recipe: Recipe  # as asked, the data's fingerprint in it once they were read
    limits: Limits
    budget_seconds: float
    techniques: tuple[str, ...] = ()  # before the fits, in words
    finishers: tuple[str, ...] = ()  # after the last one
    load_seconds: float = 0.0  # of them, for reading the data
    gauge_seconds: float = 0.0  # and for the throw-away steps
    chosen: Chosen | None = None
    results: tuple[Result, ...] = ()
    decisions: tuple[Decision, ...] = ()
    current: Step | None = None  # that was begun
    version: int = RECORD_VERSION

    def asked(self) -> Plain:
        """What the person said beside source and budget, for the line of the whole."""
        recipe, kind = self.recipe, plugins.task(self.recipe.task)
        usual = to_plain(kind.options())
        options = {
            name: value for name, value in recipe.options.items() if value != usual.get(name)
        }
        said = {
            "options": options,
            "techniques": [*self.techniques, *self.finishers],
            "without": list(recipe.without),
            "network": recipe.network,
            "seed": recipe.seed,
            "threads": recipe.threads,
        }
        more = {name: value for name, value in said.items() if value}
        whole = {"limits": to_plain(self.limits) if self.limits else {}, "asked": more}
        return {name: value for name, value in whole.items() if value}


def write(home: Path, record: Record) -> None:
    text = json.dumps(to_plain(record), indent=1, ensure_ascii=False)
    store.write_atomically(home / store.BUILD, text + "\n")


def read(home: Path) -> Record:
    """RunError where there is none that can be read."""
    path = home / store.BUILD
    try:
        plain = json.loads(path.read_text(encoding="utf-8"))
        version = plain.get("version") if isinstance(plain, dict) else None
        if isinstance(version, int) and version > RECORD_VERSION:
            raise RunError(f"{path} was written by a newer shoestring; upgrade to go on with it")
        return from_plain(Record, plain, str(path))
    except FileNotFoundError as error:
        raise RunError(
            f"{home} holds no build that could go on; start one without --resume"
        ) from error
    except RunError:
        raise
    except (OSError, ValueError, UserError) as error:
        raise RunError(f"{path} cannot be read: {error}") from error


def standing(home: Path, record: Record) -> tuple[Record, str]:
    """The record without the first step whose run is not in its folder any more and all that came
    after it, whose runs are removed, and the name of that step; "" where all stand."""
    for place, one in enumerate(record.results):
        if one.failure or (step_folder(home, place + 1, one.step) / store.RUN).exists():
            continue
        for number, later in enumerate(record.results[place:], place + 1):
            store.remove(step_folder(home, number, later.step))
        if record.current is not None:
            store.remove(step_folder(home, len(record.results) + 1, record.current))
        return replace(record, results=record.results[:place], current=None), one.name
    return record, ""


def step_folder(home: Path, number: int, step: Step) -> Path:
    """Of the run of a step of a build."""
    return home / finish.STEPS / f"{number}-{step.name.replace(' ', '-')}"


@contextmanager
def beating(home: Path, clock: Budget) -> Iterator[None]:
    """Notes the seconds used, again and again while the block runs, so that they count even if
    the process is killed. A disk that is full is told of by whatever else is written."""
    over = threading.Event()

    def beat() -> None:
        while not over.wait(SPENT_SECONDS):
            try:
                store.write_spent(home, store.Spent(clock.elapsed(), clock.seconds))
            except RunError:
                return

    thread = threading.Thread(target=beat, name="seconds used", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
        if (home / store.RUN).exists():
            (home / store.SPENT).unlink(missing_ok=True)
        elif home.is_dir():
            store.write_spent(home, store.Spent(clock.elapsed(), clock.seconds))
