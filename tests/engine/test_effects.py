"""Whether a technique helps: intervals that hold seeds and examples, and how often they are wrong.

The simulation draws runs as they come: an example is easy or hard for every run, a technique has
examples of its own that it helps and others that it harms, and each seed makes a run a little
better or worse all over.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt

import numpy as np
import pytest

from shoestring.core.errors import UserError
from shoestring.core.protocols import Statistics
from shoestring.data import resample
from shoestring.engine import effects, evidence
from shoestring.engine.effects import Cell, Effect, Spread

SIMULATIONS = 400
EXAMPLES = 300
LEVEL = 0.05
# The share of wrong verdicts may lie above its level by what so few simulations let it.
MOST_WRONG = LEVEL + 2 * sqrt(LEVEL * (1 - LEVEL) / SIMULATIONS)


class Shares:
    """A task whose metric is the share of right answers."""

    def statistics(self, outcomes):
        return None


class Ratios:
    """A task whose metric is a ratio of sums, in percent."""

    def statistics(self, outcomes):
        return Statistics(outcomes["sums"], lambda sums: 100 * sums[:, 0] / sums[:, 1])


@dataclass(frozen=True)
class World:
    """How runs come out, in logits of a right answer."""

    effect: float = 0.0  # of the technique, on all examples
    seed: float = 0.15  # standard deviation between runs of one recipe: about 1.5 points
    own: float = 0.4  # standard deviation of a technique's effect between examples
    uneven: float = 1.0  # the technique's runs vary so many times as much between seeds
    cells: int = 4  # recipes: one without, and so many less one with a technique each
    shares: bool = True  # right and wrong answers; or scores of any size, as pseudo-values are

    def drawn(self, seeds: int, random: np.random.Generator) -> list[Cell]:
        hardness_B = 1.5 + 1.5 * random.standard_normal(EXAMPLES)
        found = []
        for number in range(self.cells):
            logits_B = hardness_B.copy()
            if number:
                logits_B += self.effect + self.own * random.standard_normal(EXAMPLES)
            spread = self.seed * (self.uneven if number == 1 else 1.0)
            logits_SB = logits_B + spread * random.standard_normal((seeds, 1))
            if not self.shares:
                scores_SB = logits_SB + random.standard_normal((seeds, EXAMPLES))
                found.append(Cell(scores_SB.mean(axis=1), scores_SB))
                continue
            right_SB = random.random((seeds, EXAMPLES)) < 1 / (1 + np.exp(-logits_SB))
            found.append(Cell(right_SB.mean(axis=1), right_SB.astype(np.float64)))
        return found


def family(cells: list[Cell]) -> list[Effect]:
    """The effect of each technique on the recipe without any."""
    spread = Spread.pooled(cells)
    return [effects.contrast([cells[0], one], [-1, 1], spread) for one in cells[1:]]


def shares(world: World, seeds: int) -> dict[str, float]:
    """How often a technique is called better or worse, of all its verdicts; how often a table of
    them holds a "better"; and how often a 95% interval of one effect holds the truth of nought."""
    random = np.random.default_rng([seeds, round(100 * world.effect), round(10 * world.uneven)])
    better = worse = tables = covered = 0
    for _ in range(SIMULATIONS):
        found = family(world.drawn(seeds, random))
        verdicts = [verdict for _, verdict in effects.judged(found)]
        better += verdicts.count("better")
        worse += verdicts.count("worse")
        tables += "better" in verdicts
        bounds = found[0].interval()
        covered += bounds.low <= 0 <= bounds.high
    each = SIMULATIONS * (world.cells - 1)
    return {
        "better": better / each,
        "worse": worse / each,
        "tables": tables / SIMULATIONS,
        "covered": covered / SIMULATIONS,
    }


@pytest.mark.parametrize("seeds", [3, 5])
@pytest.mark.parametrize(
    "world",
    [
        World(),
        World(cells=2),
        World(seed=0.0),
        World(seed=0.5),
        World(uneven=3.0),
        World(shares=False),
    ],
    ids=["four recipes", "two recipes", "no seed noise", "much seed noise", "uneven", "no shares"],
)
def test_without_an_effect_few_verdicts_are_better(world: World, seeds: int) -> None:
    found = shares(world, seeds)
    assert found["better"] <= MOST_WRONG
    assert found["worse"] <= MOST_WRONG
    # Of a whole table as well: that is what Holm is for.
    assert found["tables"] <= MOST_WRONG
    assert found["covered"] >= 1 - MOST_WRONG


def test_one_and_two_seeds_prove_nothing_of_a_technique() -> None:
    random = np.random.default_rng(0)
    two = World(effect=3.0).drawn(2, random)
    assert {verdict for _, verdict in effects.judged(family(two))} == {"not measured"}
    one = World(effect=3.0).drawn(1, random)
    with pytest.raises(ValueError, match="one seed has no variance: compare runs, not recipes"):
        family(one)


def test_one_seed_says_of_two_runs_which_is_better_and_is_seldom_wrong() -> None:
    """Two runs that are equally good, on examples that are drawn anew."""
    random = np.random.default_rng(1)
    better = 0
    for _ in range(SIMULATIONS):
        hashes = np.arange(EXAMPLES, dtype=np.uint64)
        before, after = World(cells=2, seed=0.0).drawn(1, random)
        pair = [{"hashes": hashes, "right": c.values_SB[0] > 0.5} for c in (before, after)]
        better += evidence.judged(*pair, Shares())[1] == "better"
    assert better / SIMULATIONS <= MOST_WRONG


def test_one_seed_speaks_of_its_runs_whatever_their_luck() -> None:
    """With seed noise one of two runs of equal recipes is better. That it beats the other is said
    of these runs, and seldom where on all such examples it would not; of their recipes nothing is
    said, at one seed or at two."""
    random = np.random.default_rng(2)
    wrong = 0
    for _ in range(SIMULATIONS):
        luck = 0.3 * random.standard_normal(2)
        hardness_B = 1.5 + 1.5 * random.standard_normal(EXAMPLES)
        chances = 1 / (1 + np.exp(-(hardness_B + luck[:, None])))
        right = random.random((2, EXAMPLES)) < chances
        hashes = np.arange(EXAMPLES, dtype=np.uint64)
        told = evidence.judged(*({"hashes": hashes, "right": r} for r in right), Shares())[1]
        wrong += told == "better" and luck[1] <= luck[0]
    assert wrong / SIMULATIONS <= MOST_WRONG
    cells = World(seed=0.5).drawn(2, random)
    assert {verdict for _, verdict in effects.judged(family(cells))} == {"not measured"}


def test_the_power_is_what_is_stated(capsys: pytest.CaptureFixture[str]) -> None:
    lines = []
    for seeds in (3, 5):
        random = np.random.default_rng(seeds)
        drawn = [family(World(cells=2).drawn(seeds, random))[0] for _ in range(100)]
        stated = float(np.mean([effect.smallest_seen() for effect in drawn]))
        for points in (0.5, 1.0):
            world = World(effect=_logits(points * stated), cells=2)
            power = shares(world, seeds)["better"]
            lines.append(f"{seeds} seeds, gain {100 * points * stated:.1f} points: {power:.0%}")
            if points == 1.0:
                assert 0.65 <= power <= 0.92  # stated: 80%
            else:
                assert power < 0.5
    with capsys.disabled():
        print("\npower of 'this technique helps here':", "; ".join(lines))


def _logits(gain: float) -> float:
    """The shift of all logits that gains so much accuracy in the simulated world."""
    hardness = 1.5 + 1.5 * np.random.default_rng(9).standard_normal(20_000)
    shifts = np.linspace(0, 3, 301)
    means = [(1 / (1 + np.exp(-hardness - s))).mean() for s in shifts]
    return float(np.interp(means[0] + gain, means, shifts))


# --- the parts -----------------------------------------------------------------------------------


def test_a_pooled_variance_is_the_mean_of_the_cells() -> None:
    cells = [Cell(np.array(q), np.zeros((3, 4))) for q in ([1.0, 2.0, 3.0], [4.0, 4.0, 4.0])]
    assert Spread.pooled(cells) == Spread(0.5, 4.0)
    assert Spread.pooled([]) == Spread(0.0, 0.0)


def test_an_effect_of_nothing_but_seeds_is_a_t_test() -> None:
    """All examples of a run alike, so that no variance over examples is left."""
    before, after = np.array([1.1, 1.2, 1.3]), np.array([1.4, 1.5, 1.9])
    cells = [Cell(q, np.repeat(q[:, None], 10, axis=1)) for q in (before, after)]
    found = effects.contrast(cells, [-1, 1], Spread.pooled(cells))
    pooled = (before.var(ddof=1) + after.var(ddof=1)) / 2
    assert found.value == pytest.approx(after.mean() - before.mean())
    assert found.error == pytest.approx(sqrt(pooled * 2 / 3))
    parts = [q.var(ddof=1) / 3 for q in (before, after)]
    assert found.freedom == pytest.approx(sum(parts) ** 2 / sum(v**2 / 2 for v in parts))  # Welch
    assert found.example_error == pytest.approx(0, abs=1e-9)


def test_a_technique_that_varies_more_is_taken_at_its_own_variance() -> None:
    quiet = [Cell(np.array([0.5, 0.5, 0.5001]), np.full((3, 5), 0.5)) for _ in range(3)]
    loud = Cell(np.array([0.2, 0.5, 0.8]), np.full((3, 5), 0.5))
    found = effects.contrast([quiet[0], loud], [-1, 1], Spread.pooled([*quiet, loud]))
    assert found.error >= sqrt(loud.variance / 3)


def test_runs_that_are_all_alike_are_as_uncertain_as_their_examples_are_few() -> None:
    for count in (10, 100):
        same = Cell(np.full(3, 1.0), np.ones((3, count)))
        found = effects.contrast([same, same], [-1, 1], Spread.pooled([same, same]))
        assert (found.value, found.p_value) == (0.0, 1.0)
        assert found.error == pytest.approx(1 / (count + 2))
        assert effects.judged([found])[0][1] == "within noise"
    other = Cell(np.full(3, 7.5), np.full((3, 10), 7.5))  # of a metric that is no share
    found = effects.contrast([other, other], [-1, 1], Spread.pooled([other, other]))
    assert (found.error, found.p_value) == (0.0, 1.0)


def test_totals_that_agree_by_chance_are_no_proof() -> None:
    """Each seed gets one other example of four right: the totals are equal, the runs are not."""
    before = Cell(np.full(3, 0.25), np.eye(4)[:3])
    after = Cell(np.full(3, 0.5), np.eye(4)[:3] + np.eye(4)[1:])
    found = effects.contrast([before, after], [-1, 1], Spread.pooled([before, after]))
    assert effects.judged([found])[0][1] == "within noise"


def test_cells_of_other_examples_are_not_mixed() -> None:
    small, large = (Cell(np.ones(3), np.ones((3, n))) for n in (4, 5))
    with pytest.raises(ValueError, match=r"judged on \[4, 5\] examples"):
        effects.contrast([small, large], [-1, 1], Spread(0.0, 2.0))
    hashes = [np.arange(3, dtype=np.uint64), np.arange(1, 4, dtype=np.uint64)]
    runs = [{"hashes": h, "right": np.ones(3, bool)} for h in hashes]
    with pytest.raises(UserError, match="judged on different examples"):
        effects.cell(runs, Shares())


def test_pseudo_values_have_the_variance_of_the_metric() -> None:
    random = np.random.default_rng(0)
    below = random.integers(5, 30, 800)
    sums = np.stack([random.binomial(below, 0.5), below], axis=1).astype(np.float64)
    outcomes = {"hashes": np.arange(800, dtype=np.uint64), "sums": sums}
    quality, values_B = effects.values(outcomes, Ratios())
    assert quality == pytest.approx(100 * sums[:, 0].sum() / sums[:, 1].sum())
    assert values_B.mean() == pytest.approx(quality, abs=0.01)
    bounds = resample.interval(sums, Ratios().statistics(outcomes).metric)
    error = sqrt(values_B.var(ddof=1) / 800)
    assert (bounds.high - bounds.low) / (2 * 1.96) == pytest.approx(error, rel=0.1)


def test_holm_is_the_textbook_s() -> None:
    assert effects.holm([0.01, 0.04, 0.03, 0.005]) == [True, False, False, True]
    assert effects.holm([0.02, 0.02]) == [True, True]
    assert effects.holm([0.03, 0.06]) == [False, False]
    assert effects.holm([]) == []


def test_intervals_of_a_family_are_wider() -> None:
    cells = World().drawn(3, np.random.default_rng(5))
    found = family(cells)
    alone, together = effects.judged(found[:1])[0][0], effects.judged(found)[0][0]
    assert together.low < alone.low <= alone.high < together.high
    assert together.confidence == pytest.approx(1 - 0.05 / 3)
    assert together.method.endswith("Bonferroni over 3, verdict after Holm")


def test_folds_are_joined() -> None:
    first = Cell(np.array([1.0, 0.5]), np.array([[1.0, 1.0], [1.0, 0.0]]))
    second = Cell(np.array([0.0, 1.0]), np.array([[0.0], [1.0]]))
    both = effects.joined([first, second])
    assert both.qualities_S.tolist() == pytest.approx([2 / 3, 2 / 3])
    assert both.values_SB.shape == (2, 3)


def test_one_run_each_differs_by_its_examples_alone() -> None:
    before, after = (
        Cell(np.array([r.mean()]), r[None]) for r in (np.eye(10)[0], np.eye(10)[:5].sum(0))
    )
    found = effects.of_runs(before, after)
    assert (found.value, found.seed_error) == (pytest.approx(0.4), 0.0)
    assert found.interval().low < 0.4 < found.interval().high
    assert found.interval().method == "t over examples, one seed each"
    assert effects.judged([found])[0][1] == "not measured"
