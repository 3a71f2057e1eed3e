"""skypilot: a task for SkyPilot as plain values, checked, written as YAML, and handed over."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from shoestring.core.errors import MissingTool, UserError
from shoestring.engine import store

HEADER = "# Written by shoestring launch; see docs/handbook/cluster-plan.md."
INSTALL = 'uv tool install "skypilot[aws]" (or [gcp], [kubernetes], ... by your cloud)'
NAME = re.compile(r"[a-z]([a-z0-9-]{0,60}[a-z0-9])?")
ACCELERATORS = re.compile(r"[A-Za-z][\w.-]*(:[1-9]\d*)?")
BUCKET = re.compile(r"(s3|gs|r2|https|cos|oci|nebius)://[\w./-]+")
# SkyPilot sends anonymous figures of use unless told not to; nothing here does without being asked.
QUIET = {"SKYPILOT_DISABLE_USAGE_COLLECTION": "1"}
LOADING = "import sys, sky; sky.Task.from_yaml(sys.argv[1])"
LOADING_SECONDS = 300.0


@dataclass(frozen=True)
class SkyTask:
    """The fields of a SkyPilot task that we use, one machine."""

    name: str
    setup: str
    run: str
    accelerators: str = ""  # H100:1
    cpus: str = ""  # "4+"
    spot: bool = False
    infra: str = ""  # aws, gcp/us-central1, kubernetes
    disk_gb: int | None = None
    mounts: Mapping[str, str | Mapping[str, str]] = field(default_factory=dict)

    def plain(self) -> dict[str, Any]:
        """As SkyPilot's schema names them; what is not said is left out."""
        resources: dict[str, Any] = {
            "infra": self.infra,
            "accelerators": self.accelerators,
            "cpus": self.cpus,
            "disk_size": self.disk_gb,
            "use_spot": self.spot or None,
        }
        return {
            "name": self.name,
            "num_nodes": 1,
            "resources": {name: value for name, value in resources.items() if value},
            "file_mounts": dict(self.mounts),
            "setup": self.setup,
            "run": self.run,
        }


def checked(task: SkyTask) -> SkyTask:
    """The task, if SkyPilot would take each of its fields; UserError that names the field."""
    for what, value, pattern, like in (
        ("--name", task.name, NAME, "lower-case letters, digits and dashes"),
        ("--accelerators", task.accelerators, ACCELERATORS, "NAME:COUNT such as H100:1"),
        ("--cpus", task.cpus, re.compile(r"[1-9]\d*\+?"), "a count such as 4 or 4+"),
        ("--infra", task.infra, re.compile(r"[a-z0-9*][\w*-]*(/[\w*.-]+){0,2}"), "aws/us-east-1"),
    ):
        if value and not pattern.fullmatch(value):
            raise UserError(f"{what} is {like}, not {value!r}")
    if task.disk_gb is not None and task.disk_gb < 1:
        raise UserError(f"--disk is a size in GB from 1, not {task.disk_gb}")
    for target, source in task.mounts.items():
        remote = source["source"] if isinstance(source, Mapping) else ""
        if remote and not BUCKET.fullmatch(remote):
            raise UserError(f"--bucket is such as s3://NAME/FOLDER, not {remote!r}")
        assert remote or Path(str(source)).exists(), target
    return task


def yaml(task: SkyTask) -> str:
    """YAML that any reader takes: block scalars for scripts, JSON for every other value."""
    lines = [HEADER]
    for name, value in task.plain().items():
        if name in ("setup", "run"):
            lines += [f"{name}: |", *(f"  {line}" for line in str(value).rstrip("\n").split("\n"))]
        elif isinstance(value, Mapping):
            lines += [f"{name}:" + ("" if value else " {}")]
            lines += [f"  {json.dumps(k)}: {json.dumps(v)}" for k, v in value.items()]
        else:
            lines.append(f"{name}: {json.dumps(value)}")
    return "\n".join(lines) + "\n"


def write(path: Path, text: str) -> None:
    """Writes the file; refuses to replace one that was not written so."""
    if path.exists() and not path.read_text("utf-8", "replace").startswith(HEADER):
        raise UserError(f"{path} is there and was not written by launch: name another with --file")
    store.write_atomically(path, text)


def program() -> str | None:
    """Where the program `sky` is, None where it is not installed."""
    return shutil.which("sky")


def load(path: Path, sky: str) -> None:
    """Reads the file with SkyPilot's own loader, in the Python that `sky` belongs to. UserError
    with its last line where it refuses."""
    done = subprocess.run(
        [_python_of(Path(sky)), "-c", LOADING, str(path)],
        capture_output=True,
        text=True,
        env={**os.environ, **QUIET},
        timeout=LOADING_SECONDS,
        check=False,
    )
    if done.returncode != 0:
        said = [line for line in done.stderr.splitlines() if line.strip()]
        raise UserError(f"SkyPilot refuses {path}: {said[-1] if said else 'without a word'}")


def words(task: SkyTask, path: Path) -> tuple[str, ...]:
    """The command that hands the task over: a managed job, which comes back where a spot machine
    is taken away, or a cluster that goes away when the work is done."""
    if task.spot:
        return ("sky", "jobs", "launch", "--name", task.name, str(path))
    return ("sky", "launch", "--cluster", task.name, "--down", str(path))


def hand_over(task: SkyTask, path: Path) -> int:
    """Runs that command on this terminal; SkyPilot asks before anything is rented."""
    sky = program()
    if sky is None:
        raise MissingTool("sky", INSTALL, "launching on a cloud")
    load(path, sky)
    command = [sky, *words(task, path)[1:]]
    # What it says goes to standard error: standard output is for our own answer.
    done = subprocess.run(command, stdout=2, env={**os.environ, **QUIET}, check=False)
    return done.returncode


def _python_of(script: Path) -> str:
    """The interpreter that a console script names in its first line."""
    with script.open("rb") as file:
        first = file.readline().decode("utf-8", "replace").strip()
    beside = script.resolve().with_name("python")
    python = Path(first.removeprefix("#!").split(" ")[0]) if first.startswith("#!") else beside
    return str(python if python.name.startswith("python") and python.exists() else beside)
