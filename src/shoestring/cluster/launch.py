"""launch: any verb as a task for SkyPilot, which rents a machine on whichever cloud is cheapest."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import shoestring
from shoestring import plugins
from shoestring.cluster import skypilot
from shoestring.cluster.skypilot import SkyTask
from shoestring.core.errors import UserError
from shoestring.data import catalog
from shoestring.engine import store

HOME = "$HOME/shoestring"
ENVIRONMENT = "$HOME/shoestring-environment"
INPUTS, OUTPUTS = "inputs", "runs"
OUTPUT_OPTIONS = ("--out", "--html")
STAYS = ("launch", "plan", "data")  # verbs that are done here
WITHOUT_SOURCE = ("data", "techniques")
# Forms of well-known keys, and words that are followed by one: they would lie in a file, and in the
# logs of a cloud.
SECRETS = re.compile(
    r"hf_[A-Za-z0-9]{16,}|AKIA[0-9A-Z]{12,}|gh[pousr]_[A-Za-z0-9]{20,}|sk-[A-Za-z0-9_-]{16,}"
    r"|-----BEGIN|(?i:password|passwd|secret|token|api_?key)=\S"
)


@dataclass(frozen=True)
class Launch:
    """What was written, and how it is handed over."""

    path: Path
    text: str  # the YAML
    command: tuple[str, ...]  # what hands it over
    loaded: bool  # whether SkyPilot's own loader has read it
    exit_code: int | None  # of the command; None: not run
    notes: tuple[str, ...]


def launch(
    words: Sequence[str],
    *,
    accelerators: str = "",
    cpus: str = "",
    spot: bool = False,
    infra: str = "",
    disk_gb: int | None = None,
    bucket: str = "",
    name: str = "",
    install: str = "",
    file: str | os.PathLike[str] | None = None,
    resumable: bool = False,
    dry_run: bool = False,
) -> Launch:
    """Writes a SkyPilot task that runs `shoestring WORDS` on a rented machine, and hands it over.

    Files and folders that stand in the words are copied there, and the words changed to where they
    lie; runs go to `runs/` there, in `bucket` where one is named. `install` is what pip is told;
    `resumable` says that the verb goes on with an unfinished run, which a spot machine needs.
    With `dry_run` nothing is handed over, and SkyPilot need not be installed. Not tried on a cloud:
    SkyPilot's loader has read such files, no more. Raises UserError for a path that is not there,
    for a secret among the words, and MissingTool where SkyPilot is needed and not found."""
    _refuse(words)
    verb, *rest = words
    named = name or _name(verb, rest)
    parcel = _Parcel()
    changed = [verb, *parcel.moved(verb, rest)]
    setup = _setup(install, parcel)
    out = _out(changed)
    if spot and resumable and out is None:
        out = f"{OUTPUTS}/{named}"
        changed += ["--out", out]
    kept: dict[str, str | dict[str, str]] = {}
    if bucket:
        kept = {f"~/shoestring/{OUTPUTS}": {"source": bucket.rstrip("/"), "mode": "MOUNT"}}
    task = skypilot.checked(
        SkyTask(
            name=named,
            setup=setup,
            run=_run(changed, out if spot and resumable else None),
            accelerators=accelerators,
            cpus=cpus,
            spot=spot,
            infra=infra,
            disk_gb=disk_gb,
            mounts={**parcel.mounts, **kept},
        )
    )
    path = Path(file) if file is not None else Path(f"{named}.sky.yaml")
    text = skypilot.yaml(task)
    skypilot.write(path, text)
    sky = skypilot.program()
    code = None
    if not dry_run:
        code = skypilot.hand_over(task, path)
    elif sky is not None:
        skypilot.load(path, sky)
    notes = list(_notes(task, bucket, resumable, sky is not None))
    if bucket and out is not None and not out.startswith(f"{OUTPUTS}/"):
        notes.append(f"{out} does not lie in the bucket: only {OUTPUTS}/ does")
    return Launch(path, text, skypilot.words(task, path), sky is not None, code, tuple(notes))


def _refuse(words: Sequence[str]) -> None:
    if not words or words[0].startswith("-"):
        raise UserError("say what is launched: a verb with its words, such as: train photos")
    if words[0] in STAYS:
        raise UserError(f"{words[0]} is done here; launch is for verbs that work on data")
    for place, word in enumerate(words, 1):
        if not word.isprintable():
            raise UserError(f"{word!r} holds what cannot be printed, and so cannot be handed over")
        if SECRETS.search(word):
            raise UserError(
                f"word {place} of the command looks like a secret, which would lie readable in the "
                "file: set it where the task is launched, with sky launch --secret NAME"
            )


def _name(verb: str, rest: Sequence[str]) -> str:
    """`shoestring-train-photos`."""
    about = next((Path(w.partition(":")[0]).stem for w in rest if not w.startswith("-")), "")
    letters = re.sub(r"[^a-z0-9]+", "-", f"shoestring-{verb}-{about}".lower()).strip("-")
    return letters[:60].rstrip("-")


class _Parcel:
    """What is copied to the machine, filled while the words are read."""

    def __init__(self) -> None:
        self.mounts: dict[str, str | dict[str, str]] = {}

    def moved(self, verb: str, rest: Sequence[str]) -> list[str]:
        """The words with every path that is here replaced by where it will lie."""
        if rest and not rest[0].startswith("-") and verb not in WITHOUT_SOURCE:
            _known(rest[0])
        found = []
        for before, word in zip(["", *rest], rest, strict=False):
            if before in OUTPUT_OPTIONS or word.startswith(tuple(f"{o}=" for o in OUTPUT_OPTIONS)):
                found.append(word)
            elif os.path.lexists(word) and not word.startswith("-"):
                found.append(self.add(word))
            else:
                found.append("".join(self._piece(p) for p in re.split(r"([=,+])", word)))
        return found

    def _piece(self, piece: str) -> str:
        """Part of a word, as `start=runs/a`: a path where it has a slash."""
        if "/" not in piece or ":" in piece:  # hf:org/name, s3://bucket
            return piece
        if not os.path.lexists(piece):
            raise UserError(f"there is no file or folder {piece!r} here that could be copied")
        return self.add(piece)

    def add(self, word: str) -> str:
        """A path that is copied; where it will lie, from the folder that the verb runs in."""
        path = Path(word).resolve()
        if path in (Path.home().resolve(), Path(path.anchor)):
            raise UserError(f"{word} would copy all of {path} to a cloud: name a folder of data")
        if not path.exists():
            raise UserError(f"{word} is a link to nothing")
        there = {str(source): target for target, source in self.mounts.items()}
        target = there.get(str(path), f"~/shoestring/{INPUTS}/{path.name}")
        number = 2
        while self.mounts.get(target, str(path)) != str(path):  # another of that name
            target = f"~/shoestring/{INPUTS}/{number}/{path.name}"
            number += 1
        self.mounts[target] = str(path)
        return target.removeprefix("~/shoestring/")


def _known(source: str) -> None:
    """UserError for a first word that is no path, data set or technique."""
    head = source.partition(":")[0]
    names = {entry.name for entry in catalog.ENTRIES} | set(plugins.technique_names())
    if not os.path.lexists(source) and not os.path.lexists(head) and head not in names:
        raise UserError(
            f"there is no file or folder {source!r} here, and no data set of that name "
            "(see: shoestring data list)"
        )


def _out(words: Sequence[str]) -> str | None:
    for i, word in enumerate(words):
        if word == "--out" and i + 1 < len(words):
            return words[i + 1]
        if word.startswith("--out="):
            return word.removeprefix("--out=")
    return None


def _setup(install: str, parcel: _Parcel) -> str:
    wanted = install or f"shoestring[train]=={shoestring.__version__}"
    if os.path.exists(wanted):  # a wheel, or a checkout
        quoted = f'"{HOME}"/' + shlex.quote(parcel.add(wanted))
    else:
        quoted = shlex.quote(wanted)
    lines = (
        "set -e",
        f'mkdir -p "{HOME}/{OUTPUTS}"',
        f'python3 -m venv "{ENVIRONMENT}"',
        f'"{ENVIRONMENT}/bin/python" -m pip install {quoted}',
    )
    return "\n".join(lines)


def _run(words: Sequence[str], resumed: str | None) -> str:
    """The very command; where a run may have been cut off, going on with it instead."""
    program = f'exec "{ENVIRONMENT}/bin/shoestring"'
    return "\n".join(
        (
            "set -e",
            f'cd "{HOME}"',
            *_resuming(words[0], resumed, program),
            f"{program} {shlex.join(words)}",
        )
    )


def _resuming(verb: str, out: str | None, program: str) -> Iterator[str]:
    if out is None:
        return
    folder = shlex.quote(out)
    yield f"if [ -e {folder}/{store.RUN} ]; then exit 0; fi"
    yield f"if [ -e {folder}/{store.STARTED} ]; then"
    yield f"  {program} {shlex.quote(verb)} --resume --out {folder}"
    yield "fi"


def _notes(task: SkyTask, bucket: str, resumable: bool, loaded: bool) -> Iterator[str]:
    yield "not tried on a cloud by shoestring's tests; SkyPilot asks before it rents anything"
    if not loaded:
        yield f"not read by SkyPilot's own loader, which is not installed: {skypilot.INSTALL}"
    if task.spot and not bucket:
        yield "a spot machine takes its runs with it when it goes: keep them with --bucket"
    elif task.spot and not resumable:
        yield "this verb begins anew when the spot machine is taken away: it has no --resume"
    if not bucket:
        place = f"{task.name}:shoestring/{OUTPUTS}/"
        yield f"runs lie on the machine: fetch them before it goes with rsync -a {place} {OUTPUTS}/"
    if not task.accelerators:
        yield "no accelerator was asked for: the machine has processors alone"
