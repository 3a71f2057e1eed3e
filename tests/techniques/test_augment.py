"""augment: what is refused, and what is said of it."""

from __future__ import annotations

from itertools import permutations
from pathlib import Path

import pytest

from shoestring import plugins
from shoestring.core.budget import Budget
from shoestring.core.errors import UserError
from shoestring.core.run import Recipe, Run
from shoestring.techniques.augment import Augment


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("shift=-0.1", "augment: shift is a number from 0, not -0.1"),
        ("rotation=nan", "augment: rotation is a number from 0, not nan"),
        ("mixup=inf", "augment: mixup is a number from 0, not inf"),
        ("erase=2", "augment: erase is a share from 0 to 1, not 2.0"),
        ("strength=0", "augment: strength is above 0; to leave it all out, use --without augment"),
        ("operations=0,policy=rand", "augment: operations is a number from 1, not 0"),
        ("operations=3", "augment: operations is of policy=rand"),
        ("operations=3,policy=trivial", "augment: operations is of policy=rand"),
        ("flip=maybe", "augment: flip is one of yes, no, auto, not 'maybe'"),
        ("policy=best", "augment: policy is one of rand, trivial, not 'best'"),
    ],
)
def test_what_makes_no_sense_is_refused(words: str, said: str) -> None:
    with pytest.raises(UserError) as caught:
        plugins.technique(f"augment:{words}")
    assert str(caught.value).startswith(said)


def test_every_option_of_a_task_is_one_of_the_technique_s() -> None:
    for name in plugins.task_names():
        known = plugins.task(name).augment_options()
        made = Augment()
        assert {option: getattr(made, option) for option in known} == dict(known)


def test_an_option_of_another_task_names_those_it_fits(tmp_path: Path) -> None:
    tables = {name: set(plugins.task(name).augment_options()) for name in plugins.task_names()}
    numbers = {option for option, value in vars(Augment()).items() if isinstance(value, float)}
    for name, other in permutations(tables, 2):
        for option in (tables[other] - tables[name]) & numbers:
            technique = plugins.technique(f"augment:{option}=0.5")
            with pytest.raises(UserError, match=f"{option} does not fit {name}, but {other}; "):
                technique.apply(Run(tmp_path, name, Recipe(name, "x")), Budget())
