"""Grading a bundle, in a process that has neither torch nor onnx."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import shoestring
from shoestring.bundle import bundle, grade
from shoestring.core.errors import UserError
from shoestring.core.plain import from_plain, to_plain
from shoestring.core.receipt import Finding, Scores
from tests.bundle.making import facts, made, pictures

# Where importing a package of training is an error.
BLOCKED = """
import sys
class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {"torch", "onnx", "onnxscript", "safetensors", "matplotlib"}:
            raise ImportError(f"{name} must not be needed to predict")
sys.meta_path.insert(0, Blocker())
"""


def blocked(code: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    source = str(Path(shoestring.__file__).parent.parent)
    return subprocess.run(
        [sys.executable, "-c", BLOCKED + code, *arguments],
        env={**os.environ, "PYTHONPATH": source},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def painted(folder: Path, count: int = 6) -> Path:
    """Class folders of 8x8 pictures: two of the bundle's labels."""
    from PIL import Image

    random = np.random.default_rng(1)
    for label in facts()["labels"][:2]:
        (folder / label).mkdir(parents=True)
        for k in range(count):
            picture = random.integers(0, 256, (8, 8), dtype=np.uint8)
            Image.fromarray(picture).save(folder / label / f"{k}.png")
    return folder


def test_scores_and_outcomes_of_a_split(tmp_path: Path) -> None:
    opened = bundle.load(made(tmp_path / "bundle", model={"parameters": 5, "macs": 7}))
    some = pictures(50)
    some.findings = (Finding("broken", 1, "1 picture could not be read"),)
    scores, outcomes = grade.graded(opened, some)
    assert scores.metric == "accuracy"
    assert scores.examples == 50
    assert scores.split == "validation"
    assert (scores.parameters, scores.macs) == (5, 7)
    assert (scores.size_bytes, scores.model_bytes) == bundle.sizes(opened.path, opened.manifest)
    assert scores.details["findings"] == ["1 picture could not be read"]
    assert "onnxruntime:" in scores.signature
    assert outcomes["probabilities"].shape == (50, 3)
    assert outcomes["probabilities"].dtype == np.float32
    assert np.array_equal(outcomes["hashes"], some.hashes)


def test_latency_has_a_median_and_a_tail_of_every_kind(tmp_path: Path) -> None:
    found = grade.latency(made(tmp_path / "bundle"), 0.05)
    alone = {"model", "file", "batch"}
    assert alone <= set(found) <= alone | {"model on all cores", "batch on all cores"}
    for name, timing in found.items():
        assert 0 < timing["median"] <= timing["p95"]
        assert timing["repeats"] >= 20
        assert ("threads" in timing) == name.endswith("on all cores")


def test_outcomes_come_back_from_their_file(tmp_path: Path) -> None:
    grade.write_outcomes(tmp_path / "outcomes.npz", {"labels": np.arange(3)})
    assert grade.read_outcomes(tmp_path / "outcomes.npz")["labels"].tolist() == [0, 1, 2]
    assert [p.name for p in tmp_path.iterdir()] == ["outcomes.npz"]
    with pytest.raises(UserError, match=r"cannot write .*absent"):
        grade.write_outcomes(tmp_path / "absent" / "outcomes.npz", {"labels": np.arange(3)})
    (tmp_path / "broken.npz").write_bytes(b"no zip")
    for name in ("broken.npz", "absent.npz"):
        with pytest.raises(UserError, match=rf"the outcomes .*{name} cannot be read"):
            grade.read_outcomes(tmp_path / name)


def test_a_job_says_what_it_lacks(tmp_path: Path) -> None:
    folder = str(made(tmp_path / "bundle"))
    with pytest.raises(UserError, match=r"a job for a source has to name it"):
        grade.grade(grade.Job(folder, split="source"))
    with pytest.raises(UserError, match=r"validation split needs the recipe"):
        grade.grade(grade.Job(folder))


def test_the_process_grades_without_torch_and_onnx(tmp_path: Path) -> None:
    folder = made(tmp_path / "bundle")
    job = grade.Job(
        bundle=str(folder),
        source=str(painted(tmp_path / "pictures")),
        split="source",
        outcomes=str(tmp_path / "outcomes.npz"),
        latency_seconds=0.05,
        threads=1,
    )
    (tmp_path / "job.json").write_text(json.dumps(to_plain(job)))
    code = "from shoestring.bundle import grade\nsys.exit(grade.main(sys.argv[1:]))"
    done = blocked(code, str(tmp_path / "job.json"))
    assert done.returncode == 0, done.stderr
    scores = from_plain(Scores, json.loads(done.stdout.splitlines()[-1]))
    assert scores.examples == 12
    assert {"model", "file", "batch"} <= set(scores.latency_ms)
    assert scores.peak_bytes is not None and scores.peak_bytes > 1 << 20
    outcomes = grade.read_outcomes(tmp_path / "outcomes.npz")
    assert outcomes["probabilities"].shape == (12, 3)
    assert sorted(np.unique(outcomes["labels"])) == [0, 1]
    here = grade.grade(from_plain(grade.Job, {**to_plain(job), "latency_seconds": 0.0}))
    assert here.quality == scores.quality


def test_predict_verify_and_evaluate_need_no_torch(tmp_path: Path) -> None:
    folder = made(tmp_path / "bundle")
    source = painted(tmp_path / "pictures")
    code = """
import shoestring
shoestring.verify(sys.argv[1])
answers = shoestring.predict(sys.argv[1], sys.argv[2])
assert len(answers) == 12 and all("label" in a for a in answers), answers
assert shoestring.evaluate(sys.argv[1], sys.argv[2]).examples == 12
assert "torch" not in sys.modules and "onnx" not in sys.modules
"""
    done = blocked(code, str(folder), str(source))
    assert done.returncode == 0, done.stderr


def test_a_failing_process_answers_with_its_reason(tmp_path: Path, capsys) -> None:
    (tmp_path / "job.json").write_text(json.dumps({"bundle": str(tmp_path / "absent")}))
    assert grade.main([str(tmp_path / "job.json")]) == 4
    assert "no such folder" in json.loads(capsys.readouterr().out)["error"]
