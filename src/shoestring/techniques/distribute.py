"""distribute: trains by several processes side by side, on cores or devices of this machine."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Literal

from shoestring import plugins
from shoestring.core.budget import Budget, Meter
from shoestring.core.errors import UserError
from shoestring.core.layout import Layout
from shoestring.core.listener import Listener
from shoestring.core.protocols import Dataset
from shoestring.core.run import Run
from shoestring.core.techniques import Interrupting, Placer

if TYPE_CHECKING:
    import torch

USUAL = 2  # processes, where nobody says


@dataclass(frozen=True)
class Distribute(Placer):
    """The fit is done by several processes, each with its own core or device: each takes its part
    of every batch (strategy=data), of every weight as well (fsdp), of every large matrix (tensor),
    or some of the layers (pipeline). A mesh joins data with tensor or fsdp. What comes of it is a
    run like any other; it goes on with another number of workers where it was stopped.

    Helps where a machine has several devices, or more cores than one process can use; fsdp, tensor
    and pipeline where a model does not fit one device, which nothing here is large enough to need.
    Costs the start of the processes (seconds, told on the receipt), and what they say to each
    other: with data about twice the gradients a step. A batch stays as large as the recipe says and
    is divided; batch=each gives each process one of that size, and rate says whether the learning
    rate follows. Batch normalisation sees the part of a batch that its process has.

    On a cluster workers=2-8 lets them come and go in the middle; else their number is fixed. The
    same words work under torchrun, which then starts the processes. Dropout draws differ from those
    of one process; all else is the same fit.

    Source: Li et al. 2020, "PyTorch Distributed"; Zhao et al. 2023, "PyTorch FSDP"; Shoeybi et al.
    2019, "Megatron-LM" (tensor); Narayanan et al. 2021 (pipeline, 1F1B); Goyal et al. 2017,
    "Accurate, large minibatch SGD" (batch and rate).
    """

    workers: str | None = field(
        default=None, metadata={"help": "processes; none: 2, or as many as the mesh has"}
    )
    strategy: Literal["data", "fsdp", "tensor", "pipeline"] = field(
        default="data", metadata={"help": "what is divided: data, fsdp, tensor, pipeline"}
    )
    mesh: str | None = field(
        default=None, metadata={"help": "several ways at once: data2xtensor2, data2xfsdp2"}
    )
    batch: Literal["global", "each"] = field(
        default="global", metadata={"help": "whose the batch size is: global, each process's"}
    )
    rate: Literal["same", "linear", "root"] = field(
        default="same", metadata={"help": "batch=each: how the rate grows with the processes"}
    )
    accumulate: int | None = field(
        default=None, metadata={"help": "batches whose gradients make one step; none: as it is"}
    )
    microbatches: int | None = field(
        default=None, metadata={"help": "pipeline: parts of a batch; none: twice the workers"}
    )
    oversubscribe: bool = field(
        default=False, metadata={"help": "more processes than cores or devices: they share"}
    )

    def __post_init__(self) -> None:
        if self.rate != "same" and self.batch == "global":
            raise ValueError("rate is of batch=each; a batch that stays as large keeps its rate")
        for name in ("accumulate", "microbatches"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"{name} is a number from 1, not {value}")
        if self.mesh is not None and self.strategy != "data":
            raise ValueError("a mesh says what is divided; leave strategy out")
        if self.elastic and (self.mesh is not None or self.strategy != "data"):
            raise ValueError(
                "workers that come and go have the whole model each: leave strategy and mesh out"
            )
        pipeline = self.strategy == "pipeline" if self.elastic else self.layout.pipeline > 1
        if self.microbatches is not None and not pipeline:
            raise ValueError("microbatches are of strategy=pipeline")

    @property
    def elastic(self) -> bool:
        """Whether workers may come and go: `2-8`."""
        low, dash, high = (self.workers or "").partition("-")
        if dash and not (low.isdecimal() and high.isdecimal() and 1 <= int(low) <= int(high)):
            raise ValueError(f"workers is written like 2, or 2-8 on a cluster, not {self.workers}")
        return bool(dash)

    @property
    def layout(self) -> Layout:
        """How the work is divided, by the most workers where they come and go. ValueError where
        workers and mesh contradict each other."""
        words = self.workers
        if self.elastic:
            words = str(words).partition("-")[2]
        if words is not None and not (words.isdecimal() and int(words) >= 1):
            raise ValueError(f"workers is a number from 1, or like 2-8 on a cluster, not {words}")
        if self.mesh is None:
            return Layout(**{self.strategy: int(words or USUAL)})
        layout = Layout.parsed(self.mesh)
        if words is not None and int(words) != layout.workers:
            raise ValueError(
                f"mesh {self.mesh} is of {layout.workers} workers, and workers={words} was said"
            )
        return layout

    def ready(self) -> None:
        from shoestring.cluster import session

        if self.elastic and session.current() is None:
            raise UserError(
                f"workers={self.workers} lets workers come and go, which takes a cluster; say "
                "--cluster auto, or one number of workers for this machine"
            )

    def apply(self, run: Run, budget: Budget) -> Run:
        if self.accumulate is not None:
            run = run.with_recipe(accumulate=self.accumulate)
        return run.with_hook(plugins.words(self))

    def settled(self, run: Run) -> Run:
        from shoestring.cluster import session
        from shoestring.engine.spread import parallel_fit

        alone = session.current() is None
        if alone:
            parallel_fit.enough(run.recipe, self.layout, self.oversubscribe)
        recipe = parallel_fit.scaled(run.recipe, self.layout, self.batch, self.rate)
        if alone:
            recipe = parallel_fit.threaded(recipe, self.layout)
        else:  # of other machines' cores nothing is known here
            recipe = replace(recipe, threads=recipe.threads or 1)
        # The recipe now holds the batch of all: a repeat must not multiply it again.
        said = plugins.words(replace(self, batch="global", rate="same"))
        return replace(run, recipe=recipe).with_hook(said)

    def fitted(
        self,
        run: Run,
        dataset: Dataset,
        budget: Budget,
        meter: Meter,
        listener: Listener,
        interrupt: Interrupting,
        log_every: int | None,
    ) -> tuple[Run, Mapping[str, torch.Tensor]]:
        from shoestring.cluster import session
        from shoestring.engine.spread import parallel_fit

        cluster = session.current()
        if cluster is not None:
            from shoestring.cluster import train

            parallel_fit.possible(run, self.layout)
            job = parallel_fit.budgeted(run, self.layout, budget, log_every)
            job = replace(job, microbatches=self.microbatches)
            workers = train.Workers.parsed(self.workers or str(self.layout.workers))
            return train.fitted(job, workers, cluster, meter, listener, lambda: interrupt.asked)
        parallel_fit.enough(run.recipe, self.layout, self.oversubscribe)
        parallel_fit.possible(run, self.layout)
        job = parallel_fit.budgeted(run, self.layout, budget, log_every)
        job = replace(job, microbatches=self.microbatches)
        return parallel_fit.fitted(job, dataset, meter, listener, interrupt)


TECHNIQUE = Distribute
