"""task: translation by an encoder-decoder with attention, as the engine meets it. Importing this
brings no torch."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from shoestring.core import voting
from shoestring.core.budget import Budget
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
    silent,
)
from shoestring.core.receipt import Finding, Plain, Scores
from shoestring.core.run import Recipe, Run
from shoestring.core.sizing import Candidate, Probe
from shoestring.core.space import Range
from shoestring.core.teaching import Learned, Lesson
from shoestring.core.workload import Size, Workload
from shoestring.tasks.translation import planning, pretrained, space
from shoestring.tasks.translation.answering import AnswerOptions, Lines, rendered
from shoestring.tasks.translation.architecture import KINDS, PRESETS
from shoestring.tasks.translation.options import SHIFTS, TranslationOptions

if TYPE_CHECKING:
    import torch

ATTENTION = "attention.png"
DRAWN_FROM = 25  # examples that the one for the picture is chosen from


class Translation:
    """Sentences of one language in, of another one out."""

    name = "translation"
    metric = "BLEU"
    options: type[Any] = TranslationOptions
    answer_options: type[Any] = AnswerOptions
    plan_options: type[Any] = planning.PlanOptions
    networks = KINDS
    presets = PRESETS
    starts = pretrained.STARTS
    perfect = 100.0
    learning_power = 0.12  # BLEU of Multi30k from 45 s to 30 minutes, and from step 429 to 2,574
    shifts = SHIFTS

    def recognizes(self, source: str) -> bool:
        from shoestring.tasks.translation import data

        return data.recognizes(source)

    def load(self, recipe: Recipe, progress: Progress) -> Dataset:
        from shoestring.tasks.translation import data

        return data.load(recipe.source, TranslationOptions(**recipe.options), progress)

    def load_for(self, source: str, facts: Plain, options: Plain, progress: Progress) -> Examples:
        from shoestring.tasks.translation import data

        return data.load_for(source, facts, TranslationOptions(**options), progress)

    def complete(self, recipe: Recipe, dataset: Dataset, seconds: float | None) -> Recipe:
        from shoestring.tasks.translation import defaults

        return defaults.completed(recipe, dataset, seconds)

    def space(self, recipe: Recipe, dataset: Dataset) -> Sequence[Range]:
        return space.ranges(recipe, dataset)

    def candidates(
        self, recipe: Recipe, dataset: Dataset, seconds: float | None
    ) -> Sequence[Candidate]:
        from shoestring.tasks.translation import sizes

        return sizes.candidates(recipe, dataset, seconds)

    def rounded(self, options: Plain) -> Plain | None:
        return None if options.get("ship") == "float32" else {**options, "ship": "int8"}

    def probe(self, recipe: Recipe, dataset: Dataset) -> Probe | None:
        return None  # nothing is installed that knows a pair of languages

    def planned(self, size: Size, options: Any) -> Workload:
        return planning.planned(size, options)

    def network(self, kind: str) -> Network:
        if kind == voting.KIND:
            from shoestring.tasks.translation.ensemble import EnsembleNetwork

            return EnsembleNetwork()
        from shoestring.tasks.translation.model import TranslationNetwork

        return TranslationNetwork(kind)

    def pretrained(self, words: str) -> Plain:
        return pretrained.pretrained(words)

    def feed(self, examples: Examples, facts: Plain, device: str) -> Feed:
        from shoestring.tasks.translation.data import TranslationExamples
        from shoestring.tasks.translation.feed import TranslationFeed

        assert isinstance(examples, TranslationExamples)
        return TranslationFeed(examples, facts, device)

    def quality(self, network: Network, model: torch.nn.Module, feed: Feed) -> Quality:
        from shoestring.tasks.translation.quality import looked

        return looked(network, model, feed)

    def augment(self, batch: Batch, draws: Draws, options: Plain) -> Batch:
        from shoestring.tasks.translation.augment import augment

        return augment(batch, draws, options)

    def gather(
        self, run: Run, options: Plain, open_bundle: Callable[[str], Answering], budget: Budget
    ) -> tuple[Plain, tuple[Finding, ...]]:
        if options["back_translate"] is None:
            return options, ()
        from shoestring.tasks.translation import backtranslate, data

        said = TranslationOptions(**run.recipe.options)
        dataset = data.load(run.recipe.source, said, silent)
        made = backtranslate.made(options, dataset, said.longest_characters, open_bundle, budget)
        return {**options, "synthetic": made.key}, made.findings

    def augmented(
        self, feed: Feed, options: Plain, draws: Callable[[int, int, torch.Tensor], Draws]
    ) -> Feed:
        from shoestring.tasks.translation.feed import TranslationFeed

        assert isinstance(feed, TranslationFeed)
        return feed.augmented(options, draws)

    def augment_options(self) -> Plain:
        from shoestring.tasks.translation import defaults

        return defaults.AUGMENT

    def unlike(self, facts: Plain, files: Mapping[str, bytes], run: Run) -> str:
        from shoestring.tasks.translation import teaching

        return teaching.unlike(facts, files, run)

    def taught(
        self,
        run: Run,
        lesson: Lesson,
        assembled: Callable[[Plain, Mapping[str, bytes]], Predictor],
        budget: Budget,
    ) -> Learned:
        from shoestring.tasks.translation import teaching

        return teaching.taught(run, lesson, assembled, budget)

    def remembers(self, key: str) -> bool:
        from shoestring.tasks.translation import synthetic

        return synthetic.there(key)

    def learning(self, feed: Feed, key: str, alone: bool) -> Feed:
        from shoestring.tasks.translation.feed import TranslationFeed

        assert isinstance(feed, TranslationFeed)
        return feed.joined(key, alone)

    def tutor(
        self, run: Run, opened: Answering | None, key: str
    ) -> Callable[[Batch], torch.Tensor] | None:
        return None  # a bundle translates; what it would think of a given piece it does not say

    def seen(self, inputs: Any, facts: Plain, theirs: Plain) -> Any:
        return inputs

    def predictor(self, manifest: Plain, files: Mapping[str, Any]) -> Predictor:
        from shoestring.tasks.translation.predict import TranslationPredictor

        return TranslationPredictor(manifest, files)

    def scores(self, outcomes: Outcomes, facts: Plain) -> Scores:
        from shoestring.tasks.translation.scores import scores

        return scores(outcomes, facts)

    def statistics(self, outcomes: Outcomes) -> Statistics | None:
        from shoestring.tasks.translation.scores import statistics

        return statistics(outcomes)

    def paired_tests(self, before: Outcomes, after: Outcomes) -> Sequence[PairedTest]:
        from shoestring.tasks.translation.paired import paired_tests

        return paired_tests(before, after)

    def told(self, outcomes: Outcomes, facts: Plain) -> Sequence[str]:
        return [str(text) for text in outcomes["hypotheses"].tolist()]

    def truths(self, examples: Examples, facts: Plain) -> Sequence[str]:
        from shoestring.tasks.translation.examples import TranslationExamples

        assert isinstance(examples, TranslationExamples)
        return examples.targets

    def parse_inputs(self, words: Sequence[str]) -> Iterable[Any]:
        return Lines(words)

    def shifted(self, examples: Examples, kind: str, severity: int) -> Examples:
        from shoestring.tasks.translation.examples import TranslationExamples
        from shoestring.tasks.translation.shift import shifted

        assert isinstance(examples, TranslationExamples)
        return shifted(examples, kind, severity)

    def render(self, answer: Plain) -> str:
        return rendered(answer)

    def draw(self, predictor: Predictor, examples: Examples, folder: Path) -> None:
        """Where the translation of one sentence of middling length looked."""
        from shoestring.tasks.translation.asked import MOST_PIECES
        from shoestring.tasks.translation.data import TranslationExamples

        assert isinstance(examples, TranslationExamples)
        some = [examples.sources[place] for place in range(min(len(examples), DRAWN_FROM))]
        # No text has more pieces than bytes, but for the first blank and the end.
        fitting = [text for text in some if text.strip() and len(text.encode()) < MOST_PIECES - 2]
        if fitting:
            median = sorted(fitting, key=len)[len(fitting) // 2]
            options = AnswerOptions(attention=str(folder / ATTENTION))
            list(predictor.answers([median], options))

    def exhibits(
        self,
        outcomes: Outcomes,
        facts: Plain,
        examples: Examples | None,
        predictor: Predictor | None,
    ) -> Sequence[Exhibit]:
        from shoestring.tasks.translation.examples import TranslationExamples
        from shoestring.tasks.translation.exhibits import exhibits
        from shoestring.tasks.translation.predict import TranslationPredictor

        assert examples is None or isinstance(examples, TranslationExamples)
        assert predictor is None or isinstance(predictor, TranslationPredictor)
        return exhibits(outcomes, examples, predictor)

    def describe(self, facts: Plain) -> Description:
        source, target = facts.get("source", "?"), facts.get("target", "?")
        return Description(
            answers=(
                f"Sentences of `{target}` for sentences of `{source}`, one line each. It answers",
                "any text, also of other languages and subjects than it was trained on, and then",
                "badly; names and figures deserve a second look.",
                "",
                f"- vocabulary: {facts.get('pieces', 0):,} pieces, for both languages",
            ),
            command='echo "A sentence." | shoestring predict FOLDER',
            call='shoestring.load("FOLDER").predict(["A sentence."])',
        )


TASK = Translation()
