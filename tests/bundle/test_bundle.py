"""Writing a bundle, opening it, and everything that is refused when one is opened."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shoestring.bundle import bundle, card, manifest, session
from shoestring.core.errors import BundleError, UserError
from shoestring.core.receipt import Finding, Interval, Scores
from shoestring.core.run import PlanChange, Recipe
from tests.bundle.making import digest, facts, graph, made, with_file, with_manifest


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return made(tmp_path / "bundle")


def refused(folder: Path, words: str) -> None:
    with pytest.raises(BundleError, match=words) as caught:
        bundle.load(folder)
    assert caught.value.exit_code == 4


def test_a_bundle_is_written_and_answers(folder: Path) -> None:
    assert sorted(p.name for p in folder.iterdir()) == [
        "README.md",
        "bundle.json",
        "golden.npz",
        "model.onnx",
    ]
    opened = bundle.load(folder, threads=1)
    (answer,) = opened.predict(np.zeros((8, 8), np.uint8))
    assert answer["label"] in facts()["labels"]
    assert opened.manifest["version"] == 1


def test_the_bundle_inside_a_run_is_found(tmp_path: Path) -> None:
    made(tmp_path / "run" / "bundle")
    assert bundle.load(tmp_path / "run").path == tmp_path / "run" / "bundle"


def test_the_same_model_gives_the_same_files(tmp_path: Path) -> None:
    one, two = made(tmp_path / "one"), made(tmp_path / "two")
    for name in ("README.md", "bundle.json", "golden.npz", "model.onnx"):
        assert (one / name).read_bytes() == (two / name).read_bytes()


def test_options_may_be_a_mapping_and_wrong_ones_are_named(folder: Path) -> None:
    opened = bundle.load(folder)
    picture = np.zeros((8, 8), np.uint8)
    assert len(opened.predict(picture, {"top": 2})[0]["top"]) == 2
    assert len(list(opened.answers([picture] * 3, {"top": "2"}))) == 3
    with pytest.raises(UserError, match=r"predict has no option 'beam'; it has: top, reject"):
        opened.predict(picture, {"beam": 2})


def test_the_verb_opens_and_answers(folder: Path) -> None:
    assert bundle.predict(folder, np.zeros((8, 8), np.uint8))[0]["input"] == "input 1"


# --- bad input ----------------------------------------------------------------------------------


def test_a_changed_byte_in_any_file_is_refused(folder: Path) -> None:
    for name in ("model.onnx", "golden.npz", "README.md"):
        data = bytearray((folder / name).read_bytes())
        data[len(data) // 2] ^= 1
        (folder / name).write_bytes(data)
        refused(folder, rf"{name} was changed: its sha256")
        data[len(data) // 2] ^= 1
        (folder / name).write_bytes(data)
    bundle.load(folder)


@pytest.mark.parametrize("name", ["model.onnx", "golden.npz", "README.md"])
def test_a_missing_file_is_refused(folder: Path, name: str) -> None:
    (folder / name).unlink()
    refused(folder, rf"{name} is missing")


def test_a_file_that_grew_or_shrank_is_refused(folder: Path) -> None:
    data = (folder / "model.onnx").read_bytes()
    for other in (data + b"0", data[:-1]):
        (folder / "model.onnx").write_bytes(other)
        refused(folder, r"model\.onnx has \d+ bytes")


@pytest.mark.parametrize(
    "name",
    [
        "../secret",
        "/etc/passwd",
        "..",
        ".",
        "",
        "a/b",
        "a\\b",
        "C:model.onnx",
        ".hidden",
        "nul\x00",
        "bundle.json",
        "x" * 101,
        "-rf",
        "new\nline",
    ],
)
def test_a_path_that_points_outside_is_refused(folder: Path, name: str) -> None:
    (folder.parent / "secret").write_bytes(b"secret")
    listed = {"size_bytes": 6, "sha256": digest(b"secret")}
    with_manifest(folder, files={name: listed})
    refused(folder, r"not a name of a file in the bundle")


@pytest.mark.parametrize("name", ["model.onnx", "README.md", "bundle.json"])
def test_a_symbolic_link_is_refused(folder: Path, name: str) -> None:
    elsewhere = folder.parent / "elsewhere"
    (folder / name).rename(elsewhere)
    (folder / name).symlink_to(elsewhere)
    refused(folder, rf"{name} is a symbolic link")


def test_a_dangling_link_is_refused(folder: Path) -> None:
    (folder / "model.onnx").unlink()
    (folder / "model.onnx").symlink_to(folder / "nowhere")
    refused(folder, r"model\.onnx is a symbolic link")


def test_a_pipe_or_a_folder_in_the_place_of_a_file_is_refused_without_waiting(folder: Path) -> None:
    (folder / "model.onnx").unlink()
    os.mkfifo(folder / "model.onnx")
    refused(folder, r"model\.onnx is not a regular file")
    (folder / "model.onnx").unlink()
    (folder / "model.onnx").mkdir()
    refused(folder, r"model\.onnx (is not a regular file|cannot be read)")


def test_a_graph_that_names_external_files_is_refused(folder: Path) -> None:
    import onnx

    parsed = onnx.load_from_string(graph())
    tensor = parsed.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = onnx.TensorProto.EXTERNAL
    entry = tensor.external_data.add()
    entry.key, entry.value = "location", "/etc/passwd"
    with_file(folder, "model.onnx", parsed.SerializeToString())
    refused(folder, r"model\.onnx has external data")


def test_an_operator_that_our_exporter_never_writes_is_refused(folder: Path) -> None:
    import onnx

    parsed = onnx.load_from_string(graph())
    parsed.graph.node[-1].op_type = "Scan"
    with_file(folder, "model.onnx", parsed.SerializeToString())
    refused(folder, r"model\.onnx uses the operator 'Scan'")


def test_a_bundle_above_the_cap_is_refused_before_anything_is_read(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_manifest(folder, files={"model.onnx": {"size_bytes": 2 << 30, "sha256": "0" * 64}})
    refused(folder, r"holds 2,147,\d+,\d+ bytes; at most 1,073,741,824")
    assert session.CAP_BYTES == 1 << 30


def test_an_oversized_manifest_is_refused(folder: Path) -> None:
    with open(folder / "bundle.json", "r+b") as file:
        file.truncate((1 << 24) + 1)
    refused(folder, r"bundle\.json is larger than")


def test_a_newer_version_says_to_upgrade(folder: Path) -> None:
    with_manifest(folder, version=2)
    refused(folder, r"bundle version 2; this shoestring reads up to 1: upgrade shoestring")


@pytest.mark.parametrize(
    "text",
    ["", "not json", "[]", '"x"', "{", '{"version": NaN}', "[" * 100_000, "\ud800".join("ab")],
)
def test_a_manifest_that_is_not_json_is_refused(folder: Path, text: str) -> None:
    (folder / "bundle.json").write_bytes(text.encode("utf-8", "surrogatepass"))
    refused(folder, r"bundle\.json is not (JSON|a bundle's manifest)")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"version": None}, r"its version is None"),
        ({"version": True}, r"its version is True"),
        ({"version": 0}, r"its version is 0"),
        ({"task": None}, r"'task' is missing"),
        ({"facts": [1]}, r"'facts' is missing or wrong"),
        ({"files": []}, r"'files' is missing or wrong"),
        ({"golden": {"file": "other.npz"}}, r"names 'other\.npz' as golden vectors"),
        ({"golden": {"absolute_tolerance": 1e9}}, r"golden tolerance of 1000000000\.0"),
        ({"files": {"model.onnx": {"size_bytes": -1}}}, r"size of -1"),
        ({"files": {"model.onnx": 3}}, r"size of None"),
        ({"files": {"model.onnx": {"size_bytes": 3, "sha256": "zz"}}}, r"sha256 of 'zz'"),
        ({"files": {f"f{k}": {} for k in range(70)}}, r"lists 73 files"),
        ({"task": "poetry"}, r"task 'poetry', which this shoestring does not have; it has: "),
        ({"task": "../images"}, r"task '\.\./images', which"),
        ({"facts": {"labels": "cat"}}, r"no list of labels"),
        ({"facts": {"labels": ["cat"]}}, r"does not answer with the 1 labels"),
        ({"facts": {"size": [8]}}, r"size of \[8\]"),
        ({"facts": {"channels": 7}}, r"lack channels"),
    ],
)
def test_a_manifest_that_makes_no_sense_is_refused(folder: Path, changes, words) -> None:
    with_manifest(folder, **changes)
    refused(folder, words)


def test_no_folder_and_no_bundle_are_told_apart(tmp_path: Path) -> None:
    refused(tmp_path / "absent", r"there is no such folder")
    refused(tmp_path, r"neither a bundle \(it has no bundle\.json\) nor a finished run")
    (tmp_path / "started.json").write_text("{}")
    refused(tmp_path, "shoestring train --resume")


def test_a_graph_for_something_else_is_refused(folder: Path) -> None:
    import onnx

    parsed = onnx.load_from_string(graph())
    parsed.graph.input[0].name = parsed.graph.node[0].input[0] = "words"
    with_file(folder, "model.onnx", parsed.SerializeToString())
    refused(folder, r"maps \['words', 'probabilities'\], not pixels to probabilities")


def test_files_that_are_not_listed_are_not_looked_at(folder: Path) -> None:
    (folder / "notes.txt").write_text("mine")
    (folder / "other.onnx").write_text("not a graph")
    assert bundle.load(folder).predict(np.zeros((8, 8), np.uint8))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)


@given(st.sampled_from(["version", "task", "facts", "files", "golden"]), JSON)
def test_any_value_in_a_manifest_is_read_or_refused(tmp_path_factory, key, value) -> None:
    file = tmp_path_factory.getbasetemp() / "manifest" / "bundle.json"
    file.parent.mkdir(exist_ok=True)
    files = {"golden.npz": b"", "model.onnx": b""}
    plain = manifest.compose("images", facts(), files, "golden.npz", {})
    file.write_text(json.dumps({**plain, key: value}), encoding="utf-8", errors="surrogatepass")
    try:
        manifest.read(file)
    except BundleError as error:
        assert "bundle.json" in str(error)


# --- writing ------------------------------------------------------------------------------------


def test_a_folder_that_holds_something_is_not_written_over(tmp_path: Path) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.txt").write_text("years of work")
    for over in (False, True):
        with pytest.raises(UserError, match=r"full is not empty; name another folder"):
            bundle.write(tmp_path / "full", "images", facts(), {}, ({}, {}), "", {}, over=over)
    assert (tmp_path / "full" / "thesis.txt").read_text() == "years of work"


def test_a_bundle_is_replaced_only_where_that_is_said(folder: Path) -> None:
    graphs, golden = {"model.onnx": b"other"}, ({"a": np.zeros(1)}, {"a": np.zeros(1)})
    with pytest.raises(UserError, match=r"is not empty"):
        bundle.write(folder, "images", facts(), graphs, golden, "", {})
    bundle.write(folder, "images", facts(), graphs, golden, "", {}, over=True)
    assert (folder / "model.onnx").read_bytes() == b"other"
    assert [p.name for p in folder.parent.iterdir()] == ["bundle"]


def test_a_place_that_cannot_be_written_is_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"cannot write the bundle"):
        made(tmp_path / "file" / "bundle")


def test_a_full_disk_leaves_the_old_bundle(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = (folder / "bundle.json").read_bytes()

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(UserError, match=r"No space left on device"):
        bundle.record_scores(folder, Scores(quality=0.5))
    assert (folder / "bundle.json").read_bytes() == before
    assert [p.name for p in folder.parent.iterdir()] == ["bundle"]
    bundle.load(folder)


def test_a_move_that_fails_halfway_is_undone(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before, rename = (folder / "bundle.json").read_bytes(), os.rename

    def stubborn(source: Path, target: Path) -> None:
        if str(source).endswith(".partial"):
            raise OSError(5, "Input/output error")
        rename(source, target)

    monkeypatch.setattr(os, "rename", stubborn)
    with pytest.raises(UserError, match=r"Input/output error"):
        bundle.record_scores(folder, Scores(quality=0.5))
    assert (folder / "bundle.json").read_bytes() == before
    assert [p.name for p in folder.parent.iterdir()] == ["bundle"]


def test_recorded_scores_hold_the_size_that_the_bundle_then_has(folder: Path) -> None:
    (folder / "openings.jsonl").write_text("{}\n")
    scores = Scores(
        quality=0.123456789,
        metric="accuracy",
        interval=Interval(0.1, 0.05, 0.2, method="Wilson"),
        split="validation",
        examples=50,
        details={"confusion": [[1]]},
    )
    recorded = bundle.record_scores(folder, scores)
    opened = bundle.load(folder)
    on_disk = (folder / "bundle.json").stat().st_size + (folder / "model.onnx").stat().st_size
    assert recorded.size_bytes == opened.manifest["scores"]["size_bytes"] == on_disk
    assert recorded.model_bytes == (folder / "model.onnx").stat().st_size
    assert opened.manifest["scores"]["quality"] == 0.123457
    assert "details" not in opened.manifest["scores"]
    assert "accuracy 0.1235 (95% interval 0.0500 to 0.2000, Wilson)" in (
        folder / "README.md"
    ).read_text(encoding="utf-8")
    assert (folder / "openings.jsonl").read_text() == "{}\n"
    assert bundle.record_scores(folder, scores) == recorded


def test_a_label_is_no_markup_on_the_card() -> None:
    hostile = ["a` <b>x<`", "d\n\n# Owned\n", "\u202eevil"]
    named = {**facts(classes=3), "labels": hostile}
    text = card.card({"task": "images", "facts": named, "data": {"source": "my `# x\n# y"}})
    assert "``a` <b>x<` ``" in text.replace("`` a", "``a")
    assert not any(line.startswith(("# Owned", "# y")) for line in text.splitlines())
    assert "\u202e" not in text and "`\\u202eevil`" in text


def test_the_card_tells_what_is_known() -> None:
    text = card.card(
        {
            "task": "images",
            "network": "compact",
            "facts": facts(classes=60),
            "data": {"source": "photos", "fingerprint": "abc"},
            "lineage": ["data", "fit", "prune:ratio=0.3"],
            "versions": {"torch": "2"},
        },
        Scores(
            quality=0.9,
            metric="accuracy",
            loss=0.2,
            examples=10,
            split="validation",
            parameters=1234,
            macs=5678,
            size_bytes=2048,
            model_bytes=1024,
            latency_ms={"model": {"median": 0.1, "p95": 0.2}},
            signature="s",
            details={
                "calibration_error": 0.031,
                "per_class": [{"label": "a|b <i>`c`\n", "recall": 0.5, "support": 1200}],
                "confusion": [[1]],
            },
        ),
        Recipe("images", "photos", learning_rate=0.01, plan=(PlanChange(0, 2000, "as asked"),)),
        (Finding("leak", 2, "2 pictures of <b> stand in both splits"),),
    )
    for words in (
        "`cat`",
        "| a\\|b &lt;i&gt;\\`c\\`\\\\n | 0.5 | 1,200 |",
        "off by 3.1 points on average",
        "(leak): 2 pictures of &lt;b&gt; stand in both splits",
        "learning rate 0.01",
        "2,000 steps",
        "and 10 more",
        "accuracy 0.9000 on 10 examples",
        "1,234 parameters, 5,678 multiply-accumulates",
        "2,048 bytes needed to predict, 1,024 of them the model",
        "latency from model, one thread: median 0.100 ms",
        "`photos`, fingerprint `abc`",
        "prune:ratio=0.3",
        "shoestring predict FOLDER",
        "## Licence",
    ):
        assert words in text, words
