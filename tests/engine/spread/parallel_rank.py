"""parallel_rank: one process of a fit that the tests of engine/spread/parallel.py start.

    python -m tests.engine.spread.parallel_rank FOLDER RANK WORKERS

FOLDER/cases.json lists what to train and how; the lead writes FOLDER/found.json: for each case the
losses of its steps and of the same steps by one process, and how far the weights are apart.
What is computed in float64 shows another order of sums in its last digits alone; a fit's own
float32 takes other ways through torch here and there.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist

from shoestring.core.layout import Layout
from shoestring.engine.loop import Feeds, Loop
from shoestring.engine.placement import Local
from shoestring.engine.spread.parallel import Parallel
from tests import tiny

PROGRESS = 0.5  # of schedules, at which all steps are taken


FLOAT = torch.Tensor.float


def main(folder: Path, rank: int, workers: int) -> None:
    torch.set_num_threads(1)
    method = f"file://{folder / f'meet-{workers}'}"
    dist.init_process_group("gloo", init_method=method, rank=rank, world_size=workers)
    cases = json.loads((folder / "cases.json").read_text())
    found = {name: _case(folder, case) for name, case in cases.items()}
    if not rank:
        (folder / "found.json").write_text(json.dumps(found))
    dist.barrier()


def _case(folder: Path, case: dict[str, Any]) -> dict[str, Any]:
    exact = case["precision"] == "float64"
    torch.set_default_dtype(torch.float64 if exact else torch.float32)
    # What the product computes in float32 whatever it is given, this test does not.
    torch.Tensor.float = torch.Tensor.double if exact else FLOAT  # type: ignore[method-assign,assignment]  # in tests alone
    home = folder / f"run-{dist.get_rank()}"
    recipe = {**case["recipe"], "hooks": tuple(case["recipe"].get("hooks", ()))}
    run, dataset = tiny.prepared(home, Path(case["source"]), **recipe)
    layout = Layout.parsed(case["mesh"])
    place = Parallel(layout, "cpu", case.get("microbatches"))
    loop = Loop(run, Feeds.of(run, dataset, place), place)
    losses = [float(loop.step(PROGRESS, 1.0).loss) for _ in range(case["steps"])]
    line = loop.evaluate()
    tensors, values = loop.snapshot()
    path = folder / f"{case['mesh']}.safetensors"
    place.save(tensors, values, path)
    after = [float(loop.step(PROGRESS, 1.0).loss) for _ in range(2)]
    # Where the checkpoint stands, by a fresh loop of as many processes, and by one process.
    again = Loop(run, Feeds.of(run, dataset, place), place)
    again.restore(*place.load(path))
    repeated = [float(again.step(PROGRESS, 1.0).loss) for _ in range(2)]
    weights = place.whole(loop.evaluation_weights())
    place.agree(False)
    if not place.lead:
        return {}
    alone = Loop(run, Feeds.of(run, dataset, Local("cpu")), Local("cpu"))
    own = [float(alone.step(PROGRESS, 1.0).loss) for _ in range(case["steps"])]
    own_line = alone.evaluate()
    own_after = [float(alone.step(PROGRESS, 1.0).loss) for _ in range(2)]
    resumed = Loop(run, Feeds.of(run, dataset, Local("cpu")), Local("cpu"))
    resumed.restore(*Local("cpu").load(path))
    resumed_after = [float(resumed.step(PROGRESS, 1.0).loss) for _ in range(2)]
    wanted = alone.evaluation_weights()
    apart = [float((weights[n].double() - wanted[n].double()).abs().max()) for n in wanted]
    return {
        "losses": losses,
        "own": own,
        "validation": [line["validation_loss"], own_line["validation_loss"]],
        "train": [line["train_loss"], own_line["train_loss"]],
        "after": [after, own_after],
        "repeated": [repeated, resumed_after],
        "weights": max(apart),
        "names": sorted(weights) == sorted(wanted),
    }


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
