"""shoestring: from labelled data to a small, verified model, with a receipt for every technique."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from shoestring.autopilot.ablate import ablate
    from shoestring.autopilot.build import build
    from shoestring.autopilot.diagnose import diagnose
    from shoestring.autopilot.finish import apply
    from shoestring.autopilot.train import train
    from shoestring.bundle.bundle import Bundle, load, predict
    from shoestring.bundle.verify import verify
    from shoestring.core.budget import Budget
    from shoestring.core.errors import UserError
    from shoestring.core.run import Recipe, Run
    from shoestring.data.catalog import get as data_get
    from shoestring.data.catalog import listing as data_list
    from shoestring.engine.export import export
    from shoestring.engine.measure import evaluate
    from shoestring.report.cards import technique_list
    from shoestring.report.compare import compare
    from shoestring.report.sheet import receipt

__version__ = "0.1.0"

__all__ = [
    "Budget",
    "Bundle",
    "Recipe",
    "Run",
    "UserError",
    "ablate",
    "apply",
    "build",
    "compare",
    "data_get",
    "data_list",
    "diagnose",
    "evaluate",
    "export",
    "load",
    "predict",
    "receipt",
    "technique_list",
    "train",
    "verify",
]

# Where each public name lives. It is imported when first asked for (PEP 562), so that
# `import shoestring` and `shoestring --help` cost next to nothing.
_HOMES = {
    "Budget": "core.budget:Budget",
    "Bundle": "bundle.bundle:Bundle",
    "Recipe": "core.run:Recipe",
    "Run": "core.run:Run",
    "UserError": "core.errors:UserError",
    "ablate": "autopilot.ablate:ablate",
    "apply": "autopilot.finish:apply",
    "build": "autopilot.build:build",
    "compare": "report.compare:compare",
    "data_get": "data.catalog:get",
    "data_list": "data.catalog:listing",
    "diagnose": "autopilot.diagnose:diagnose",
    "evaluate": "engine.measure:evaluate",
    "export": "engine.export:export",
    "load": "bundle.bundle:load",
    "predict": "bundle.bundle:predict",
    "receipt": "report.sheet:receipt",
    # not "techniques": that is the package with the technique classes
    "technique_list": "report.cards:technique_list",
    "train": "autopilot.train:train",
    "verify": "bundle.verify:verify",
}


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'shoestring' has no attribute {name!r}")
    module, _, attribute = home.partition(":")
    value = getattr(importlib.import_module(f"shoestring.{module}"), attribute)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
