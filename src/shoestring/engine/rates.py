"""rates: what throw-away steps showed of a fit before it began, so that it need not measure again.

They lie in its folder, where the process that goes on with it finds them too.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from shoestring.core.errors import UserError
from shoestring.core.plain import from_plain, to_plain
from shoestring.core.run import Recipe
from shoestring.engine import store


@dataclass(frozen=True)
class Rates:
    """Of one network on one machine."""

    precision: str
    threads: int
    batch_size: int
    step_seconds: float
    look_seconds: float  # of a look at validation
    passes: float  # over validation after the fit, in looks

    def hold_for(self, recipe: Recipe) -> bool:
        """Whether a fit of this recipe takes the same steps."""
        own = (recipe.precision, recipe.threads, recipe.batch_size)
        return own == (self.precision, self.threads, self.batch_size)


def write(folder: Path, rates: Rates) -> None:
    store.write_atomically(folder / store.RATES, json.dumps(to_plain(rates), indent=1) + "\n")


def read(folder: Path) -> Rates | None:
    """None where there are none, or none that can be read: they are measured then."""
    try:
        plain = json.loads((folder / store.RATES).read_text(encoding="utf-8"))
        return from_plain(Rates, plain, store.RATES)
    except (OSError, ValueError, UserError):
        return None
