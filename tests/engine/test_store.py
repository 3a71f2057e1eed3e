"""Run folders: whole or not there, readable for ever, and clear about what is wrong."""

from __future__ import annotations

import errno
import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from shoestring.core.budget import Cost
from shoestring.core.errors import RunError, UserError
from shoestring.core.plain import from_plain
from shoestring.core.run import RUN_VERSION, PlanChange, Recipe, Run
from shoestring.engine import store, tensorfile


def a_run(path: Path) -> Run:
    recipe = Recipe(
        "images",
        "photos",
        learning_rate=0.01,
        network={"kind": "compact", "width": 8},
        plan=(PlanChange(0, 10, "as asked"),),
        hooks=("augment:shift=0.1",),
    )
    return Run(path, "images", recipe, architecture={"kind": "compact"})


def test_a_finished_run_reads_back_equal_from_wherever_it_was_moved(tmp_path: Path) -> None:
    run = a_run(tmp_path / "a")
    store.create(run.path)
    store.write_started(run)
    store.write_finished(run)
    (tmp_path / "a").rename(tmp_path / "b")
    assert store.read(tmp_path / "b") == a_run(tmp_path / "b")
    assert sorted(p.name for p in (tmp_path / "b").iterdir()) == ["recipe.toml", "run.json"]


def test_a_recipe_file_gives_the_recipe_back(tmp_path: Path) -> None:
    run = a_run(tmp_path)
    store.write_started(run)
    assert from_plain(Recipe, store.read_recipe(tmp_path)) == run.recipe


def test_a_broken_recipe_names_file_and_line(tmp_path: Path) -> None:
    (tmp_path / "r.toml").write_text("task = 'images'\nseed = = 3\n")
    with pytest.raises(UserError, match=r"r\.toml.*line 2"):
        store.read_recipe(tmp_path / "r.toml")
    with pytest.raises(UserError, match="cannot be read"):
        store.read_recipe(tmp_path / "none.toml")


def test_an_unfinished_run_says_how_to_go_on(tmp_path: Path) -> None:
    store.write_started(a_run(tmp_path))
    with pytest.raises(RunError, match="--resume"):
        store.read(tmp_path)
    assert store.read_started(tmp_path).recipe.learning_rate == 0.01


def test_only_an_unfinished_run_can_be_resumed(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="no unfinished run"):
        store.read_started(tmp_path)
    store.write_finished(a_run(tmp_path))
    with pytest.raises(RunError, match="is finished"):
        store.read_started(tmp_path)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("{", "cannot be read"),
        ("[]", "no version"),
        ("{}", "no version"),
        (json.dumps({"version": RUN_VERSION + 1}), "newer shoestring"),
        (json.dumps({"version": 1, "task": "images"}), "needs the field"),
        (json.dumps({"version": 1, "path": ".", "task": 3, "recipe": {}}), "run.json"),
    ],
)
def test_a_damaged_run_is_an_error_and_no_crash(tmp_path: Path, content: str, words: str) -> None:
    (tmp_path / store.RUN).write_text(content)
    with pytest.raises(RunError, match=words):
        store.read(tmp_path)


def test_no_folder_and_no_run_are_told_apart(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="no such folder"):
        store.read(tmp_path / "x")
    with pytest.raises(RunError, match=r"has no run\.json"):
        store.read(tmp_path)


def test_a_folder_that_holds_something_is_refused_untouched(tmp_path: Path) -> None:
    (tmp_path / "precious").write_text("x")
    with pytest.raises(UserError, match="not empty"):
        store.create(tmp_path)
    store.write_started(a_run(tmp_path))
    with pytest.raises(UserError, match="--resume"):
        store.create(tmp_path)
    assert (tmp_path / "precious").read_text() == "x"


def test_a_folder_that_cannot_be_written_is_refused_before_any_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(self: Path, *args: Any, **more: Any) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(Path, "touch", refuse)  # the tests may run as root, who may write anywhere
    with pytest.raises(UserError, match="Permission denied"):
        store.create(tmp_path / "out")


