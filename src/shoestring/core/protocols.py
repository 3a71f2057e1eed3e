"""protocols: what a task and a network have to offer.

N is labels (one per picture, one per target token), B is examples, C is classes or pieces.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from shoestring.core.budget import Budget
from shoestring.core.dividing import Dividing
from shoestring.core.exhibits import Showing
from shoestring.core.quantizing import Quantizing
from shoestring.core.receipt import Finding, Plain, Scores
from shoestring.core.run import Recipe, Run
from shoestring.core.sizing import Sizing
from shoestring.core.space import Ranging
from shoestring.core.teaching import Opinion, Placed, Teaching
from shoestring.core.units import Prunable
from shoestring.core.workload import Planned

if TYPE_CHECKING:
    import numpy as np
    import torch
    from numpy.typing import NDArray

Progress = Callable[[str, int, int], None]  # what is being done, done so far, of how many
Outcomes = Mapping[str, "NDArray[Any]"]  # per-example arrays of equal first dimension
State = dict[str, Any]  # tensors and numbers by name; the fit owns and checkpoints it


def silent(what: str, done: int, total: int) -> None:
    """The Progress of whoever does not want any."""


# --- data ---------------------------------------------------------------------------------------


class Examples(Protocol):
    """One split of a data set, in a fixed order. Read from disk as needed; no torch."""

    @property
    def hashes(self) -> NDArray[np.uint64]:
        """(B,) a content hash of each example, the same on every machine and in every run."""

    @property
    def split(self) -> str:
        """train, validation or test; grading examples of test is an opening."""

    @property
    def findings(self) -> tuple[Finding, ...]:
        """What was seen while this split was read by itself; nothing is left out without one."""

    @property
    def names(self) -> Sequence[str]:
        """(B,) what a person finds each example by: a path, or the text itself."""

    def part(self, positions: NDArray[np.int64]) -> Examples:
        """The examples at these rising positions, as a split of the same name."""

    def __len__(self) -> int: ...


class Dataset(Protocol):
    """What a task made of a source: splits, what they fix, and what was found on the way."""

    fingerprint: str
    facts: Plain  # what a network and a bundle must know: labels, size, channels; or languages
    findings: tuple[Finding, ...]
    files: Mapping[str, bytes]  # kept in the run's folder: a tokenizer; often {}

    @property
    def train(self) -> Examples: ...

    @property
    def validation(self) -> Examples: ...

    def test(self) -> Examples:
        """Opens the test split; raises DataError where there is none."""


@dataclass(frozen=True)
class Batch:
    """Some examples on the device, as the fit takes them."""

    inputs: Any  # what the network reads; images: uint8 (B, H, W, C) until change_batch ends
    targets: torch.Tensor  # images: (B,) int64; translation: (B, T) pieces
    ids: torch.Tensor  # (B,) int64 position in the split: random draws are keyed by it
    size: int  # labels in it: what a mean loss is a mean over
    soft_targets: torch.Tensor | None = None  # (N, C) where a hook mixed labels
    feed: Feed | None = None  # where it was taken from, and others to mix with it can be
    taught: Opinion | None = None  # what a teacher thinks of it


class Feed(Placed, Protocol):
    """A split made ready on a device."""

    padding: float  # share of the positions in its batches that hold nothing; 0 for equal sizes

    def order(self, batch_size: int, seed: int, epoch: int) -> Sequence[torch.Tensor]:
        """The batches of an epoch, each the ids in it. Depends on nothing but the arguments."""

    def batch(self, ids: torch.Tensor) -> Batch: ...

    def prepare(self, inputs: Any) -> Any:
        """What every batch goes through last before the network: uint8 pixels to floats."""

    def __len__(self) -> int: ...


class Draws(Protocol):
    """Random numbers keyed by (seed, epoch, example): the same example draws the same numbers
    whichever batch, rank or resumed process it falls into."""

    def uniform(self, count: int) -> torch.Tensor:
        """(B, count) float32 in [0, 1), fresh at each call."""


@dataclass(frozen=True)
class Quality:
    """A quick look at a model in the middle of a fit."""

    quality: float
    loss: float
    examples: int
    noise: float = 0.0  # below it, of two looks the one of the lower loss is the better


@dataclass(frozen=True)
class Statistics:
    """Numbers of each example whose sums over examples decide a metric."""

    rows_BS: NDArray[np.float64]
    metric: Callable[[NDArray[np.float64]], NDArray[np.float64]]  # (R, S) sums to (R,) qualities


@dataclass(frozen=True)
class PairedTest:
    """Whether two sets of answers to the same examples differ, by one test."""

    name: str
    p_value: float  # of no difference, two-sided
    signature: str = ""  # what is needed to repeat it


@dataclass(frozen=True)
class Description:
    """What a model card says of the models of a task."""

    answers: tuple[str, ...]  # lines of markdown: what is answered, to what
    command: str  # how a shell asks the bundle in FOLDER
    call: str  # how Python asks it


@dataclass(frozen=True)
class Donor:
    """Weights of another model, and what must be known of them, for a fit to begin with."""

    tensors: Mapping[str, torch.Tensor]
    facts: Plain  # of the data that it learned from; empty where they are not known
    files: Mapping[str, bytes]  # what that data brought along: a tokenizer
    folded: bool = False  # whether its normalisations hold no statistics of their own any more


@dataclass(frozen=True)
class Aligned:
    """A donor's weights in the shapes of a model that is about to learn."""

    tensors: Mapping[str, torch.Tensor]  # by the model's names; others than its own shapes may be
    notes: tuple[str, ...] = ()  # what was made to fit: "embedding.weight: 212 of 300 rows"
    own: tuple[str, ...] = ()  # names of weights that begin from nothing, whatever the donor has


