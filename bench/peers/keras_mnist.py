"""keras_mnist: the "Simple MNIST convnet" of the Keras documentation (F. Chollet), timed.

    .env-keras/bin/python bench/peers/keras_mnist.py

Network, loss, optimizer, batch, epochs and validation split are the example's; only the reading
of the data differs: the IDX files of SHOESTRING_DATA stand in for the example's download. All
cores, TensorFlow's defaults. The clock brackets `model.fit` alone, as a person who times the
example would. The last line printed is a JSON object.
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import time
from pathlib import Path
from typing import Any

os.environ.setdefault("KERAS_BACKEND", "tensorflow")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import keras  # type: ignore[import-not-found]  # only in .env-keras
import numpy as np
from keras import layers

CLASSES = 10


def mnist_folder() -> Path:
    for root in filter(None, os.environ.get("SHOESTRING_DATA", "").split(os.pathsep)):
        folder = Path(root).expanduser() / "mnist"
        if folder.is_dir():
            return folder
    raise SystemExit("no folder 'mnist' in the directories of SHOESTRING_DATA; set it and retry")


def split(folder: Path, name: str) -> tuple[Any, Any]:
    """(n, 28, 28, 1) float32 in 0 to 1, and one-hot labels, as the example prepares them."""
    pixels = np.frombuffer(_bytes(folder, f"{name}-images-idx3-ubyte"), np.uint8, offset=16)
    labels = np.frombuffer(_bytes(folder, f"{name}-labels-idx1-ubyte"), np.uint8, offset=8)
    x = pixels.reshape(-1, 28, 28, 1).astype("float32") / 255
    return x, keras.utils.to_categorical(labels, CLASSES)


def _bytes(folder: Path, name: str) -> bytes:
    plain = folder / name
    return (
        plain.read_bytes()
        if plain.exists()
        else gzip.decompress((folder / f"{name}.gz").read_bytes())
    )


def network() -> Any:
    return keras.Sequential(
        [
            keras.Input(shape=(28, 28, 1)),
            layers.Conv2D(32, kernel_size=(3, 3), activation="relu"),
            layers.MaxPooling2D(pool_size=(2, 2)),
            layers.Conv2D(64, kernel_size=(3, 3), activation="relu"),
            layers.MaxPooling2D(pool_size=(2, 2)),
            layers.Flatten(),
            layers.Dropout(0.5),
            layers.Dense(CLASSES, activation="softmax"),
        ]
    )


class Clock(keras.callbacks.Callback):  # type: ignore[misc]  # keras brings no types
    """Seconds of each epoch."""

    def __init__(self) -> None:
        super().__init__()
        self.seconds: list[float] = []
        self._began = 0.0

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self._began = time.perf_counter()

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        self.seconds.append(time.perf_counter() - self._began)


def main() -> None:
    parser = argparse.ArgumentParser(description="The Keras MNIST example, timed.")
    parser.add_argument("--epochs", type=int, default=15)
    parser.add_argument("--examples", type=int, help="train on the first so many (a try)")
    parser.add_argument("--seed", type=int, help="the example itself sets none")
    given = parser.parse_args()
    if given.seed is not None:
        keras.utils.set_random_seed(given.seed)
    folder = mnist_folder()
    x_train, y_train = split(folder, "train")
    x_test, y_test = split(folder, "t10k")
    if given.examples is not None:
        x_train, y_train = x_train[: given.examples], y_train[: given.examples]
    model = network()
    model.compile(loss="categorical_crossentropy", optimizer="adam", metrics=["accuracy"])
    clock = Clock()
    began = time.perf_counter()
    # verbose=2: a line an epoch; the example's bar costs time when there is no terminal.
    model.fit(
        x_train,
        y_train,
        batch_size=128,
        epochs=given.epochs,
        validation_split=0.1,
        callbacks=[clock],
        verbose=2,
    )
    seconds = time.perf_counter() - began
    loss, accuracy = model.evaluate(x_test, y_test, verbose=0)
    found = {
        "fit_seconds": seconds,
        "epoch_seconds": clock.seconds,
        "epochs": given.epochs,
        "examples": len(x_train),
        "test_loss": float(loss),
        "test_accuracy": float(accuracy),
        "parameters": int(model.count_params()),
        "keras": keras.__version__,
        "backend": keras.backend.backend(),
    }
    print(json.dumps(found))


if __name__ == "__main__":
    main()