def test_a_full_disk_leaves_the_old_file_and_no_rubbish(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.write_atomically(tmp_path / "f", "old")

    def full(number: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(RunError, match="disk is full"):
        store.write_atomically(tmp_path / "f", "new")
    assert (tmp_path / "f").read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["f"]


def test_tensors_and_values_come_back_bit_for_bit(tmp_path: Path) -> None:
    tensors = {
        "a": torch.tensor([0.1, -0.0, float("inf")]),
        "b": torch.arange(6).reshape(2, 3).T,
        "c": torch.zeros(2, 3, 4, 4).to(memory_format=torch.channels_last),
        "d": torch.tensor(1.5, dtype=torch.bfloat16),
    }
    tensorfile.save(tmp_path / "t", tensors, {"step": 3, "curve": [{"q": 0.1}]})
    found, values = tensorfile.load(tmp_path / "t")
    assert values == {"step": 3, "curve": [{"q": 0.1}]}
    assert all(torch.equal(found[n], t) and found[n].dtype == t.dtype for n, t in tensors.items())


@pytest.mark.parametrize("cut", [0, 4, 20, -1])
def test_a_cut_checkpoint_is_an_error(tmp_path: Path, cut: int) -> None:
    tensorfile.save(tmp_path / "t", {"a": torch.ones(9)}, {})
    data = (tmp_path / "t").read_bytes()
    (tmp_path / "t").write_bytes(data[:cut])
    with pytest.raises(RunError, match="cannot be read"):
        tensorfile.load(tmp_path / "t")


def test_lines_survive_a_cut_in_the_last_one(tmp_path: Path) -> None:
    store.append_lines(tmp_path / "m", [{"step": 1}, {"step": 2}])
    with (tmp_path / "m").open("a") as file:
        file.write('{"step": 3')
    assert store.read_lines(tmp_path / "m") == [{"step": 1}, {"step": 2}]
    store.rewrite_lines(tmp_path / "m", [{"step": 1}])
    assert store.read_lines(tmp_path / "m") == [{"step": 1}]
    assert store.read_lines(tmp_path / "none") == []


@given(st.one_of(st.none(), st.text(max_size=20), st.just('{"seconds": "x"}')))
def test_a_damaged_note_of_seconds_counts_as_none(content: str | None) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as name:
        if content is not None:
            (Path(name) / store.SPENT).write_text(content, encoding="utf-8")
        assert store.read_spent(Path(name)) == store.Spent()


def test_seconds_are_noted_and_read(tmp_path: Path) -> None:
    spent = store.Spent(12.5, 60.0, Cost(wall_seconds=3.0, steps=7))
    store.write_spent(tmp_path, spent)
    assert store.read_spent(tmp_path) == spent


def test_the_next_free_name_counts_up(tmp_path: Path) -> None:
    assert store.next_free(tmp_path, "a").name == "a-1"
    (tmp_path / "a-1").mkdir()
    assert store.next_free(tmp_path, "a").name == "a-2"


def test_what_killed_writers_left_goes_when_a_run_is_finished(tmp_path: Path) -> None:
    (tmp_path / ".checkpoint.safetensors.123").write_text("half")
    (tmp_path / ".bundle.123.partial").mkdir()
    store.write_finished(a_run(tmp_path))
    assert sorted(p.name for p in tmp_path.iterdir()) == ["recipe.toml", "run.json"]


def test_lines_that_cannot_be_written_are_an_error_for_people(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="cannot write"):
        store.append_lines(tmp_path / "none" / "m", [{"step": 1}])


def test_remove_takes_a_link_and_not_what_it_points_to(tmp_path: Path) -> None:
    (tmp_path / "kept").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "kept")
    store.remove(tmp_path / "link")
    assert (tmp_path / "kept").is_dir()
    store.remove(tmp_path / "kept")
    store.remove(tmp_path / "gone")
    assert list(tmp_path.iterdir()) == []


def test_files_of_the_data_are_kept_with_the_run_and_found_again(tmp_path: Path) -> None:
    store.keep(tmp_path, {"tokenizer.model": b"pieces"})
    store.keep(tmp_path, {"tokenizer.model": b"pieces"})
    assert (tmp_path / "tokenizer.model").read_bytes() == b"pieces"
    with pytest.raises(RunError, match=r"tokenizer\.model is not what the data give now"):
        store.keep(tmp_path, {"tokenizer.model": b"others"})
    store.keep(tmp_path, {})
    for name in ("../x", "a/b", ".hidden", store.RUN, store.BUNDLE, ""):
        with pytest.raises(ValueError, match="no name for a file"):
            store.keep(tmp_path, {name: b""})


def test_tied_weights_are_written_once_and_come_back_under_both_names(tmp_path: Path) -> None:
    table = torch.arange(6000.0).reshape(100, 60)
    tensors = {"embedding": table, "output": table, "turned": table.T, "empty": torch.zeros(0)}
    tensorfile.save(tmp_path / "a", {**tensors, "none": torch.zeros(0)}, {"step": 3})
    found, values = tensorfile.load(tmp_path / "a")
    assert values == {"step": 3}
    assert list(found["output"].shape) == [100, 60]
    assert all(torch.equal(found[name], tensor) for name, tensor in tensors.items())
    assert (tmp_path / "a").stat().st_size < 2.2 * table.nbytes


def test_tied_weights_are_the_same_bytes_each_time(tmp_path: Path) -> None:
    """safetensors orders the keys of its notes by a hash that is drawn anew at each call, in the
    same process and in others."""
    from safetensors.torch import save

    table = torch.ones(4)
    assert len({save({"a": table}, {"values": "1", "same": "2"}) for _ in range(64)}) > 1
    found = set()
    for number in range(64):
        path = tmp_path / str(number)
        tensorfile.save(path, {"a": table, "b": table}, {"step": 3})
        found.add(path.read_bytes())
    assert len(found) == 1


def test_notes_of_the_first_version_are_read_for_ever(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    save_file({"a": torch.ones(2)}, tmp_path / "old", {"values": '{"step": 3}'})
    found, values = tensorfile.load(tmp_path / "old")
    assert torch.equal(found["a"], torch.ones(2))
    assert values == {"step": 3}


def test_what_a_killed_technique_left_is_no_training_to_go_on_with(tmp_path: Path) -> None:
    """Its fit alone would begin with other weights than those that the technique had made."""
    store.write_started(replace(a_run(tmp_path), lineage=({"path": "runs/a", "parents": []},)))
    for wrong in (store.read, store.read_resumable):
        with pytest.raises(RunError, match="cannot be gone on with: remove it, and apply the"):
            wrong(tmp_path)
    with pytest.raises(UserError, match=r"left that was ended \(it can be removed\)"):
        store.create(tmp_path)


def test_pages_that_a_person_saves_beside_a_run_are_none_of_its_data(tmp_path: Path) -> None:
    for name in ("tokenizer.model", "receipt.html", "notes.txt", "receipt.json"):
        (tmp_path / name).write_text("x")
    assert list(store.kept(tmp_path)) == ["tokenizer.model"]
