"""sheets: receipts for the tests of what shows them."""

from __future__ import annotations

from shoestring.core.budget import Cost
from shoestring.core.receipt import Finding, Interval, Receipt, Scores
from shoestring.core.run import PlanChange, Recipe
from shoestring.report.sheet import Sheet

SCORES = Scores(
    0.9931,
    "accuracy",
    Interval(0.9931, 0.9903, 0.9951, 0.95, "Wilson"),
    loss=0.0231,
    split="validation",
    examples=5000,
    parameters=90_122,
    macs=3_512_448,
    size_bytes=373_112,
    model_bytes=368_201,
    latency_ms={"model": {"median": 0.0312, "p95": 0.0401}, "file": {"median": 0.112, "p95": 0.17}},
    details={
        "balanced_accuracy": 0.9912,
        "calibration_error": 0.0042,
        "calibration": "15 bins",
        "per_class": [
            {"label": "cat", "precision": 0.991, "recall": 0.981, "f1": 0.986, "support": 1200},
            {"label": "new\nline", "precision": 1.0, "recall": 0.5, "f1": 0.667, "support": 2},
        ],
        "confusion": [[1190, 10], [1, 1]],
    },
    signature="split:validation|examples:5000",
)
BEFORE = Scores(0.99, "accuracy", size_bytes=400_000, latency_ms={"model": {"median": 0.04}})
LONE = "no run without it to compare with; train one with --without "
RECEIPTS = (
    Receipt("data", options={"train": 55_000}, cost=Cost(3.12)),
    Receipt("augment:shift=0.1", reason=LONE + "augment"),
    Receipt("average", reason=LONE + "average"),
    Receipt("fit", cost=Cost(41.2, 80.0, 6.1, 2000, 256_000)),
    Receipt(
        "augment:erase=0.2",
        before=BEFORE,
        after=SCORES,
        gain=Interval(0.0031, 0.0012, 0.005),
        verdict="better",
        cost=Cost(10.31),
    ),
    Receipt("average:decay=0.9", status="skipped", reason="less than one epoch"),
    Receipt("export", reason="largest difference 3e-07", cost=Cost(1.9)),
    Receipt("test opened", after=SCORES, at="2026-11-23T16:20:11+00:00"),
    Receipt("total", options={"asked_seconds": 60.0, "used_seconds": 58.34}),
)
FINDINGS = (
    Finding("broken", 3, "3 files could not be decoded", ("a/x.jpg", "a/new\nline.jpg"), 3),
    Finding("split", 5000, "5,000 pictures of train were held out for validation"),
)
SHEET = Sheet(
    path="runs/a",
    kind="run",
    task="images",
    network="compact",
    recipe=Recipe(
        "images",
        "mnist",
        precision="bfloat16",
        threads=2,
        batch_size=128,
        budget_seconds=60.0,
        plan=(PlanChange(0, 2000, "as asked"),),
    ),
    scores=SCORES,
    receipts=RECEIPTS,
    findings=FINDINGS,
)
