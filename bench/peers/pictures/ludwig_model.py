"""ludwig_model: Ludwig on class folders, as its image tutorial does it.

    .env-ludwig/bin/python bench/peers/pictures/ludwig_model.py train --data D --seconds 120 --out O

A configuration with one picture in (its `stacked_cnn`) and one category out. Its AutoML with a
time limit needs Ray, so a user counts the epochs that fit, after one of them.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pandas as pd  # type: ignore[import-untyped]  # only in .env-ludwig
from _peer import Asked, run, side
from ludwig.api import LudwigModel  # type: ignore[import-not-found]

ALL = 0.85  # of the seconds
SMALLEST = 32  # pixels that last through the poolings of its stacked_cnn as it is


def train(asked: Asked) -> dict[str, Any]:
    size, data = side(asked.data), asked.data
    os.chdir(asked.out)  # it leaves files of its own where it runs

    # user
    def table() -> Any:
        rows = [
            (str(p), p.parent.name, number)
            for number, split in enumerate(("train", "validation"))
            for p in sorted((data / split).glob("*/*.png"))
        ]
        return pd.DataFrame(rows, columns=["image", "label", "split"])

    def model(epochs: int) -> Any:
        picture = {"num_channels": 3, "num_processes": 1}  # 0.11 drops a height and a width
        layers = {} if size >= SMALLEST else {"num_conv_layers": 2}
        return LudwigModel(
            {
                "input_features": [
                    {
                        "name": "image",
                        "type": "image",
                        "preprocessing": picture,
                        "encoder": {"type": "stacked_cnn", **layers},
                    }
                ],
                "output_features": [{"name": "label", "type": "category"}],
                "preprocessing": {"split": {"type": "fixed", "column": "split"}},
                "trainer": {"epochs": epochs, "batch_size": 128, "early_stop": -1},
            }
        )

    began = time.monotonic()
    model(1).train(dataset=table(), random_seed=asked.seed, output_directory=asked.out / "first")
    spent = time.monotonic() - began
    epochs = max(1, int((asked.left() - (1 - ALL) * asked.seconds) / spent))
    final = model(epochs)
    final.train(dataset=table(), random_seed=asked.seed, output_directory=asked.out / "results")
    final.save(str(asked.ship / "model"))
    # end
    return {"epochs": epochs}


def opened(asked: Asked) -> Callable[[Sequence[Path]], list[str]]:
    model = LudwigModel.load(str(asked.ship / "model"))

    def ask(pictures: Sequence[Path]) -> list[str]:
        rows = pd.DataFrame({"image": [str(p) for p in pictures]})
        found, _ = model.predict(dataset=rows, skip_save_predictions=True)
        return [str(label) for label in found["label_predictions"]]

    return ask


if __name__ == "__main__":
    run(train, opened)
