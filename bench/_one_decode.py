"""_one_decode: a bundle's translations of a file, timed, in a process of its own, without torch.

    python bench/_one_decode.py RUN FILE FOLDER 64-1 64-5 1-1

One JSON object a way (sentences at once, beam) is printed, the last line is a list of them, and
FOLDER/BEAM-BATCH.txt holds the translations. In batches of one, each sentence is a call of its
own. The clock runs from text to text. One thread.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any


def main(run: str, file: str, out: str, ways: Sequence[str]) -> list[dict[str, Any]]:
    from shoestring.bundle import bundle as bundles
    from shoestring.tasks.translation.answering import AnswerOptions

    opened = bundles.load(run, threads=1)
    lines = Path(file).read_text(encoding="utf-8").splitlines()
    folder = Path(out)
    folder.mkdir(parents=True, exist_ok=True)

    def called(texts: list[str], beam: int) -> list[str]:
        answers = opened.predict(texts, AnswerOptions(beam=beam))
        return [answer["translations"][0]["text"] for answer in answers]

    def whole(texts: list[str], batch: int, beam: int) -> list[str]:
        if batch > 1:  # the predictor sorts by length and cuts into batches of 64 itself
            return called(texts, beam)
        return [line for text in texts for line in called([text], beam)]

    found = []
    for way in ways:
        batch, beam = map(int, way.split("-"))
        assert batch in (1, 64), "the predictor translates 64 sentences at once"
        whole(lines[:64], batch, beam)
        began = time.perf_counter()
        answers = whole(lines, batch, beam)
        seconds = time.perf_counter() - began
        text = "".join(f"{line}\n" for line in answers)
        (folder / f"{beam}-{batch}.txt").write_text(text, encoding="utf-8")
        found.append({"beam": beam, "batch": batch, "sentences": len(lines), "seconds": [seconds]})
        print(json.dumps(found[-1]), flush=True)
    return found


if __name__ == "__main__":
    run, file, out, *ways = sys.argv[1:]
    print(json.dumps(main(run, file, out, ways)))
