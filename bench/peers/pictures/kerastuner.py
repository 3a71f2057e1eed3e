"""kerastuner: Keras with KerasTuner on class folders, as their guides do it.

    .env-keras/bin/python bench/peers/pictures/kerastuner.py train --data D --seconds 120 --out O

Reading as in "Image classification from scratch", the network's space as in "Visualize the
hyperparameter tuning process" (its convolutional arm), the search as in TensorFlow's tutorial on
KerasTuner: Hyperband of 10 epochs, then the best hyperparameters trained anew. KerasTuner has no
limit in seconds, so a user must end it: the search after half of the time, by the FatalError of
its guide on failed trials, and the last fit after nine tenths.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

os.environ.setdefault("KERAS_BACKEND", "tensorflow")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras  # type: ignore[import-not-found]  # only in .env-keras
import keras_tuner  # type: ignore[import-not-found]
import numpy as np
from _peer import Asked, run, side
from keras import layers
from PIL import Image

SEARCH, ALL = 0.5, 0.9  # of the seconds


def train(asked: Asked) -> dict[str, Any]:
    keras.utils.set_random_seed(asked.seed)
    size, data, ship = side(asked.data), asked.data, asked.ship

    # user
    def read(split: str) -> Any:
        return keras.utils.image_dataset_from_directory(
            data / split, label_mode="int", image_size=(size, size), batch_size=32, seed=asked.seed
        )

    train_pictures, validation_pictures = read("train"), read("validation")
    labels = train_pictures.class_names
    train_pictures, validation_pictures = train_pictures.cache(), validation_pictures.cache()

    def build(hp: Any) -> Any:
        inputs = keras.Input((size, size, 3))
        x = layers.Rescaling(1 / 255)(inputs)
        for i in range(hp.Int("cnn_layers", 1, 3)):
            filters = hp.Int(f"filters_{i}", 32, 128, step=32)
            x = layers.Conv2D(filters, 3, activation="relu", padding="same")(x)
            x = layers.MaxPooling2D(2)(x)
        x = layers.Flatten()(x)
        if hp.Boolean("dropout"):
            x = layers.Dropout(0.5)(x)
        model = keras.Model(inputs, layers.Dense(len(labels), activation="softmax")(x))
        model.compile(
            optimizer=keras.optimizers.Adam(hp.Choice("learning_rate", [1e-2, 1e-3, 1e-4])),
            loss="sparse_categorical_crossentropy",
            metrics=["accuracy"],
        )
        return model

    class StopSearch(keras.callbacks.Callback):  # type: ignore[misc]  # keras brings no types
        def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
            if asked.left() < (1 - SEARCH) * asked.seconds:
                raise keras_tuner.errors.FatalError("the time is over")

    class StopFit(keras.callbacks.Callback):  # type: ignore[misc]
        def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
            if asked.left() < (1 - ALL) * asked.seconds:
                self.model.stop_training = True

    tuner = keras_tuner.Hyperband(
        build, objective="val_accuracy", max_epochs=10, directory=asked.out, seed=asked.seed
    )
    try:
        tuner.search(
            train_pictures,
            validation_data=validation_pictures,
            callbacks=[StopSearch(), keras.callbacks.EarlyStopping("val_loss", patience=5)],
            verbose=0,
        )
    except keras_tuner.errors.FatalError:
        pass
    found = tuner.get_best_hyperparameters(1)
    model = build(found[0] if found else keras_tuner.HyperParameters())
    best = keras.callbacks.ModelCheckpoint(
        ship / "model.keras", monitor="val_accuracy", save_best_only=True
    )
    history = model.fit(
        train_pictures,
        validation_data=validation_pictures,
        epochs=1000,
        callbacks=[StopFit(), best, keras.callbacks.EarlyStopping("val_accuracy", patience=20)],
        verbose=0,
    )
    (ship / "labels.txt").write_text("\n".join(labels), encoding="utf-8")
    # end
    trials = [t for t in tuner.oracle.trials.values() if t.status == "COMPLETED"]
    return {
        "trials": len(trials),
        "epochs": len(history.history["val_accuracy"]),
        "validation": max(history.history["val_accuracy"]),
        "parameters": int(model.count_params()),
        "chosen": found[0].values if found else None,
    }


def opened(asked: Asked) -> Callable[[Sequence[Path]], list[str]]:
    model = keras.models.load_model(asked.ship / "model.keras")
    labels = (asked.ship / "labels.txt").read_text(encoding="utf-8").splitlines()

    def ask(pictures: Sequence[Path]) -> list[str]:
        pixels = np.stack([np.asarray(Image.open(p).convert("RGB"), np.float32) for p in pictures])
        return [labels[i] for i in model.predict(pixels, verbose=0).argmax(1)]

    return ask


if __name__ == "__main__":
    run(train, opened)
