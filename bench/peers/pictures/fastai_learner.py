"""fastai_learner: fastai on class folders, as its vision tutorial does it.

    .env-fastai/bin/python bench/peers/pictures/fastai_learner.py train --data D --out O

`ImageDataLoaders.from_folder`, `vision_learner` with a resnet18, the rate that `lr_find` suggests,
one-cycle. Its pretrained weights come from a hub, which is not reached, so the network begins
anew, and all of it is trained. It has no limit in seconds: a user counts the epochs that fit after
the first. The better batch transforms of the tutorial (`aug_transforms`) are taken, without flips
where a flip would change a label.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from _peer import Asked, run, side
from fastai.vision.all import (  # type: ignore[import-not-found]  # only in .env-fastai
    ImageDataLoaders,
    Resize,
    accuracy,
    aug_transforms,
    load_learner,
    resnet18,
    set_seed,
    vision_learner,
)

ALL = 0.9  # of the seconds
BATCH = 64


def train(asked: Asked) -> dict[str, Any]:
    set_seed(asked.seed)
    size, data = side(asked.data), asked.data
    # user
    loaders = ImageDataLoaders.from_folder(
        data,
        train="train",
        valid="validation",
        item_tfms=Resize(size),
        batch_tfms=aug_transforms(do_flip=False),
        bs=BATCH,
        num_workers=0,
    )
    learner = vision_learner(loaders, resnet18, pretrained=False, metrics=accuracy)
    began = time.monotonic()
    learner.fit_one_cycle(1)
    epoch = time.monotonic() - began
    rate = learner.lr_find(num_it=50, show_plot=False).valley
    epochs = int((asked.left() - (1 - ALL) * asked.seconds) / epoch)
    if epochs > 0:
        learner.fit_one_cycle(epochs, rate)
    learner.export(asked.ship / "model.pkl")
    # end
    return {
        "epochs": 1 + max(epochs, 0),
        "rate": float(rate),
        "validation": float(learner.validate()[1]),
        "parameters": sum(p.numel() for p in learner.model.parameters()),
    }


def opened(asked: Asked) -> Callable[[Sequence[Path]], list[str]]:
    learner = load_learner(asked.ship / "model.pkl")

    def ask(pictures: Sequence[Path]) -> list[str]:
        if len(pictures) == 1:
            return [str(learner.predict(pictures[0])[0])]
        loader = learner.dls.test_dl(list(pictures), bs=BATCH, num_workers=0)
        found = learner.get_preds(dl=loader)[0].argmax(1)
        return [str(learner.dls.vocab[int(i)]) for i in found]

    return ask


if __name__ == "__main__":
    run(train, opened)
