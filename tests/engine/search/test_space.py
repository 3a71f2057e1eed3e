"""space: ranges from TOML, each mistake with file and line, and values in a recipe."""

from __future__ import annotations

from pathlib import Path

import pytest

from shoestring.core.errors import UserError
from shoestring.core.run import Recipe, Run
from shoestring.core.space import Range
from shoestring.engine.search import space
from shoestring.tasks.images import layers

GOOD = """
[learning_rate]
low = 1e-4
high = 1
log = true

["network.width"]
choices = [32, 8]

[augment.rotation]  # a table within a table
low = 1
high = 20

[strength]
low = 0.5
high = 2.0
scales = { augment.shift = 0.04, "regularize.l1" = 0.001 }

[batch_size]
low = 8
high = 64
log = true
"""


FACTS = {"size": [28, 28], "channels": 1, "labels": ["a", "b"]}


def written(folder: Path, text: str) -> Path:
    path = folder / "space.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_ranges_are_read_however_their_names_are_nested(tmp_path: Path) -> None:
    rate, width, rotation, strength, batch = space.read(written(tmp_path, GOOD))
    assert rate == Range("learning_rate", 1e-4, 1.0, log=True)
    assert width == Range("network.width", choices=(8, 32))
    assert rotation == Range("augment.rotation", 1.0, 20.0, whole=True)
    assert strength.paths == {"augment.shift": 0.04, "regularize.l1": 0.001}
    assert batch.whole
    assert batch.log


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        ("[learning_rat]\nlow = 1\nhigh = 2\n", 1, "'learning_rat' is no field of a recipe"),
        ("[seed]\nlow = 1\nhigh = 2\n", 1, "'seed' is no field that can be searched"),
        ('[learning_rate]\nchoices = ["a", "b"]\n', 1, "learning_rate is a number, not 'a'"),
        ('[batch_size]\nchoices = [1, "x"]\n', 1, "batch_size is a whole number, not 'x'"),
        ("[clip]\nchoices = [1979-05-27, 1]\n", 1, "choices are numbers, words or truths"),
        ("[clip]\nchoices = [nan, 1.0]\n", 1, "a choice is a finite number, not nan"),
        (f"[clip]\nlow = 0\nhigh = 1{400 * '0'}\n", 1, "high is a number, not one of 401 digits"),
        (f"[clip]\nchoices = [1, 1{400 * '0'}]\n", 1, "a choice is a finite number"),
        ("[augment.flip]\nlow = 1\nhigh = 4\n", 1, "augment: flip is one of"),
        ('["regularize.dropout"]\nchoices = ["a", true]\n', 1, "regularize: dropout is a number"),
        ('[x]\nchoices = ["a", "b"]\nscales = { clip = 1.0 }\n', 1, "its choices are numbers"),
        ("# x\n\n[clip]\nlow = 2\nhigh = 1\n", 3, "empty range"),
        ("[clip]\nlow = 0\nhigh = 1\nlog = true\n", 1, "the logarithm of 0 is not a number"),
        ("[clip]\nlwo = 0\nhigh = 1\n", 1, "no key 'lwo'; it has: low, high, log, choices, scales"),
        ("[clip]\nlow = 'a'\nhigh = 1\n", 1, "low is a number, not 'a'"),
        ("[clip]\nlow = true\nhigh = 1\n", 1, "low is a number, not True"),
        ("[clip]\nlow = 0\nhigh = 1\nlog = 1\n", 1, "log is true or false"),
        ("[clip]\nchoices = []\n", 1, "choices is a list of two or more"),
        ("[clip]\nchoices = 3\n", 1, "choices is a list of two or more"),
        ("[clip]\nchoices = [[1], [2]]\n", 1, "choices are numbers, words or truths"),
        ("[clip]\nlow = -1\nhigh = 1\n", 1, "clip is a number from 0, not -1"),
        ("learning_rate = 0.1\n", 1, "should be a table with low and high"),
        ("[batch_size]\nlow = 1.5\nhigh = 4\n", 1, "batch_size is a whole number"),
        ("[batch_size]\nlow = 0\nhigh = 4\n", 1, "batch_size is a number from 1, not 0"),
        ("[learning_rate]\nlow = 0\nhigh = 4\n", 1, "above 0"),
        ("[label_smoothing]\nlow = 0.0\nhigh = 1.0\n", 1, "from 0 to below 1"),
        ("[optimizer]\nchoices = ['muon', 'lion']\n", 1, "optimizer is one of .*, not 'lion'"),
        ("[optimizer]\nlow = 1\nhigh = 2\n", 1, "optimizer is one of"),
        ("[clip]\nlow=1\nhigh=2\n\n[augment.shfit]\nlow=1\nhigh=2\n", 5, "no option 'shfit'"),
        ("[clip]\nlow=1\nhigh=2\n[nothing.at]\nlow=1\nhigh=2\n", 4, "'nothing' is neither"),
        ("[tune.trials]\nlow = 1\nhigh = 2\n", 1, "'tune' is neither network nor a technique"),
        ("[s]\nlow=1\nhigh=2\nscales={clip=1}\n[clip]\nlow=1\nhigh=2\n", 5, "by s and by clip"),
        ("[s]\nlow=1\nhigh=2\nscales={clp=1}\n", 1, "'clp' is no field of a recipe"),
    ],
)
def test_a_mistake_is_told_with_file_and_line(
    text: str, line: int, message: str, tmp_path: Path
) -> None:
    path = written(tmp_path, text)
    with pytest.raises(UserError, match=message) as caught:
        space.read(path)
    assert str(caught.value).startswith(f"{path}, line {line}: ")