class Answering(Protocol):
    """An opened bundle, as far as a task may use one of another run."""

    @property
    def manifest(self) -> Plain: ...

    def answers(self, inputs: Any, options: Any = None) -> Iterator[Plain]: ...


# --- the two plugs of a task --------------------------------------------------------------------


class Predictor(Protocol):
    """Answers from a bundle. No torch."""

    def predict(self, inputs: Any, options: Any) -> list[Plain]:
        """One plain answer an input, in order; a broken one gives {"error": ...} in its place."""

    def outcomes(self, examples: Examples, progress: Progress) -> Outcomes:
        """Answers and truths of a whole split, for scores and paired comparison."""

    def answers(self, inputs: Any, options: Any) -> Iterator[Plain]:
        """As predict, one by one and with flat memory however many inputs there are."""

    def golden(
        self, inputs: Mapping[str, NDArray[Any]] | None = None
    ) -> tuple[Mapping[str, NDArray[Any]], Mapping[str, NDArray[Any]]]:
        """Inputs (fixed ones, or those that an older bundle was stored with) and what the graphs
        give for them, for golden.npz."""

    def latency_inputs(self) -> Mapping[str, Callable[[], object]]:
        """What is timed, by name: "model" one example, "file" from encoded, "batch" 64 at once."""


