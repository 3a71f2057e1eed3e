"""task: CNN image classification, as the engine meets it. Importing this brings no torch."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from shoestring.core import voting
from shoestring.core.budget import Budget
from shoestring.core.errors import UserError
from shoestring.core.exhibits import Exhibit
from shoestring.core.protocols import (
    Answering,
    Batch,
    Dataset,
    Description,
    Draws,
    Examples,
    Feed,
    Network,
    Outcomes,
    PairedTest,
    Predictor,
    Progress,
    Quality,
    Statistics,
)
from shoestring.core.receipt import Finding, Plain, Scores
from shoestring.core.run import Recipe, Run
from shoestring.core.sizing import Candidate, Probe
from shoestring.core.space import Range
from shoestring.core.teaching import Learned, Lesson
from shoestring.core.workload import Size, Workload
from shoestring.data.names import code, printable
from shoestring.tasks.images import defaults, planning, pretrained, sizes, space
from shoestring.tasks.images.layers import KINDS, PRESETS
from shoestring.tasks.images.options import SHIFTS, AnswerOptions, ImageOptions

if TYPE_CHECKING:
    import torch

_MOST_LABELS = 50  # more of them are counted on a card, not listed


class Images:
    """Pictures in, one of a fixed set of labels out."""

    name = "images"
    metric = "accuracy"
    options: type[Any] = ImageOptions
    answer_options: type[Any] = AnswerOptions
    plan_options: type[Any] = planning.PlanOptions
    networks = (*KINDS, pretrained.EFFICIENTNET)
    presets = PRESETS
    starts = pretrained.STARTS
    perfect = 1.0
    learning_power = 0.3  # accuracy on MNIST from one epoch to thirteen
    shifts = SHIFTS

    def recognizes(self, source: str) -> bool:
        from shoestring.tasks.images import data

        return data.recognizes(source)

    def load(self, recipe: Recipe, progress: Progress) -> Dataset:
        from shoestring.tasks.images import data

        return data.load(recipe.source, ImageOptions(**recipe.options), progress)

    def load_for(self, source: str, facts: Plain, options: Plain, progress: Progress) -> Examples:
        from shoestring.tasks.images import data

        return data.load_for(source, facts, ImageOptions(**options), progress)

    def complete(self, recipe: Recipe, dataset: Dataset, seconds: float | None) -> Recipe:
        return defaults.completed(recipe, dataset, seconds)

    def space(self, recipe: Recipe, dataset: Dataset) -> Sequence[Range]:
        return space.ranges(recipe, dataset)

    def candidates(
        self, recipe: Recipe, dataset: Dataset, seconds: float | None
    ) -> Sequence[Candidate]:
        return sizes.candidates(recipe, dataset, seconds)

    def rounded(self, options: Plain) -> Plain | None:
        return None

    def probe(self, recipe: Recipe, dataset: Dataset) -> Probe | None:
        return sizes.probe(recipe, dataset)

    def planned(self, size: Size, options: Any) -> Workload:
        return planning.planned(size, options)

    def network(self, kind: str) -> Network:
        if kind == voting.KIND:
            from shoestring.tasks.images.ensemble import EnsembleNetwork

            return EnsembleNetwork()
        from shoestring.tasks.images.model import ImageNetwork

        return ImageNetwork(kind)

    def pretrained(self, words: str) -> Plain:
        return pretrained.pretrained(words)

    def feed(self, examples: Examples, facts: Plain, device: str) -> Feed:
        from shoestring.tasks.images.data import ImageExamples
        from shoestring.tasks.images.feed import ImageFeed

        assert isinstance(examples, ImageExamples)
        return ImageFeed(examples, facts, device)

    def quality(self, network: Network, model: torch.nn.Module, feed: Feed) -> Quality:
        from shoestring.tasks.images.feed import looked

        return looked(network, model, feed)

    def augment(self, batch: Batch, draws: Draws, options: Plain) -> Batch:
        from shoestring.tasks.images.augment import augment

        return augment(batch, draws, options)

    def gather(
        self, run: Run, options: Plain, open_bundle: Callable[[str], Answering], budget: Budget
    ) -> tuple[Plain, tuple[Finding, ...]]:
        return options, ()

    def augmented(
        self, feed: Feed, options: Plain, draws: Callable[[int, int, torch.Tensor], Draws]
    ) -> Feed:
        return feed

    def augment_options(self) -> Plain:
        return defaults.AUGMENT

    def unlike(self, facts: Plain, files: Mapping[str, bytes], run: Run) -> str:
        from shoestring.tasks.images import teaching

        return teaching.unlike(facts, run)

    def taught(
        self,
        run: Run,
        lesson: Lesson,
        assembled: Callable[[Plain, Mapping[str, bytes]], Predictor],
        budget: Budget,
    ) -> Learned:
        from shoestring.tasks.images import teaching

        return teaching.taught(run, lesson)

    def remembers(self, key: str) -> bool:
        from shoestring.tasks.images import answered

        return answered.there(key)

    def learning(self, feed: Feed, key: str, alone: bool) -> Feed:
        from shoestring.tasks.images import answered
        from shoestring.tasks.images.feed import ImageFeed

        assert isinstance(feed, ImageFeed)
        return feed.joined(key) if answered.has_pictures(key) else feed

    def tutor(
        self, run: Run, opened: Answering | None, key: str
    ) -> Callable[[Batch], torch.Tensor] | None:
        from shoestring.tasks.images import tutoring

        return tutoring.tutor(run, opened, key)

    def seen(self, inputs: Any, facts: Plain, theirs: Plain) -> Any:
        from shoestring.tasks.images import tutoring

        return tutoring.seen(inputs, facts, theirs)

    def predictor(self, manifest: Plain, files: Mapping[str, Any]) -> Predictor:
        from shoestring.tasks.images.predict import ImagePredictor

        return ImagePredictor(manifest, files)

    def scores(self, outcomes: Outcomes, facts: Plain) -> Scores:
        from shoestring.tasks.images.predict import scores

        return scores(outcomes, facts)

    def statistics(self, outcomes: Outcomes) -> Statistics | None:
        return None  # accuracy is the share of `right`

    def paired_tests(self, before: Outcomes, after: Outcomes) -> Sequence[PairedTest]:
        return ()  # McNemar's is for every metric of this kind

    def told(self, outcomes: Outcomes, facts: Plain) -> Sequence[str]:
        labels: Sequence[str] = facts["labels"]
        return [labels[i] for i in outcomes["probabilities"].argmax(axis=1).tolist()]

    def truths(self, examples: Examples, facts: Plain) -> Sequence[str]:
        from shoestring.tasks.images.data import ImageExamples

        assert isinstance(examples, ImageExamples)
        labels: Sequence[str] = facts["labels"]
        return [labels[i] for i in examples.labels.tolist()]

    def parse_inputs(self, words: Sequence[str]) -> Iterable[Any]:
        if not words:
            raise UserError("there is nothing to answer; name pictures, or folders of them")
        return list(words)

    def shifted(self, examples: Examples, kind: str, severity: int) -> Examples:
        from shoestring.tasks.images.examples import ImageExamples
        from shoestring.tasks.images.shift import shifted

        assert isinstance(examples, ImageExamples)
        return shifted(examples, kind, severity)

    def render(self, answer: Plain) -> str:
        """Tab-separated: input, label, probability, and further labels with theirs. A rejected
        input has the label none and the probability of the best."""
        name = printable(str(answer["input"]))
        if "error" in answer:
            return f"{name}\terror\t{printable(answer['error'])}"
        first = f"{answer['label']}\t{answer['probability']:.4f}"
        others = [f"{t['label']}\t{t['probability']:.4f}" for t in answer["top"][1:]]
        return "\t".join([name, first, *others])

    def draw(self, predictor: Predictor, examples: Examples, folder: Path) -> None:
        pass  # the tables of the receipt say it all

    def exhibits(
        self,
        outcomes: Outcomes,
        facts: Plain,
        examples: Examples | None,
        predictor: Predictor | None,
    ) -> Sequence[Exhibit]:
        from shoestring.tasks.images.examples import ImageExamples
        from shoestring.tasks.images.exhibits import exhibits

        assert examples is None or isinstance(examples, ImageExamples)
        return exhibits(outcomes, facts, examples)

    def describe(self, facts: Plain) -> Description:
        labels: Sequence[str] = facts.get("labels", ())
        listed = ", ".join(map(code, labels[:_MOST_LABELS]))
        more = f" and {len(labels) - _MOST_LABELS} more" if len(labels) > _MOST_LABELS else ""
        said = [
            f"One of {len(labels)} labels: {listed}{more}. It knows no other answer: an input of",
            "another kind gets one of these labels too, unless a confidence is asked for",
            "(`--reject 0.9`).",
            "",
        ]
        for name in ("size", "channels", "resize"):
            value = facts.get(name, "")
            words = " x ".join(map(str, value)) if isinstance(value, list) else str(value)
            said += [f"- {name}: {words}"] if name in facts else []
        return Description(
            tuple(said if labels else said[4:]),
            command="shoestring predict FOLDER INPUT ...",
            call='shoestring.load("FOLDER").predict("INPUT")',
        )


TASK = Images()
