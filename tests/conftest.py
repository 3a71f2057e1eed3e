"""conftest: an environment for tests that leaves no trace and gives the same figures each time."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

# Before numpy or torch are imported anywhere: results must not hang on the number of cores, and
# small arrays are quickest on one thread.
for variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(variable, "1")
os.environ.setdefault("NO_COLOR", "1")
os.environ.pop("SHOESTRING_CACHE", None)

# Examples are derived from the test itself, so that a run repeats; no time limit, since the
# machine may be busy with something else.
settings.register_profile("shoestring", derandomize=True, deadline=None, database=None)
settings.load_profile("shoestring")


@pytest.fixture(scope="session", autouse=True)
def cache_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """An empty cache for this session, which child processes inherit."""
    folder = tmp_path_factory.mktemp("cache")
    os.environ["SHOESTRING_CACHE"] = str(folder)
    yield folder
    del os.environ["SHOESTRING_CACHE"]


@pytest.fixture(scope="session")
def root() -> Path:
    """The checkout."""
    return Path(__file__).resolve().parent.parent
