"""trial_process: a process of one thread that does trials of a search, beside others.

    python -m shoestring.engine.search.trial_process FOLDER WORKER UNTIL

It ends when there is nothing more to try, at that time (in seconds since 1970; "none": whenever),
or with whoever started it, whose end of its standard input then closes.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from shoestring import plugins
from shoestring.core.errors import RunError, UserError
from shoestring.core.plain import from_plain
from shoestring.core.protocols import silent
from shoestring.engine import derive, offspring
from shoestring.engine.pool import Halves
from shoestring.engine.search.study import Study
from shoestring.engine.search.trial import SEARCH, Bench, Search


def main(arguments: Sequence[str]) -> int:
    folder, worker, until = Path(arguments[0]), int(arguments[1]), arguments[2]
    deadline = float("inf")
    if until != "none":
        deadline = time.monotonic() + float(until) - time.time()
    offspring.end_with_parent()
    try:
        plain = json.loads((folder / SEARCH).read_text(encoding="utf-8"))
        search = from_plain(Search, plain, SEARCH)
        dataset = plugins.task(search.run.task).load(search.run.recipe, silent)
        if dataset.fingerprint != search.run.recipe.fingerprint:
            raise RunError(f"the data of {search.run.recipe.source} changed since the search began")
        study = Study(folder, search.ranges, search.run.recipe.seed, search.stop, search.trials)
        search = replace(search, processes=1)  # of them, this is one
        judged = len(Halves.of(dataset).dataset.validation)
        with derive.at(derive.Desk(datasets={dataset.fingerprint: dataset})):
            Bench(folder, search, study, judged, worker=worker, deadline=deadline).work()
    except (UserError, OSError, ValueError) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
