"""Options that make no sense are refused with what is allowed."""

from __future__ import annotations

from typing import Any

import pytest

from shoestring.core.errors import UserError
from shoestring.tasks.images.options import AnswerOptions, ImageOptions


@pytest.mark.parametrize(
    "wrong",
    [
        {"size": 4},
        {"size": 5000},
        {"channels": 2},
        {"per_class": 0},
        {"train_share": 0.0},
        {"train_share": 1.5},
        {"train_share": float("nan")},
        {"validation_share": 0.0},
        {"validation_share": 1.0},
        {"test_share": -0.1},
        {"test_share": 1.0},
    ],
)
def test_image_options(wrong: dict[str, Any]) -> None:
    with pytest.raises(UserError, match=next(iter(wrong))):
        ImageOptions(**wrong)


@pytest.mark.parametrize("wrong", [{"top": 0}, {"reject": -0.1}, {"reject": 1.1}])
def test_answer_options(wrong: dict[str, Any]) -> None:
    with pytest.raises(UserError, match=next(iter(wrong))):
        AnswerOptions(**wrong)
