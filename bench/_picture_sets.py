"""_picture_sets: class folders that nobody tuned for, made from what packages hold.

A set is a function that yields pictures with a label and a group; pictures of one group never
stand on two sides of a split. The same packages give the same pictures.
"""

from __future__ import annotations

import csv
import gzip
import io
import json
import random
import wave
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from _packages import Package, unpacked
from PIL import Image, ImageDraw, ImageFont

# Families with Latin letters, of many kinds: text, display, script, typewriter, blackletter.
FONTS = (
    *("adf-accanthis", "adf-baskervald", "adf-berenis", "adf-gillius", "adf-ikarius"),
    *("adf-irianis", "adf-libris", "adf-mekanus", "adf-oldania", "adf-romande", "adf-switzera"),
    *("adf-tribun", "adf-universalis", "agave", "anonymous-pro", "arapey", "averia-sans-gwf"),
    *("averia-serif-gwf", "b612", "bajaderka", "bebas-neue", "beteckna", "blankenburg", "breip"),
    *("cabin", "cabinsketch", "cantarell", "cardo", "century-catalogue", "cherrybomb"),
    *("clear-sans", "comfortaa", "comic-neue", "courier-prime", "crosextra-caladea"),
    *("dancingscript", "dejavu-core", "dkg-handwriting", "dosis", "ebgaramond", "ecolier-court"),
    *("essays1743", "fanwood", "femkeklaver", "freefont-ttf", "gamaliel", "gfs-neohellenic"),
    *("gnutypewriter", "goudybookletter", "havana", "humor-sans", "inconsolata", "isabella"),
    *("junction", "junicode", "jura", "kaushanscript", "klaudia-berenika", "kristi", "lato"),
    *("le-murmure", "league-spartan", "leckerli-one", "levien-typoscript", "liberation"),
    *("linuxlibertine", "lobstertwo", "national-park", "ocr-a", "okolaks", "oldstandard"),
    *("open-sans", "opendyslexic", "play", "prociono", "quattrocento", "quicksand", "radisnoir"),
    *("roadgeek", "roboto-slab", "rufscript", "sil-andika", "sil-gentium", "staypuft"),
    *("summersby", "tomsontalks", "triod-postnaja", "tuffy", "ubuntu-title", "vollkorn"),
    *("yanone-kaffeesatz", "yusei-magic"),
)
FACES = 3  # of one package, at most, so that no family stands for many
LETTER_SIDE, LETTER_BOX = 32, 24  # pixels of the picture, and of the longer side of a letter
VOICES = ("en", "es", "fr", "it", "ru")
VOICE_SIDE, VOICE_WINDOWS = 64, 700  # pixels; seconds of each voice, at most
DRAWN_BY = ("twitter", "google")
LARGEST_DIGIT = 16  # a grey level of the digits


@dataclass(frozen=True)
class Picture:
    label: str
    group: str
    pixels: Image.Image


@dataclass(frozen=True)
class PictureSet:
    """One set: what it asks, where it comes from, and how it is made."""

    asks: str
    licence: str
    packages: tuple[Package, ...]
    pictures: Callable[[Path], Iterator[Picture]]  # of the folder of packages


def letters(root: Path) -> Iterator[Picture]:
    """Capital and small letters of one class each, a group a package of fonts."""
    for package in LETTERS:
        files = unpacked(package, root)
        found = sorted([*files.rglob("*.ttf"), *files.rglob("*.otf")], key=lambda path: path.name)
        drawn = 0
        for path in found:
            pictures = _face(path, package.name)
            drawn += bool(pictures)
            yield from pictures
            if drawn == FACES:
                break


def _face(path: Path, group: str) -> list[Picture]:
    """All letters of a face; none where it lacks some (a face of symbols, or of one case)."""
    try:
        font = ImageFont.truetype(str(path), 64)
    except OSError:
        return []  # a format that the library does not read
    absent = bytes(font.getmask("\uffff"))
    moved, pictures = random.Random(path.name), []
    for label in "ABCDEFGHIJKLMNOPQRSTUVWXYZ":
        for character in (label, label.lower()):
            mask = font.getmask(character)
            if 0 in mask.size or bytes(mask) == absent:
                return []
            pictures.append(Picture(label, group, _letter(font, character, moved)))
    return pictures


