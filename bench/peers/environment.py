"""environment: makes a peer's environment, .env-NAME, from bench/peers/requirements-NAME.txt.

    python bench/peers/environment.py [keras] [joeynmt] [ctranslate2] [fastai] [autogluon] [ludwig]

Standard library only. Where wheels are looked for (a folder of them, another index) is asked of
pip and told to uv by scripts/environment.py, as for the project's own environment; so torch comes
in the same small CPU build, where that has one. What a peer's source needs before it runs on
today's packages is changed here, by name, and said.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
import venv
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
sys.path.insert(0, str(ROOT))

from scripts import environment as ours  # noqa: E402  # after the path that finds it

PEERS = ("keras", "joeynmt", "ctranslate2", "fastai", "autogluon", "ludwig")


@dataclass(frozen=True)
class Change:
    """One line of a peer's source, and what stands there after."""

    peer: str
    file: str  # inside site-packages
    before: str
    after: str
    reason: str


CHANGES = (
    Change(
        "joeynmt",
        "joeynmt/builders.py",
        '            "verbose": False,\n',
        "",
        "torch's ReduceLROnPlateau has no argument `verbose` any more",
    ),
)


def main(words: list[str]) -> int:
    unknown = [word for word in words if word not in PEERS]
    if unknown:
        print(f"no peer {unknown[0]!r}; there are: {', '.join(PEERS)}")
        return 2
    done = [made(peer) for peer in words or PEERS]
    return 0 if all(done) else 1


def made(peer: str) -> bool:
    """Whether the environment of that peer now stands."""
    began = time.monotonic()
    folder = ROOT / f".env-{peer}"
    python = ours.python_of(folder)
    # A venv that another tool made has no pip, which is asked below where wheels are.
    if not python.exists() or not _has_pip(python):
        venv.create(folder, with_pip=True, clear=True)
    target = ["-r", str(HERE / f"requirements-{peer}.txt")]
    uv = ours.find_uv(python)
    settings = {**os.environ, **ours.uv_settings(ours.pip_settings(python), os.environ)}
    command = [str(uv), "pip", "install", "--quiet", "--python", str(python), *target]
    if uv is None or not ours.run(command, settings):
        command = [str(python), "-m", "pip", "install", "-qq", *target]
        if not ours.run(command, dict(os.environ)):
            print(f"{folder.name}: the packages could not be installed; see above")
            return False
    for change in (c for c in CHANGES if c.peer == peer):
        apply(change, python)
    print(f"{folder.name} is ready after {time.monotonic() - began:.0f} s")
    return True


def apply(change: Change, python: Path) -> None:
    """Makes the change where it is not made yet. Raises ValueError where the line is another."""
    asked = [str(python), "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"]
    packages = subprocess.run(asked, capture_output=True, text=True, check=True).stdout.strip()
    path = Path(packages) / change.file
    text = path.read_text(encoding="utf-8")
    if text.count(change.before) == 1:
        path.write_text(text.replace(change.before, change.after), encoding="utf-8")
        print(f"changed {change.file}: {change.reason}")
    elif change.before in text or (change.after and change.after not in text):
        raise ValueError(f"{change.file} is not the file that this change was written for")


def _has_pip(python: Path) -> bool:
    asked = [str(python), "-m", "pip", "--version"]
    return subprocess.run(asked, capture_output=True, check=False).returncode == 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
