"""model: the networks for translation as the engine meets them.

Shapes: B sentences, T target positions, V pieces, N target pieces without padding.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import cast

import torch
from torch import nn

from shoestring.core.dividing import Matrix, Stage
from shoestring.core.protocols import Aligned, Donor, Examples, Predictor
from shoestring.core.receipt import Plain
from shoestring.core.run import Run
from shoestring.core.units import Kept, UnitGroup
from shoestring.tasks.translation import architecture as sizes
from shoestring.tasks.translation import divide, units
from shoestring.tasks.translation.feed import Pairs
from shoestring.tasks.translation.lstm import LstmTranslator
from shoestring.tasks.translation.special import PAD
from shoestring.tasks.translation.transformer import TransformerTranslator

Translator = LstmTranslator | TransformerTranslator


class TranslationNetwork:
    """An encoder-decoder, teacher-forced in training."""

    settles = True
    quantizations: tuple[str, ...] = ("dynamic",)

    def __init__(self, kind: str) -> None:
        self.kind = kind

    def architecture(self, options: Plain, facts: Plain) -> Plain:
        """{"kind", "pieces", and every option of the kind}."""
        return sizes.expand({"kind": self.kind, **options}, facts)

    def build(self, architecture: Plain) -> Translator:
        if architecture["kind"] == "lstm":
            return LstmTranslator(architecture)
        return TransformerTranslator(architecture)

    def logits(
        self, model: nn.Module, inputs: Pairs, targets: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """(N, V) and (N,): padding leaves before the output matrix, which is most of the work."""
        flat = targets.T.flatten()
        rows_N = (flat != PAD).nonzero().squeeze(1)
        logits_NV = model(inputs.source_BS, inputs.lengths_B, inputs.target_in_BT, rows_N)
        return logits_NV, flat.index_select(0, rows_N)

    def parts(self, model: nn.Module) -> Sequence[tuple[str, nn.Module]]:
        """Embeddings, encoder, decoder, output; a shared matrix belongs to the first."""
        names = (
            "embedding",
            "target_embedding",
            "encoder",
            "encoder_norm",
            "decoder",
            "decoder_norm",
            "output",
        )
        found = dict(model.named_children())
        return [(name, found[name]) for name in names if name in found]

    def blocks(self, model: nn.Module) -> Sequence[nn.Module]:
        return divide.blocks(cast(Translator, model))

    def matrices(self, model: nn.Module, ways: int) -> Mapping[str, Matrix]:
        return divide.matrices(cast(Translator, model), ways)

    def stages(self, model: nn.Module, architecture: Plain, count: int) -> Sequence[Stage]:
        return divide.stages(cast(Translator, model), architecture, count)

    def donor(self, words: str) -> Donor:
        from shoestring.tasks.translation import marian

        path = marian.folder(words)
        names = (marian.CONFIG, marian.PIECES)
        files = {name: (path / name).read_bytes() for name in names}
        return Donor(marian.tensors(path), {}, files)

    def unpacked(self, manifest: Plain, files: Mapping[str, bytes]) -> Donor:
        from shoestring.tasks.translation.transfer import unpacked

        facts = manifest["facts"]
        architecture = self.architecture(manifest.get("options", {}), facts)
        return unpacked(lambda: self.build(architecture), files, facts)

    def aligned(self, model: nn.Module, donor: Donor, run: Run) -> Aligned:
        from shoestring.tasks.translation.transfer import aligned

        return aligned(model, donor, run)

    def orthogonal(self, model: nn.Module) -> Mapping[nn.Parameter, int]:
        """Every matrix but the embeddings and the output; gates of an LSTM, and query, key and
        value lie stacked."""
        tables = {id(m.weight) for m in model.modules() if isinstance(m, nn.Embedding)}
        tables.add(id(cast(Translator, model).output.weight))
        return {
            p: sizes.stacked(name)
            for name, p in model.named_parameters()
            if p.ndim == 2 and p.requires_grad and id(p) not in tables
        }

    def macs(self, architecture: Plain) -> int:
        return sizes.macs(architecture)

    def groups(self, architecture: Plain) -> Sequence[UnitGroup]:
        return units.groups(architecture)

    def thinned(self, architecture: Plain, kept: Kept) -> Plain:
        return units.thinned(architecture, kept)

    def settled(
        self,
        run: Run,
        examples: Examples,
        opened: Callable[[Run], tuple[Mapping[str, bytes], Predictor]],
        seconds: float,
        grading: float,
    ) -> tuple[Run, str]:
        from shoestring.tasks.translation.settle import settled

        return settled(run, examples, opened, seconds, grading)

    def calibrated(self, model: nn.Module, run: Run, examples: Examples, wanted: Plain) -> Plain:
        """Ranges are known (states, tanh) or looked up in each call: nothing is measured."""
        from shoestring.tasks.translation.quantize import checked

        return checked(wanted)

    def graphs(self, model: nn.Module, run: Run) -> Mapping[str, bytes]:
        from shoestring.tasks.translation.graph import to_onnx

        return to_onnx(cast(Translator, model), run)

    def agreement(self, model: nn.Module, predictor: Predictor, examples: Examples) -> str:
        from shoestring.tasks.translation.agreement import agreement

        return agreement(model, predictor, examples)
