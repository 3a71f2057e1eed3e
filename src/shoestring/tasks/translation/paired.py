"""paired: whether two translators differ, by sacreBLEU's own paired tests.

Shapes: B sentences, S statistics of each.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shoestring.core.errors import UserError
from shoestring.core.protocols import Outcomes, PairedTest
from shoestring.tasks.translation.scores import BLEU_PARTS

NAMES = {
    "bs": "paired bootstrap (Koehn 2004)",
    "ar": "approximate randomization (Riezler & Maxwell 2005)",
}


def paired_tests(before: Outcomes, after: Outcomes) -> Sequence[PairedTest]:
    """Paired bootstrap and paired approximate randomization of BLEU, with sacreBLEU's numbers of
    samples and its seed. Of sentences it needs the statistics alone, which outcomes hold.

    sacreBLEU counts no tie with what was seen, so that it is sure of a difference where there is
    none, or where one or two sentences differ. No p-value here is below what is possible: of the
    2^D ways to exchange D sentences at least two are as far apart as what was seen.
    """
    from sacrebleu.metrics.bleu import BLEU
    from sacrebleu.significance import PairedTest as Test

    class Counted(BLEU):
        """BLEU of sentences whose statistics were counted already: they come in their place."""

        def _extract_corpus_statistics(self, hypotheses: Any, references: Any) -> Any:
            return hypotheses

    found = []
    systems: Any = [("before", _rows(before)), ("after", _rows(after))]
    differing = int((systems[0][1] != systems[1][1]).any(axis=1).sum())
    least = {"bs": float(differing == 0), "ar": min(1.0, 2.0 ** (1 - differing))}
    for kind, name in NAMES.items():
        metric = Counted()
        metric.num_refs = 1  # sacreBLEU sets it when it sees references
        signatures, results = Test(systems, {"BLEU": metric}, None, test_type=kind, n_jobs=1)()
        result: Any = results["BLEU"][1]
        sampled = {"bs": "bootstrap resamples", "ar": "random exchanges"}[kind]
        count = int(signatures["BLEU"].info[kind])
        p_value = max(float(result.p_value), least[kind])
        found.append(PairedTest(name, p_value, f"sacreBLEU, {count:,} {sampled}"))
    return found


def _rows(outcomes: Outcomes) -> NDArray[np.int64]:
    """In the order of sacreBLEU: both lengths, matches and totals of each order."""
    counts, totals, lengths = BLEU_PARTS
    for name in BLEU_PARTS:
        if name not in outcomes:
            raise UserError(f"the outcomes hold no {name!r}; grade the run again")
    parts = [outcomes[lengths], outcomes[counts], outcomes[totals]]
    return np.concatenate([np.asarray(part, np.int64) for part in parts], axis=1)