class Network(Quantizing, Prunable, Dividing, Protocol):
    """One kind of model of a task. Everything about tensors that the engine may need."""

    kind: str
    settles: bool  # whether `settled` decides anything, and so needs seconds of a budget

    def architecture(self, options: Plain, facts: Plain) -> Plain:
        """Every option written out, from the few that were given; checks them."""

    def build(self, architecture: Plain) -> torch.nn.Module: ...

    def logits(
        self, model: torch.nn.Module, inputs: Any, targets: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """(N, C) logits and their (N,) labels, padding removed."""

    def parts(self, model: torch.nn.Module) -> Sequence[tuple[str, torch.nn.Module]]:
        """The model in order from input to output, for freezing and rates by depth."""

    def donor(self, words: str) -> Donor:
        """The weights that `Task.pretrained` names so; the kind is the one that it gave."""

    def unpacked(self, manifest: Plain, files: Mapping[str, bytes]) -> Donor:
        """The weights of a bundle of this kind, by the names that a model of it has."""

    def aligned(self, model: torch.nn.Module, donor: Donor, run: Run) -> Aligned:
        """A donor's weights as this model can take them: names and shapes that it knows how to
        change are changed. The run is the one that is about to begin."""

    def orthogonal(self, model: torch.nn.Module) -> Mapping[torch.nn.Parameter, int]:
        """Weights that Muon may step, and how many matrices lie stacked in each."""

    def macs(self, architecture: Plain) -> int:
        """Multiply-accumulates for one example at the model's input size."""

    def settled(
        self,
        run: Run,
        examples: Examples,
        opened: Callable[[Run], tuple[Mapping[str, bytes], Predictor]],
        seconds: float,
        grading: float,
    ) -> tuple[Run, str]:
        """Called between fit and export: the run with what is decided by measuring on validation
        in these seconds, and why. `opened` makes and opens a bundle; `grading` seconds are left."""

    def graphs(self, model: torch.nn.Module, run: Run) -> Mapping[str, bytes]:
        """The files that ship, by name: ONNX graphs, and weights that they share."""

    def agreement(self, model: torch.nn.Module, predictor: Predictor, examples: Examples) -> str:
        """Runs the float32 model and the bundle over the examples; returns one sentence with the
        largest difference, raises BundleError where they disagree by more than stated."""


class Task(Showing, Teaching, Ranging, Sizing, Planned, Protocol):
    """A kind of problem. Importing one brings no torch."""

    name: str
    metric: str
    options: type[Any]  # frozen dataclass: what a person may say of data and training
    answer_options: type[Any]  # frozen dataclass: what a person may say to predict
    networks: tuple[str, ...]  # kinds; the first is the default
    starts: tuple[str, ...]  # names of weights from elsewhere that `pretrained` knows, as written
    perfect: float  # the quality of answers without a fault: 1 of a share, 100 of BLEU
    learning_power: float  # by which what is missing falls with the seconds; a judgement
    shifts: tuple[str, ...]  # the kinds that `shifted` knows

    def recognizes(self, source: str) -> bool:
        """Whether this source looks like data of this task."""

    def load(self, recipe: Recipe, progress: Progress) -> Dataset:
        """Reads, checks, splits and caches. `recipe.options` are this task's options."""

    def load_for(self, source: str, facts: Plain, options: Plain, progress: Progress) -> Examples:
        """Examples to grade a bundle on: `mnist:test`, a folder; as its facts and labels say."""

    def complete(self, recipe: Recipe, dataset: Dataset, seconds: float | None) -> Recipe:
        """Fills in what was left open (network, batch, rate, hooks) by data and seconds at hand."""

    def network(self, kind: str) -> Network:
        """Imports torch."""

    def pretrained(self, words: str) -> Plain:
        """The network, with its options, whose weights these words name. No torch. UserError with
        `starts` for words that name none, MissingExtra where a package is needed."""

    def feed(self, examples: Examples, facts: Plain, device: str) -> Feed:
        """Imports torch."""

    def quality(self, network: Network, model: torch.nn.Module, feed: Feed) -> Quality:
        """A quick look at a model on the validation split."""

    def augment(self, batch: Batch, draws: Draws, options: Plain) -> Batch:
        """Label-keeping changes of a training batch."""

    def gather(
        self, run: Run, options: Plain, open_bundle: Callable[[str], Answering], budget: Budget
    ) -> tuple[Plain, tuple[Finding, ...]]:
        """Makes what `augment` with these options needs beside the data, once before the fit: the
        options with what was made written in, and what is to be said of it."""

    def augmented(
        self, feed: Feed, options: Plain, draws: Callable[[int, int, torch.Tensor], Draws]
    ) -> Feed:
        """The training feed as `augment` with these options wants it: with what was gathered, and
        batches cut to what the examples will become."""

    def augment_options(self) -> Plain:
        """The options that `augment` understands, with their defaults."""

    def predictor(self, manifest: Plain, files: Mapping[str, Any]) -> Predictor:
        """`files` maps a bundle's file names to onnxruntime sessions or bytes. No torch."""

    def scores(self, outcomes: Outcomes, facts: Plain) -> Scores:
        """Quality, interval, loss and details from stored outcomes. No torch."""

    def statistics(self, outcomes: Outcomes) -> Statistics | None:
        """What the metric can be resampled from; None where it is the share of examples that are
        `right`."""

    def paired_tests(self, before: Outcomes, after: Outcomes) -> Sequence[PairedTest]:
        """What the field tests a difference of this metric with, on outcomes of the same examples
        in the same order; nothing where the metric is the share of examples that are `right`."""

    def told(self, outcomes: Outcomes, facts: Plain) -> Sequence[str]:
        """(B,) the answer to each example, for a person."""

    def truths(self, examples: Examples, facts: Plain) -> Sequence[str]:
        """(B,) what each answer should have been."""

    def parse_inputs(self, words: Sequence[str]) -> Iterable[Any]:
        """What the words after `predict BUNDLE` stand for; standard input where there are none."""

    def shifted(self, examples: Examples, kind: str, severity: int) -> Examples:
        """The examples, inputs corrupted in one of `shifts`, alike each time; severity 1 to 5."""

    def render(self, answer: Plain) -> str:
        """One answer as a line of text for a terminal."""

    def describe(self, facts: Plain) -> Description:
        """What the card of a bundle with these facts says of its answers."""