def test_a_file_that_holds_nothing_or_is_no_toml_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="names nothing to search; it holds tables such as"):
        space.read(written(tmp_path, "# later\n"))
    with pytest.raises(UserError, match=r"space.toml is not TOML: .*line 1"):
        space.read(written(tmp_path, "[clip\n"))
    with pytest.raises(UserError, match="cannot be read"):
        space.read(tmp_path / "none.toml")


def run() -> Run:
    recipe = Recipe(
        "images",
        "photos",
        network={"kind": "compact", "width": 16, "units": 128},
        learning_rate=0.01,
        hooks=("augment:shift=0.04,rotation=10.0",),
    )
    return Run(Path("runs/a"), "images", recipe)


def test_values_are_written_where_the_fit_reads_them() -> None:
    ranges = (
        Range("learning_rate", 1e-4, 0.1, log=True),
        Range("network.width", choices=(8, 32)),
        Range("strength", 0.5, 2.0, scales={"augment.shift": 0.04, "augment.rotation": 10.0}),
        Range("regularize.l2", 0.0, 1.0),
        Range("size", 0.5, 2.0, scales={"network.units": 128}),
    )
    values = {"learning_rate": 0.03, "network.width": 32, "strength": 0.5, "regularize.l2": 0.2}
    before = run()
    after = space.with_values(before, ranges, {**values, "size": 0.4})
    assert before == run()
    assert after.recipe.learning_rate == 0.03
    assert after.recipe.network == {"kind": "compact", "width": 32, "units": 48}
    assert after.recipe.weight_decay == 0.2  # as the technique writes it
    assert after.recipe.hooks == ("augment:shift=0.02,rotation=5.0", "regularize:l2=0.2")
    assert not after.receipts
    found = space.values_in(after.recipe, {"depth": 1}, ranges)
    assert found == {**values, "network.width": 1, "size": 0.5}


def test_a_value_that_a_technique_does_not_take_is_told() -> None:
    one = Range("regularize.dropout", 0.0, 2.0)
    with pytest.raises(UserError, match="regularize: dropout is a share from 0 to below 1"):
        space.with_values(run(), (one,), {"regularize.dropout": 1.5})


def test_fields_that_were_decided_are_spared() -> None:
    ranges = (
        Range("learning_rate", 1e-4, 0.1),
        Range("network.width", choices=(8, 32)),
        Range("strength", 0.5, 2.0, scales={"augment.shift": 0.04}),
    )
    rate, width, strength = ranges
    assert space.spared(ranges, {"learning_rate"}) == (width, strength)
    assert space.spared(ranges, {"network"}) == (rate, strength)
    assert space.spared(ranges, {"network.width", "augment"}) == (rate,)
    assert space.spared(ranges, {"strength"}) == (rate, width)


def test_defaults_are_in_the_ranges_or_not() -> None:
    recipe = Recipe("images", "mnist", learning_rate=0.01, batch_size=100)
    rate, wide = Range("learning_rate", 0.001, 0.1), Range("learning_rate", 0.5, 0.9)
    batch, option = Range("batch_size", choices=(64, 128)), Range("augment.rotation", 1.0, 20.0)

    def held(*ranges: Range) -> bool:
        drawn = space.values_in(recipe, {}, ranges)
        return space.holds(ranges, space.standing(recipe, {}, ranges), drawn)

    assert held(rate)
    assert not held(wide)
    assert not held(rate, batch)  # 100 is neither
    assert not held(rate, option)  # the recipe has no such technique
    assert space.standing(recipe, {}, (wide, option)) == {"learning_rate": 0.01}


def test_a_fraction_is_no_width() -> None:
    with pytest.raises(UserError, match="width of a network is a whole number"):
        layers.expand({"kind": "compact", "width": 20.9}, FACTS)
