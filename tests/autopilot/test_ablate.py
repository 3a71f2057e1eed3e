"""ablate: from data to a table of what each technique buys, small enough for a test."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import shoestring
from shoestring.autopilot import beside, statements
from shoestring.autopilot.ablate import ablate
from shoestring.autopilot.ablation import PLAN, Ablation, read_plan
from shoestring.bundle.grade import read_outcomes
from shoestring.core.errors import DataError, Interrupted, RunError, UserError
from shoestring.core.listener import Quiet
from shoestring.core.receipt import Finding
from shoestring.core.run import Run
from shoestring.engine import effects, pacing, pool, store
from tests import tiny

SHORT: dict[str, Any] = {
    "steps": 12,
    "network": "compact:width=4",
    "device": "cpu",
    "threads": 1,
    "options": {"validation_share": 0.3},
}
WITH = ("augment:shift=0.05", "average")


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.write_npz(tmp_path_factory.mktemp("data") / "bars.npz")


@pytest.fixture(scope="module")
def found(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Ablation:
    """Two techniques, three seeds: twelve fits of a blink."""
    out = tmp_path_factory.mktemp("ablations") / "a"
    return shoestring.ablate(source, techniques=WITH, seeds=3, out=out, **SHORT)


def test_every_recipe_is_trained_with_every_seed(found: Ablation) -> None:
    assert [result.name for result in found.results] == ["none", "augment", "average", "all"]
    for result in found.results:
        assert len(result.qualities) == len(result.shifted) == 3
        assert result.steps == (12, 12, 12)
        runs = [store.read(path) for path in result.paths]
        assert [run.recipe.seed for run in runs] == [0, 1, 2]
        assert len({run.recipe.precision for run in runs}) == 1
        hooks = {hook.partition(":")[0] for run in runs for hook in run.recipe.hooks}
        assert hooks & {"augment", "average"} == {w.partition(":")[0] for w in result.techniques}


def test_the_table_has_a_line_for_every_statement(found: Ablation) -> None:
    assert [(line.kind, line.technique) for line in found.lines] == [
        ("alone", WITH[0]),
        ("alone", WITH[1]),
        ("together", " + ".join(WITH)),
    ]
    means = {r.name: sum(r.qualities) / 3 for r in found.results}
    for line, name in zip(found.lines, ("augment", "average", "all"), strict=True):
        assert line.gain is not None
        assert line.gain.value == pytest.approx(means[name] - means["none"])
        assert line.gain.low <= line.gain.value <= line.gain.high
        assert line.verdict in ("better", "worse", "within noise")
        assert line.shifted is not None
        assert line.smallest_seen is not None
    assert found.lines[0].gain.confidence == pytest.approx(0.975)


def test_gains_are_measured_where_no_fit_decided(found: Ablation, source: Path) -> None:
    run = store.read(found.results[0].paths[0])
    dataset = shoestring.plugins.task(run.task).load(run.recipe, Quiet().stage)
    halves = pool.Halves.of(dataset)
    decided, judged = halves.dataset.validation.hashes, halves.judged.hashes
    assert not set(decided.tolist()) & set(judged.tolist())
    assert len(decided) + len(judged) == len(dataset.validation)
    outcomes = read_outcomes(run.path / store.OUTCOMES)
    assert np.array_equal(outcomes["hashes"], judged)
    assert found.examples == len(judged)
    with pytest.raises(DataError):
        halves.dataset.test()


def test_a_run_of_it_can_be_compared_but_not_shipped(found: Ablation) -> None:
    path = Path(found.results[0].paths[0])
    assert not (path / store.WEIGHTS).exists()
    assert not (path / store.BUNDLE).exists()
    assert store.read(path).scores.where == pool.WHERE
    assert str(shoestring.receipt(path)).startswith("Receipt of ")


def test_looking_again_trains_nothing(found: Ablation) -> None:
    assert shoestring.ablate(found.path, resume=True) == found


def test_a_killed_one_goes_on_and_ends_alike(found: Ablation, tmp_path: Path) -> None:
    home = tmp_path / "b"
    shutil.copytree(found.path, home)
    shutil.rmtree(home / "runs" / "all" / "seed-1")
    (home / "runs" / "average" / "seed-2" / store.RUN).unlink()  # killed before its end
    some = statements.read(home)
    assert some.lines[2].reason == "2 of 3 seeds were trained"
    assert (some.lines[2].gain, some.lines[2].verdict) == (None, "not measured")
    again = shoestring.ablate(out=home, resume=True)
    for one, other in zip(again.results, found.results, strict=True):
        assert (one.qualities, one.shifted) == (other.qualities, other.shifted)
    assert [line.gain for line in again.lines] == [line.gain for line in found.lines]
    assert again.used_seconds > found.used_seconds


def test_the_precision_is_measured_on_nobodys_account(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else the recipe that is fitted first, which is that without any, looks slower."""
    inside: list[bool] = []
    fitting = [False]
    original_fit, original_fastest = pool.Pool.fitted, pacing.fastest

    def fitted(*words: Any) -> Run:
        fitting[0] = True
        done = original_fit(*words)
        fitting[0] = False
        return done

    def fastest(*words: Any) -> pacing.Trial:
        inside.append(fitting[0])
        return original_fastest(*words)

    monkeypatch.setattr(pool.Pool, "fitted", fitted)
    monkeypatch.setattr(pacing, "fastest", fastest)
    ablate(source, techniques=WITH[:1], seeds=2, out=tmp_path / "a", **SHORT)
    assert inside == [False]


