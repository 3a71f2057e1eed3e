"""exhibits: what is shown of labels given to pictures: confusions, mistakes, classes, calibration.

Shapes: B pictures, H height, W width, C channels, K labels.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from shoestring.core.exhibits import Chart, Exhibit, Gallery, Line, Matrix, Picture, Table
from shoestring.core.protocols import Outcomes
from shoestring.core.receipt import Plain
from shoestring.tasks.images.examples import ImageExamples
from shoestring.tasks.images.scores import CALIBRATION_BINS, scores

MOST_MATRIX_LABELS = 26  # more of them are no matrix that anybody reads, but a list of confusions
MOST_CONFUSIONS = 20
MOST_MISTAKES = 24
LARGEST_THUMBNAIL = 128  # pixels of a side; a larger picture is made smaller


def exhibits(
    outcomes: Outcomes, facts: Plain, examples: ImageExamples | None
) -> tuple[Exhibit, ...]:
    """The confusion matrix, the worst mistakes where the pictures are at hand, a row for each
    label, and how far confidence can be believed."""
    if not len(outcomes["labels"]):
        return ()
    return tuple(_exhibits(outcomes, facts, examples))


def _exhibits(
    outcomes: Outcomes, facts: Plain, examples: ImageExamples | None
) -> Iterator[Exhibit]:
    details = scores(outcomes, facts).details
    labels: list[str] = list(facts["labels"])
    yield _confusion(labels, details["confusion"])
    if examples is not None:
        yield _mistakes(outcomes, labels, examples)
    columns = ("label", "precision", "recall", "f1", "support")
    rows = [[line[name] for name in columns] for line in details["per_class"]]
    yield Table("Each label", columns, rows, "support: how many of that label there are")
    yield _calibration(outcomes, float(details["calibration_error"]))


def _confusion(labels: Sequence[str], counts_KK: Sequence[Sequence[int]]) -> Exhibit:
    if len(labels) <= MOST_MATRIX_LABELS:
        return Matrix("Confusion", labels, counts_KK)
    cells = [
        (number, labels[true], labels[answer])
        for true, row in enumerate(counts_KK)
        for answer, number in enumerate(row)
        if number and true != answer
    ]
    cells.sort(key=lambda cell: -cell[0])
    rows = [(true, answer, number) for number, true, answer in cells[:MOST_CONFUSIONS]]
    return Table("Most frequent confusions", ("is", "was answered", "times"), rows)


def _mistakes(outcomes: Outcomes, labels: Sequence[str], examples: ImageExamples) -> Gallery:
    """Wrong answers, those first whose true label was thought the least likely."""
    labels_B, probabilities_BK = outcomes["labels"], outcomes["probabilities"]
    answers_B = probabilities_BK.argmax(axis=1)
    truth_B = probabilities_BK[np.arange(len(labels_B)), labels_B]
    wrong = np.flatnonzero(answers_B != labels_B)
    worst = wrong[np.argsort(truth_B[wrong], kind="stable")][:MOST_MISTAKES]
    if not len(worst):
        return Gallery("Worst mistakes", (), "every answer was right")
    names, pictures = examples.names, list[Picture]()
    for place, pixels_HWC in zip(worst.tolist(), examples.take(worst), strict=True):
        true, answer = labels[labels_B[place]], labels[answers_B[place]]
        share = float(probabilities_BK[place, answers_B[place]])
        caption = f"is {true}, answered {answer} ({share:.0%})"
        said = f"{names[place]}: a picture of {true} that was taken for {answer}"
        pictures.append(Picture(thumbnail(pixels_HWC), caption, said))
    note = f"{len(worst)} of {len(wrong):,} wrong answers of {len(labels_B):,}, the worst first"
    return Gallery("Worst mistakes", pictures, note)


def thumbnail(pixels_HWC: NDArray[np.uint8]) -> bytes:
    """A PNG of one picture, no larger than is shown."""
    from PIL import Image

    picture = Image.fromarray(pixels_HWC[:, :, 0] if pixels_HWC.shape[2] == 1 else pixels_HWC)
    picture.thumbnail((LARGEST_THUMBNAIL, LARGEST_THUMBNAIL))
    file = io.BytesIO()
    picture.save(file, "PNG", optimize=True)
    return file.getvalue()


def _calibration(outcomes: Outcomes, error: float) -> Chart:
    """How often answers of each confidence are right (a reliability diagram: Guo et al. 2017)."""
    confidence_B = outcomes["probabilities"].max(axis=1).astype(np.float64)
    right_B = outcomes["probabilities"].argmax(axis=1) == outcomes["labels"]
    bins_B = np.minimum((confidence_B * CALIBRATION_BINS).astype(np.int64), CALIBRATION_BINS - 1)
    counts = np.bincount(bins_B, minlength=CALIBRATION_BINS)
    there = np.flatnonzero(counts)
    means = np.bincount(bins_B, confidence_B, CALIBRATION_BINS)[there] / counts[there]
    right = np.bincount(bins_B, right_B, CALIBRATION_BINS)[there] / counts[there]
    centres = (there + 0.5) / CALIBRATION_BINS
    return Chart(
        "Calibration",
        "confidence",
        "share",
        (
            Line("of the answers", centres.tolist(), (counts[there] / len(right_B)).tolist(),
                 bars=True),
            Line("right, if confidence were exact", (0.0, 1.0), (0.0, 1.0), dashed=True,
                 marked=False),
            Line("right", means.tolist(), right.tolist()),
        ),
        x_labels=[(x, f"{x:.0%}") for x in (0.0, 0.25, 0.5, 0.75, 1.0)],
        y_share=True,
        note=f"expected calibration error {100 * error:.2f}%: confidence and the share of right "
        "answers lie so far apart on average",
    )  # fmt: skip
