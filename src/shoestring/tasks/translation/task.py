"""task: translation by an encoder-decoder with attention, as the engine meets it. Importing this
brings no torch."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from shoestring.core.protocols import (
    Batch,
    Dataset,
    Description,
    Draws,
    Examples,
    Feed,
    Network,
    Outcomes,
    Predictor,
    Progress,
    Quality,
    Statistics,
)
from shoestring.core.receipt import Plain, Scores
from shoestring.core.run import Recipe
from shoestring.tasks.translation.answering import AnswerOptions, Lines, rendered
from shoestring.tasks.translation.options import TranslationOptions

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
    networks = ("lstm", "transformer")

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

    def network(self, kind: str) -> Network:
        from shoestring.tasks.translation.model import TranslationNetwork

        return TranslationNetwork(kind)

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

    def augment_options(self) -> Plain:
        from shoestring.tasks.translation import defaults

        return defaults.AUGMENT

    def predictor(self, manifest: Plain, files: Mapping[str, Any]) -> Predictor:
        from shoestring.tasks.translation.predict import TranslationPredictor

        return TranslationPredictor(manifest, files)

    def scores(self, outcomes: Outcomes, facts: Plain) -> Scores:
        from shoestring.tasks.translation.scores import scores

        return scores(outcomes, facts)

    def statistics(self, outcomes: Outcomes) -> Statistics | None:
        from shoestring.tasks.translation.scores import statistics

        return statistics(outcomes)

    def parse_inputs(self, words: Sequence[str]) -> Iterable[Any]:
        return Lines(words)

    def render(self, answer: Plain) -> str:
        return rendered(answer)

    def draw(self, predictor: Predictor, examples: Examples, folder: Path) -> None:
        """Where the translation of one sentence of middling length looked."""
        from shoestring.tasks.translation.data import TranslationExamples

        assert isinstance(examples, TranslationExamples)
        some = [examples.sources[place] for place in range(min(len(examples), DRAWN_FROM))]
        fitting = [text for text in some if text.strip()]
        if fitting:
            median = sorted(fitting, key=len)[len(fitting) // 2]
            options = AnswerOptions(attention=str(folder / ATTENTION))
            list(predictor.answers([median], options))

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
