"""mutation: changes the modules that promises hang on, one place at a time, and counts the changes
that no test notices.

    python scripts/mutation.py [MODULE ...]

mutmut does the changing, in the folder mutants/. A survivor is printed; too many of them fail the
run. Some survivors can never be caught (`encoding="ASCII"` reads the same bytes): hence a
threshold above nothing.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
MUTANTS = ROOT / "mutants"

# The share of changes that may go unnoticed in each module. Lower one when its tests get better;
# raising one needs a reason in the change that does it. [tool.mutmut] in pyproject.toml names the
# same modules, and the tests that are to notice.
THRESHOLDS = {
    "core.budget": 0.07,
    "engine.evidence": 0.20,
    "engine.store": 0.20,
}
UNNOTICED = (0, 5, 33)  # the tests passed; no test ran; no test reaches the place


def main(modules: list[str]) -> int:
    wanted = modules or list(THRESHOLDS)
    shutil.rmtree(MUTANTS, ignore_errors=True)
    command = [sys.executable, "-m", "mutmut", "run", "--max-children", str(os.cpu_count() or 1)]
    command += [f"shoestring.{module}.*" for module in wanted]
    output = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    failed = False
    for module in wanted:
        file = MUTANTS / "src" / "shoestring" / f"{module.replace('.', '/')}.py.meta"
        if not file.exists():
            # What went wrong stands at the end; before it is a progress display of many lines.
            print(output.stdout[-4000:], output.stderr[-4000:], sep="\n")
            print(f"{module}: mutmut made no changes; what it said stands above")
            return 1
        results = json.loads(file.read_text(encoding="utf-8"))["exit_code_by_key"]
        failed |= not judged(module, results)
    return int(failed)


def judged(module: str, results: dict[str, int | None]) -> bool:
    """Prints what became of a module's changes; whether few enough went unnoticed."""
    untried = [name for name, code in results.items() if code is None]
    survivors = [name for name, code in results.items() if code in UNNOTICED]
    share = len(survivors) / max(1, len(results))
    for name in survivors:
        print(f"  {name}")
    print(
        f"{module}: {len(survivors)} of {len(results)} changes unnoticed, {share:.1%} "
        f"(at most {THRESHOLDS[module]:.0%}); {len(untried)} not tried"
    )
    return bool(results) and not untried and share <= THRESHOLDS[module]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