def test_one_seed_speaks_of_runs_alone(source: Path, tmp_path: Path) -> None:
    heard: list[str] = []

    class Hearing(Quiet):
        def say(self, text: str) -> None:
            heard.append(text)

    one = ablate(
        source, techniques=WITH[:1], seeds=1, out=tmp_path / "a", listener=Hearing(), **SHORT
    )
    (line,) = one.lines
    assert line.verdict == line.shifted_verdict == "not measured"
    assert line.statement in statements.OF_RUNS.values()
    assert line.reason == "one seed says nothing of a technique; 3 or more do"
    assert heard[0] == (
        "1 seed of each recipe can say which run beats which, but not whether a technique helps: "
        "that takes --seeds 3 or more"
    )
    assert one.notes == (heard[0],)


def test_groups_are_warned_of(source: Path, tmp_path: Path) -> None:
    short = {**SHORT, "options": {**SHORT["options"], "group_by": r"(\d+)\d"}, "steps": 1}
    with pytest.raises(DataError, match="finds no group"):
        ablate(source, techniques=WITH[:1], seeds=1, out=tmp_path / "a", **short)
    short["options"]["group_by"] = r"\d+"
    found = ablate(source, techniques=WITH[:1], seeds=1, out=tmp_path / "a", **short)
    assert any("examples of one group as independent" in note for note in found.notes)


def test_a_budget_that_is_too_small_says_what_it_would_need(source: Path, tmp_path: Path) -> None:
    timed = {name: value for name, value in SHORT.items() if name != "steps"}
    with pytest.raises(UserError) as told:
        ablate(source, techniques=WITH, seeds=3, budget=4, out=tmp_path / "a", **timed)
    words = str(told.value)
    assert words.startswith("4 recipes with 3 seeds each are 12 fits; with 50 steps each")
    assert "4 s were asked for; give --budget" in words
    assert words.endswith("fewer techniques, or fewer seeds")
    assert not (tmp_path / "a").exists()


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"techniques": ()}, "say what to ablate: --with augment"),
        ({"techniques": ("argument",)}, "there is no technique 'argument'"),
        ({"techniques": ("augment:bpe_dropout=0.1",)}, "bpe_dropout does not fit"),
        ({"techniques": WITH, "seeds": 0}, "seeds is a number of trainings .* from 1, not 0"),
        ({"techniques": WITH, "seeds": 1, "factorial": True}, "one seed says nothing of these"),
        ({"techniques": WITH, "without": ["nothing"]}, "there is no technique 'nothing'"),
    ],
)
def test_what_cannot_be_ablated_leaves_nothing(
    source: Path, tmp_path: Path, changes: dict[str, Any], words: str
) -> None:
    with pytest.raises(UserError, match=words):
        ablate(source, out=tmp_path / "a", **{**SHORT, **changes})
    assert not (tmp_path / "a").exists()


def test_a_folder_that_is_no_ablation_is_not_resumed(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=f"is not an ablation: it has no {PLAN}"):
        ablate(tmp_path, resume=True)
    (tmp_path / PLAN).write_text("[]")
    with pytest.raises(RunError, match="is of version None"):
        ablate(tmp_path, resume=True)
    (tmp_path / PLAN).write_text('{"version": 1}')
    with pytest.raises(RunError, match="needs the field 'recipe'"):
        ablate(tmp_path, resume=True)