def _letter(font: ImageFont.FreeTypeFont, character: str, moved: random.Random) -> Image.Image:
    left, top, right, bottom = font.getbbox(character)
    wide, high = round(right - left), round(bottom - top)
    large = Image.new("L", (wide, high), 255)
    ImageDraw.Draw(large).text((-left, -top), character, font=font, fill=0)
    scale = LETTER_BOX * moved.uniform(0.7, 1.1) / max(wide, high)
    size = (max(1, round(wide * scale)), max(1, round(high * scale)))
    small = large.resize(size, Image.Resampling.LANCZOS)
    picture = Image.new("L", (LETTER_SIDE, LETTER_SIDE), 255)
    room = [(LETTER_SIDE - side) // 2 for side in size]
    place = [free + moved.randint(-2, 2) for free in room]
    picture.paste(small, (place[0], place[1]))
    return picture


def emoji(root: Path) -> Iterator[Picture]:
    """What an emoji shows, by the category of Unicode; a group all drawings of one emoji."""
    for vendor, package in zip(DRAWN_BY, EMOJI, strict=True):
        folder = unpacked(package, root) / "package"
        rows = json.loads((folder / "emoji.json").read_text(encoding="utf-8"))
        for row in sorted(rows, key=lambda row: str(row["unified"])):
            path = folder / "img" / vendor / "64" / row["image"]
            if row["category"] == "Component" or not path.exists():
                continue
            label = row["category"].replace(" & ", " and ").replace(" ", "-").lower()
            with Image.open(path) as opened:
                drawn = opened.convert("RGBA")
            paper = Image.new("RGBA", drawn.size, "white")
            yield Picture(label, row["unified"], Image.alpha_composite(paper, drawn).convert("RGB"))


def voices(root: Path) -> Iterator[Picture]:
    """Who speaks: spectrograms of a second; a group all seconds of one recording."""
    for voice, package in zip(VOICES, SOUNDS, strict=True):
        files = sorted(unpacked(package, root).rglob("*.wav"), key=lambda path: path.as_posix())
        random.Random(voice).shuffle(files)
        left = VOICE_WINDOWS
        for path in files:
            for window in _seconds(path)[:left]:
                left -= 1
                yield Picture(voice, f"{voice}-{path.stem}", window)
            if left == 0:
                break


def _seconds(path: Path) -> list[Image.Image]:
    """Log-spectrograms of every full second that is not silent: frequency up, time to the right."""
    with wave.open(str(path), "rb") as sound:
        if (sound.getnchannels(), sound.getsampwidth()) != (1, 2):
            return []
        rate = sound.getframerate()
        samples = np.frombuffer(sound.readframes(sound.getnframes()), "<i2").astype(np.float32)
    width = 2 * VOICE_SIDE
    pictures = []
    for start in range(0, len(samples) - rate + 1, rate):
        second = samples[start : start + rate] / 32768
        if np.sqrt(np.mean(second**2)) < 0.01:
            continue
        places = np.linspace(0, rate - width, VOICE_SIDE).astype(int)
        frames = np.stack([second[place : place + width] for place in places]) * np.hanning(width)
        power = np.abs(np.fft.rfft(frames))[:, 1 : VOICE_SIDE + 1].T[::-1]
        decibels = 20 * np.log10(power + 1e-4)
        levels = np.clip((decibels - decibels.max() + 70) / 70, 0, 1)
        pictures.append(Image.fromarray((255 * levels).round().astype(np.uint8)))
    return pictures


def digits(root: Path) -> Iterator[Picture]:
    """Handwritten digits of 8x8 points. Who wrote them is not recorded, so each is a group."""
    packed = unpacked(SCIKIT_LEARN, root) / "sklearn" / "datasets" / "data" / "digits.csv.gz"
    text = gzip.decompress(packed.read_bytes()).decode("ascii")
    for number, row in enumerate(csv.reader(io.StringIO(text))):
        values = np.array([float(value) for value in row])
        levels = (255 * values[:64] / LARGEST_DIGIT).round().astype(np.uint8)
        yield Picture(str(int(values[64])), str(number), Image.fromarray(levels.reshape(8, 8)))


LETTERS = tuple(Package("apt", f"fonts-{name}", wanted=("usr/share/fonts/",)) for name in FONTS)
EMOJI = tuple(
    Package(
        "npm",
        f"emoji-datasource-{vendor}",
        "16.0.0",
        ("package/emoji.json", f"package/img/{vendor}/64/"),
    )
    for vendor in DRAWN_BY
)
SOUNDS = tuple(
    Package("apt", f"asterisk-core-sounds-{voice}-wav", wanted=("usr/share/asterisk/",))
    for voice in VOICES
)
SCIKIT_LEARN = Package("pip", "scikit-learn", "1.9.1", ("sklearn/datasets/data/",))

SETS: Mapping[str, PictureSet] = {
    "letters": PictureSet(
        "which of 26 letters, in families of fonts never seen",
        "each family's own free licence, most of them OFL 1.1 or GPL with the font exception",
        LETTERS,
        letters,
    ),
    "emoji": PictureSet(
        "which of 9 categories, of emoji never seen",
        "Twemoji's drawings CC BY 4.0, Noto Emoji's Apache 2.0; the package MIT",
        EMOJI,
        emoji,
    ),
    "voices": PictureSet(
        "which of 5 speakers, from the spectrogram of a second of recordings never heard",
        "CC BY-SA 3.0 (Russian CC BY 3.0)",
        SOUNDS,
        voices,
    ),
    "digits": PictureSet(
        "which handwritten digit, from 8x8 points",
        "E. Alpaydin and C. Kaynak 1998, CC BY 4.0; the package BSD",
        (SCIKIT_LEARN,),
        digits,
    ),
}
