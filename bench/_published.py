"""_published: the rows of plan_published.csv, each as what the planner takes."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from shoestring.cluster.description import Cluster
from shoestring.cluster.devices import device
from shoestring.cluster.mesh import Mesh, Method, checked, impossible
from shoestring.core.workload import Shape, Workload, transformer


@dataclass(frozen=True)
class Row:
    """One published training."""

    number: int
    source: str
    reference: str
    model: str
    workload: Workload
    cluster: Cluster
    mesh: Mesh
    method: Method
    tokens_a_second: float  # of each device
    memory_gib: float | None

    @property
    def judges(self) -> bool:
        return self.number % 2 == 0

    def told(self) -> str:
        kind = f"{self.model}, {self.cluster.devices} {self.cluster.device.name}"
        return f"{kind}, {self.mesh.told()}, {self.method.precision}"


def rows(path: Path) -> list[Row]:
    with path.open(encoding="utf-8", newline="") as file:
        return [_row(number, line) for number, line in enumerate(csv.DictReader(file), 1)]


def _row(number: int, line: Mapping[str, str]) -> Row:
    sizes = {
        name: int(line[name])
        for name in ("layers", "hidden", "heads", "key_value_heads", "feed_forward", "vocabulary")
    }
    shape = Shape(gated=line["gated"] == "1", tied=line["tied"] == "1", **sizes)
    workload = transformer(shape, int(line["sequence"]), line["model"])
    nodes, each = int(line["nodes"]), int(line["devices_a_node"])
    cluster = Cluster(nodes, each, device(line["device"]))
    mesh = Mesh(*(int(line[name]) for name in ("data", "tensor", "pipeline", "context")))
    method = checked(
        Method(
            batch=int(line["batch"]),
            micro_batch=int(line["micro_batch"]),
            sharding=line["sharding"],
            checkpointing=line["checkpointing"],
            precision=line["precision"],
            fusion=line["fusion"],
            interleave=int(line["interleave"]),
            tiled=line["tiled"] == "1",
        )
    )
    wrong = impossible(workload, cluster, mesh, method)
    if wrong:
        raise SystemExit(f"row {number} of the published ones is impossible: {wrong}")
    return Row(
        number,
        line["source"],
        line["reference"],
        line["model"],
        workload,
        cluster,
        mesh,
        method,
        float(line["tokens_a_second_a_device"]),
        float(line["memory_gib"]) if line["memory_gib"] else None,
    )
