"""export: a run to a bundle that agrees with it, and a finished bundle to a folder of its own."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from shoestring import __version__, plugins
from shoestring.bundle import bundle as bundles
from shoestring.bundle import card, onnx_reader
from shoestring.bundle.verify import verify
from shoestring.core.errors import RunError, UserError
from shoestring.core.plain import to_plain
from shoestring.core.protocols import Examples, Predictor
from shoestring.core.quantizing import brief
from shoestring.core.receipt import Plain
from shoestring.core.run import Run
from shoestring.engine import store

if TYPE_CHECKING:
    import torch


def export_run(run: Run, model: torch.nn.Module, examples: Examples, folder: Path) -> str:
    """Writes the bundle of a trained run. Its graphs first answer all `examples` (the validation
    split) beside the float32 model; where they disagree, BundleError, and nothing is written.
    Returns one sentence that says how well they agree. A bundle that stands there is replaced.
    What the task draws of its answers goes into the run's folder."""
    if run.architecture is None:
        raise RunError(f"{run.path} has no network yet: train it before it is exported")
    task = plugins.task(run.task)
    network = task.network(run.architecture["kind"])
    graphs = network.graphs(model, run)
    extra = _extra(run, model, network.macs(run.architecture), graphs)
    manifest = {"task": run.task, "facts": to_plain(run.facts), **extra}
    # The sessions are made of the very bytes that are written below.
    predictor = bundles.predictor(manifest, graphs)
    agreement = network.agreement(model, predictor, examples)
    bundles.write(
        folder,
        run.task,
        run.facts,
        graphs,
        predictor.golden(),
        card.card(manifest),
        extra,
        over=True,
    )
    task.draw(predictor, examples, run.path)
    return agreement


def settled(
    run: Run, model: torch.nn.Module, examples: Examples, seconds: float, grading: float
) -> tuple[Run, str]:
    """The run with what its network decides by measuring before it ships, and why."""
    assert run.architecture is not None
    network = plugins.task(run.task).network(run.architecture["kind"])

    def opened(candidate: Run) -> tuple[Mapping[str, bytes], Predictor]:
        files = network.graphs(model, candidate)
        manifest = {"task": candidate.task, "facts": to_plain(candidate.facts)}
        return files, bundles.predictor(manifest, files)

    return network.settled(run, examples, opened, seconds, grading)


def export(run: str | os.PathLike[str], out: str | os.PathLike[str]) -> Path:
    """Copies the finished bundle of a run (or a bundle) to `out`, verifies the copy, and returns
    its path. UserError where `out` holds something already; BundleError where the bundle is
    damaged, in which case nothing is left at `out`."""
    source, target = bundles.find(run), Path(out)
    if os.path.lexists(target) and not (target.is_dir() and not any(target.iterdir())):
        raise UserError(f"{target} is not empty; name another folder with --out")
    verify(source)
    part = target.with_name(f".{target.name}.{os.getpid()}.partial")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(part, ignore_errors=True)
        shutil.copytree(source, part)
        openings = Path(run) / store.OPENINGS
        if source != Path(run) and openings.is_file():  # how often the test split was looked at
            with open(part / store.OPENINGS, "ab") as beside:
                beside.write(openings.read_bytes())
        verify(part)
        os.rename(part, target)
    except OSError as error:
        raise UserError(f"cannot write {target}: {error.strerror or error}") from error
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return target


def _extra(
    run: Run, model: torch.nn.Module, macs: int, graphs: Mapping[str, bytes]
) -> dict[str, Any]:
    """What a manifest says beside the format's own keys."""
    lineage = [f"{r.technique}" for r in run.receipts if r.status == "applied"]
    opsets = [
        onnx_reader.read(data, name).opsets.get("", 0)
        for name, data in graphs.items()
        if name.endswith(".onnx")
    ]
    source, quantization = run.recipe.source, brief(run.quantization)
    return {
        "network": (run.architecture or {}).get("kind", ""),
        # From them and the facts a network like it can be built, to take over its weights.
        "options": {n: v for n, v in to_plain(run.recipe.network).items() if n != "kind"},
        "model": {"parameters": sum(p.numel() for p in model.parameters()), "macs": macs},
        # A path of somebody's machine has no place in what ships; its last name will do.
        "data": {"source": Path(source).name or source, "fingerprint": run.recipe.fingerprint},
        "lineage": lineage,
        **({"quantization": quantization} if quantization else {}),
        "opset": max(opsets, default=0),
        "versions": _versions(),
    }


def _versions() -> Plain:
    from importlib.metadata import version

    return {"shoestring": __version__} | {
        name: version(name) for name in ("torch", "onnx", "onnxruntime", "numpy")
    }
