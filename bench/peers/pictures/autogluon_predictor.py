"""autogluon_predictor: AutoGluon's MultiModalPredictor on class folders, as its tutorial does it.

    .env-autogluon/bin/python bench/peers/pictures/autogluon_predictor.py train --data D --out O

A table of paths and labels and `fit` with a time limit. It asks a hub for the weights of its
backbone, and ends with an error where it neither reaches it nor has them in its cache.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pandas as pd  # type: ignore[import-untyped]  # only in .env-autogluon
from _peer import Asked, run
from autogluon.multimodal import MultiModalPredictor  # type: ignore[import-not-found]

KEPT = 0.85  # of the seconds for `fit`; the rest are imports and saving


def train(asked: Asked) -> dict[str, Any]:
    data = asked.data

    # user
    def table(split: str) -> Any:
        rows = [(str(p), p.parent.name) for p in sorted((data / split).glob("*/*.png"))]
        return pd.DataFrame(rows, columns=["image", "label"])

    predictor = MultiModalPredictor(label="label", path=str(asked.ship / "predictor"))
    predictor.fit(
        train_data=table("train"),
        tuning_data=table("validation"),
        presets="medium_quality",
        time_limit=max(1, round(asked.left() - (1 - KEPT) * asked.seconds)),
        seed=asked.seed,
        hyperparameters={"env.num_workers": 0, "env.num_workers_inference": 0},
    )
    # end
    return {"parameters": int(predictor.total_parameters)}


def opened(asked: Asked) -> Callable[[Sequence[Path]], list[str]]:
    predictor = MultiModalPredictor.load(str(asked.ship / "predictor"))

    def ask(pictures: Sequence[Path]) -> list[str]:
        rows = pd.DataFrame({"image": [str(p) for p in pictures]})
        return [str(label) for label in predictor.predict(rows)]

    return ask


if __name__ == "__main__":
    run(train, opened)
