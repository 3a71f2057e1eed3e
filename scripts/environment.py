"""environment: makes the virtual environment, with uv where it can be had and with pip else.

    python scripts/environment.py FOLDER EXTRAS [uv|pip]

Standard library only: this runs before anything is installed. uv does not read pip's settings,
so the places that pip was told to look in (a folder of wheels, an extra index) are handed to it.
Whatever uv cannot do is tried again with pip.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
import venv
from pathlib import Path
from urllib.parse import unquote, urlparse

ROOT = Path(__file__).resolve().parent.parent
CONSTRAINTS = ROOT / "constraints.txt"
OLDEST_PYTHON = (3, 11)
UV_INSTALL_SECONDS = 60  # longer than this to fetch uv, and pip would have been as quick


def main(words: list[str]) -> int:
    folder, extras = Path(words[0]), words[1]
    installer = words[2] if len(words) > 2 else "uv"
    if sys.version_info < OLDEST_PYTHON:
        print(
            f"shoestring needs Python {'.'.join(map(str, OLDEST_PYTHON))} or newer, this is "
            f"{sys.version.split()[0]}; name another with: make PYTHON=python3.12 ..."
        )
        return 1
    started = time.monotonic()
    python = python_of(folder)
    if not python.exists():
        try:
            venv.create(folder, with_pip=True)
        except subprocess.CalledProcessError:
            shutil.rmtree(folder, ignore_errors=True)
            print(
                "this Python cannot make environments with pip in them; on Debian and Ubuntu "
                "the package python3-venv is missing. Or name another: make PYTHON=python3.12 ..."
            )
            return 1
    target = ["-c", str(CONSTRAINTS), "-e", f"{ROOT}[{extras}]"]
    uv = find_uv(python) if installer == "uv" else None
    used = ""
    if uv is not None:
        command = [uv, "pip", "install", "--quiet", "--python", str(python), *target]
        if run(command, {**os.environ, **uv_settings(pip_settings(python), os.environ)}):
            used = "uv"
        else:
            print("uv could not do it; trying pip")
    if not used:
        if not run([str(python), "-m", "pip", "install", "-qq", *target], dict(os.environ)):
            print("the packages could not be installed; what pip said stands above")
            return 1
        used = "pip"
    print(f"environment: {folder} by {used} in {time.monotonic() - started:.0f} s")
    return 0


def python_of(folder: Path) -> Path:
    return folder / "bin" / "python"


def find_uv(python: Path) -> str | None:
    """uv on the PATH, in the environment, or fetched into it; None where it cannot be had."""
    inside = python.with_name("uv")
    if found := shutil.which("uv"):
        return found
    if not inside.exists():
        command = [str(python), "-m", "pip", "install", "--quiet", "uv"]
        try:
            subprocess.run(command, capture_output=True, timeout=UV_INSTALL_SECONDS, check=False)
        except subprocess.TimeoutExpired:
            return None
    return str(inside) if inside.exists() else None


def pip_settings(python: Path) -> dict[str, str]:
    """What pip was told by its files and by the environment, by option name.

    pip prints them as global.find-links='...', install.index-url='...', :env:.find-links='...',
    the weaker first.
    """
    listed = subprocess.run(
        [str(python), "-m", "pip", "config", "list"], capture_output=True, text=True, check=False
    ).stdout
    settings: dict[str, dict[str, str]] = {"global": {}, "install": {}, ":env:": {}}
    for line in listed.splitlines():
        key, _, value = line.partition("=")
        section, _, name = key.rpartition(".")
        if section in settings:
            # pip prints the repr of a string, with line ends in it written out.
            settings[section][name] = value.strip("'\"").replace("\\n", " ")
    return {**settings["global"], **settings["install"], **settings[":env:"]}


def uv_settings(pip: dict[str, str], given: os._Environ[str] | dict[str, str]) -> dict[str, str]:
    """uv's variables that say the same; one that a person has set already is left out."""
    # In the first index that knows a package uv stops looking; pip looks at all of them.
    settings = {"UV_INDEX_STRATEGY": "unsafe-best-match"}
    if places := reachable(pip.get("find-links", "")):
        settings["UV_FIND_LINKS"] = ",".join(places)
    if places := reachable(pip.get("index-url", "")):
        settings["UV_DEFAULT_INDEX"] = places[0]
    if places := reachable(pip.get("extra-index-url", "")):
        settings["UV_INDEX"] = " ".join(places)
    if "no-index" in pip and pip["no-index"].lower() in ("1", "true", "yes", "on"):
        settings["UV_NO_INDEX"] = "1"
    return {name: value for name, value in settings.items() if name not in given}


def reachable(places: str) -> list[str]:
    """The places without the folders that do not exist, over which uv would stop and pip not."""
    kept = []
    for place in places.split():
        parts = urlparse(place)
        local = unquote(parts.path) if parts.scheme == "file" else place
        if parts.scheme not in ("", "file") or Path(local).exists():
            kept.append(place)
    return kept


def run(command: list[str], environment: dict[str, str]) -> bool:
    return subprocess.run(command, env=environment, cwd=ROOT, check=False).returncode == 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
