"""cluster_equality: the loss curve of one process against those of 2 and 4, by every strategy.

    python bench/cluster_equality.py

Fits of 50 steps on small data of both tasks, dropout off, the same global batch, by real processes
over gloo, by AdamW, and a transformer by Muon as well: data, fsdp, tensor, pipeline, and at 4 the
meshes. What is compared is every step's loss, the weights after them, two steps after a checkpoint,
and the same two by one process that went on from the checkpoint of the many. In float64 and in
float32; a network with batch normalisation, whose statistics are those of each process's part,
stands apart.
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

from _figures import HERE, Figures, arguments, environment, verdict

ASKED = {"float64": 1e-9, "float32": 1e-4}  # relative, of every step's loss
NETWORKS: dict[str, dict[str, Any]] = {
    "classic": {"kind": "classic"},
    "lstm": {"kind": "lstm", "embedding": 24, "encoder_units": 16, "decoder_units": 32},
    "transformer": {
        "kind": "transformer",
        "units": 32,
        "encoder_layers": 2,
        "decoder_layers": 2,
        "heads": 4,
        "feed_forward": 64,
    },
    "compact": {"kind": "compact", "width": 4},
}
NETWORKS["transformer by muon"] = NETWORKS["transformer"]  # as a recipe has it by itself
PICTURES = ("classic", "compact")
NORMALISED = "compact"


def main() -> None:
    parser = arguments(__doc__ or "", seeds=1)
    given = parser.parse_args()
    figures, steps = Figures("cluster_equality", given), 5 if given.quick else 50
    rows, summary = [], {}
    for workers in (2,) if given.quick else (2, 4):
        for precision, asked in ASKED.items():
            found = _found(workers, precision, steps)
            for name, one in found.items():
                own = one["own"]
                apart = max(abs(a - b) / abs(b) for a, b in zip(one["losses"], own, strict=True))
                normalised = NORMALISED in name and _divides(name)
                line = {"loss_apart": apart, "weights_apart": one["weights"], "steps": steps}
                line |= {"first_loss": own[0], "last_loss": own[-1]}
                figures.line(f"{name} {precision}", line)
                summary[f"{name} {precision}"] = line
                met = "statistics of parts" if normalised else verdict(apart <= asked, f"{asked}")
                rows.append([name, precision, f"{apart:.1e}", f"{one['weights']:.1e}", met])
    head = ["mesh, network", "precision", "loss, relative", "weights, absolute", "asked"]
    figures.finish(head, rows, summary)


def _divides(name: str) -> bool:
    """Whether the processes see parts of a batch."""
    return "data" in name or "fsdp" in name


def _found(workers: int, precision: str, steps: int) -> dict[str, Any]:
    """What the lead of so many processes wrote of every mesh and network."""
    import subprocess
    import sys

    from tests import tiny

    meshes = [f"{way}{workers}" for way in ("data", "fsdp", "tensor", "pipeline")]
    meshes += ["data2xtensor2", "data2xfsdp2"] if workers == 4 else []
    with tempfile.TemporaryDirectory() as name:
        folder, cases = Path(name), {}
        for task in ("images", "translation"):
            tiny.of_task(task).write(folder)
        for mesh in meshes:
            for kind, network in NETWORKS.items():
                if kind == "lstm" and mesh == "pipeline4":
                    continue  # an LSTM translator has two stages
                if kind == NORMALISED and "pipeline" in mesh:
                    continue  # statistics of each piece of a batch: no equality to be had
                pictures = kind in PICTURES
                cases[f"{mesh}, {kind}"] = {
                    "mesh": mesh,
                    "source": str(folder / ("bars.npz" if pictures else "words.tsv")),
                    "steps": steps,
                    "precision": precision,
                    "recipe": {
                        "network": {**network, "dropout": 0.0},
                        "batch_size": 64 if pictures else 128,
                        # Small pictures are learnt so fast that a loss in float32 is soon 0.
                        "learning_rate": 0.0001 if pictures else 0.001,
                        "optimizer": "muon" if kind.endswith("muon") else "adamw",
                        "clip": 1.0,
                    },
                }
        (folder / "cases.json").write_text(json.dumps(cases))
        words = [sys.executable, "-m", "tests.engine.spread.parallel_rank", str(folder)]
        settings = environment(GLOO_SOCKET_IFNAME="lo", OMP_NUM_THREADS="1")
        running = [
            subprocess.Popen([*words, str(r), str(workers)], env=settings, cwd=HERE.parent)
            for r in range(workers)
        ]
        codes = [process.wait() for process in running]
        if any(codes):
            raise SystemExit("a process failed; its words are above")
        found: dict[str, Any] = json.loads((folder / "found.json").read_text())
        return found


if __name__ == "__main__":
    import sys

    sys.path.insert(0, str(HERE.parent))  # what the tests start, and their small data
    main()