class Faked:
    """In place of the pool's fits: what a fit would leave, drawn and not trained."""

    def __init__(self, failing: str = "", stop_after: int = 1_000) -> None:
        self.failing, self.left = failing, stop_after

    def __call__(self, work: pool.Pool, run: Run, seconds: float | None) -> Run:
        if self.failing and any(h.startswith(self.failing) for h in run.recipe.hooks):
            raise RunError("the loss was not finite 6 times")
        if not self.left:
            raise Interrupted("stopped at step 3")
        self.left -= 1
        from shoestring.bundle.grade import write_outcomes
        from shoestring.core.receipt import Scores
        from shoestring.engine.apply import noted

        count = len(work.halves.judged)
        good = 0.6 + 0.3 * any(h.startswith("augment") for h in run.recipe.hooks)
        right = np.random.default_rng(run.recipe.seed).random(count) < good
        hashes = np.asarray(work.halves.judged.hashes)
        write_outcomes(run.path / store.OUTCOMES, {"hashes": hashes, "right": right})
        run = replace(run, architecture={"kind": "compact"}, scores=Scores(0.5, "accuracy"))
        return store.write_finished(noted(run, "fit", after=run.scores))


def test_a_fit_that_fails_is_in_the_table(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake = Faked(failing="average")
    monkeypatch.setattr(pool.Pool, "fitted", lambda *args, fake=fake: fake(*args))
    found = ablate(source, techniques=WITH, seeds=3, out=tmp_path / "a", **SHORT)
    first, second, both = found.lines
    assert first.verdict == "better"
    for line in (second, both):
        assert (line.verdict, line.gain) == ("not measured", None)
        assert line.reason.endswith("failed: the loss was not finite 6 times")
    assert set(read_plan(tmp_path / "a").failures) == {"average", "all"}


def test_when_all_fits_fail_the_table_says_so(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(work: pool.Pool, run: Run, seconds: float | None) -> Run:
        raise RunError("the loss was not finite 6 times")

    monkeypatch.setattr(pool.Pool, "fitted", failing)
    for words in ({"techniques": WITH, **SHORT}, {"resume": True}):
        found = ablate(source, out=tmp_path / "a", **words)
        assert all("the loss was not finite 6 times" in line.reason for line in found.lines)


@pytest.mark.parametrize("words", ["average:kind=swa,every=1", "regularize:l2=0.5,dropout=0.3"])
def test_what_a_technique_wrote_into_a_recorded_recipe_is_not_in_the_one_without(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: str
) -> None:
    run = shoestring.train(source, techniques=[words], out=tmp_path / "run", **SHORT)
    fake = Faked()
    monkeypatch.setattr(pool.Pool, "fitted", lambda *args, fake=fake: fake(*args))
    short = {key: value for key, value in SHORT.items() if key != "network"}
    for recipe in (run.path, None):
        base = {"recipe": recipe} if recipe else {"network": SHORT["network"]}
        out = tmp_path / f"ablation-{recipe is None}"
        ablate(source, techniques=[words], seeds=1, out=out, **{**short, **base})
    one, two = (
        store.read(tmp_path / f"ablation-{fresh}" / "runs" / "none" / "seed-0").recipe
        for fresh in (False, True)
    )
    assert (one.schedule, one.weight_decay, one.network) == (
        two.schedule,
        two.weight_decay,
        two.network,
    )
    assert (one.hooks, one.learning_rate) == (two.hooks, two.learning_rate)


def test_nothing_is_decided_on_what_gains_are_measured_on(
    tmp_path: Path, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whether classes survive a flip is looked up where no gain is measured."""
    from shoestring.tasks.images import flip

    fake, seen, judged = Faked(), list[set[int]](), list[set[int]]()

    def fitted(work: pool.Pool, run: Run, seconds: float | None) -> Run:
        judged.append(set(np.asarray(work.halves.judged.hashes).tolist()))
        return fake(work, run, seconds)

    def found(train: Any, validation: Any, classes: int) -> Any:
        seen.append(set(np.asarray(validation.hashes).tolist()))
        return own(train, validation, classes)

    own = flip.found
    monkeypatch.setattr(flip, "found", found)
    monkeypatch.setattr(pool.Pool, "fitted", fitted)
    ablate(source, techniques=["augment:flip=auto"], seeds=1, out=tmp_path / "a", **SHORT)
    assert seen and judged and not seen[0] & judged[0]


def test_what_changed_nothing_and_what_emptied_a_layer_is_said(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake = Faked()

    def fitted(work: pool.Pool, run: Run, seconds: float | None) -> Run:
        if any(h.startswith("regularize") for h in run.recipe.hooks):
            finding = Finding("zero layer", 1, "1 layer came to hold nothing but zeros", ("stem",))
            run = replace(run, findings=(*run.findings, finding))
        return fake(work, run, seconds)

    monkeypatch.setattr(pool.Pool, "fitted", fitted)
    words = ("augment:shift=0.05", "early_stop", "regularize:l1=9.0")
    found = ablate(source, techniques=words, seeds=3, out=tmp_path / "a", **SHORT)
    alone = {line.technique: line for line in found.lines if line.kind == "alone"}
    assert alone["augment:shift=0.05"].statement == "helps here"
    assert alone["early_stop"].statement == "changed nothing"
    assert "found nothing to do" in alone["early_stop"].reason
    said = [note for note in found.notes if "nothing but zeros" in note]
    assert any(note.startswith("regularize:l1=9.0: in 3 of 3 fits, 1 layer") for note in said)


def test_stopping_keeps_what_was_finished(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for count, kept in ((0, False), (2, True)):
        home, fake = tmp_path / f"after-{count}", Faked(stop_after=count)
        monkeypatch.setattr(pool.Pool, "fitted", lambda *args, fake=fake: fake(*args))
        with pytest.raises(Interrupted, match=f"go on with: shoestring ablate --resume {home}"):
            ablate(source, techniques=WITH, seeds=3, out=home, **SHORT)
        assert home.exists() == kept
    assert len(list(home.glob(f"runs/*/*/{store.RUN}"))) == 2
    assert effects.FEWEST_SEEDS == 3


def test_it_goes_beside_the_runs(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake = Faked()
    monkeypatch.setattr(pool.Pool, "fitted", lambda *args, fake=fake: fake(*args))
    monkeypatch.chdir(tmp_path)
    assert ablate(source, techniques=WITH[:1], seeds=1, **SHORT).path == "runs/bars-ablation-1"


def test_folds_are_held_out_in_turn_and_judged_together(source: Path, tmp_path: Path) -> None:
    home = tmp_path / "a"
    short = {**SHORT, "options": {"test_share": 0.0, "validation_share": 0.3}}
    found = ablate(source, techniques=WITH[:1], seeds=2, folds=2, out=home, **short)
    loaded = [read_outcomes(f) for f in home.glob(f"fold-*/runs/none/seed-0/{store.OUTCOMES}")]
    hashes = np.concatenate([one["hashes"] for one in loaded])
    assert len(loaded) == 2
    assert found.examples == len(hashes) == len(set(hashes.tolist()))  # each once
    assert found.folds == 2
    right = np.concatenate([one["right"] for one in loaded]) if "right" in loaded[0] else None
    if right is not None:
        assert found.results[0].qualities[0] == pytest.approx(right.mean())
    assert [len(result.qualities) for result in found.results] == [2, 2]
    assert found.lines[0].gain is not None
    shutil.rmtree(home / "fold-1")  # stopped before its second half
    again = ablate(out=home, resume=True)
    assert [r.qualities for r in again.results] == [r.qualities for r in found.results]


def test_folds_leave_a_test_split_closed(source: Path, tmp_path: Path) -> None:
    changes: dict[str, Any] = {**SHORT, "out": tmp_path / "a", "techniques": WITH[:1]}
    with np.load(source) as given:
        parts = {"x_train": given["x"], "y_train": given["y"]}
        parts |= {"x_test": given["x"][:30], "y_test": given["y"][:30]}
    np.savez(tmp_path / "t.npz", **parts)
    for folds, words in ((1, "folds is a number from 2"), (2, "a test split of its own")):
        with pytest.raises(UserError, match=words):
            ablate(tmp_path / "t.npz", folds=folds, **changes)
    assert not (tmp_path / "a").exists()


def test_processes_side_by_side_train_what_one_does(
    source: Path, found: Ablation, tmp_path: Path
) -> None:
    home = tmp_path / "a"
    both = ablate(source, techniques=WITH, seeds=3, processes=2, out=home, **SHORT)
    for one, other in zip(both.results, found.results, strict=True):
        assert one.qualities == other.qualities
    assert not (home / ".locks").exists()
    with pytest.raises(UserError, match="processes is a number from 1"):
        ablate(source, techniques=WITH, processes=0, out=tmp_path / "b", **SHORT)


def test_a_fit_belongs_to_whoever_holds_its_lock(tmp_path: Path) -> None:
    with beside.claimed(tmp_path, "none-0") as mine, beside.claimed(tmp_path, "none-0") as other:
        assert (mine, other) == (True, False)
    with beside.claimed(tmp_path, "none-0") as again:
        assert again
