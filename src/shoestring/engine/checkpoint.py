"""checkpoint: where a fit stands, in one file by one process or in parts by all of them.

Parts are written by torch.distributed.checkpoint in the format of safetensors, which holds tensors
and nothing that is run when it is read. Whoever reads them, one process or any number, with weights
cut or whole, is given whole tensors and keeps what it needs. A file of its own says which folder of
parts counts, so that a checkpoint is there whole or not at all.
"""

from __future__ import annotations

import json
import time
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist

from shoestring.core.errors import RunError
from shoestring.core.placement import Placement
from shoestring.core.plain import to_plain
from shoestring.core.receipt import Plain
from shoestring.engine import store, tensorfile


def save_whole(path: Path, tensors: Mapping[str, torch.Tensor], values: Plain) -> None:
    """By one process, which has everything."""
    tensorfile.save(path, tensors, values)
    store.drop_parts(path)


def save_parts(
    path: Path,
    tensors: Mapping[str, torch.Tensor],
    values: Plain,
    token: str,
    group: dist.ProcessGroup,
) -> None:
    """By all processes of a group on processors, each what it has; what several have is written by
    one of them. `token` is the same in all of them, and new."""
    from torch.distributed.checkpoint.api import CheckpointException
    from torch.distributed.checkpoint.hf_storage import HuggingFaceStorageWriter
    from torch.distributed.checkpoint.state_dict_saver import save

    folder = path.with_name(f"{path.stem}-{token}")
    writer = HuggingFaceStorageWriter(str(folder), save_distributed=True)
    try:
        packed = {name: tensor.detach().contiguous() for name, tensor in tensors.items()}
        save(packed, storage_writer=writer, process_group=group)
    except (OSError, CheckpointException) as error:
        raise RunError(f"cannot write {folder}: {_last(error)}") from error
    if dist.get_rank(group) == 0:
        said = {"folder": folder.name, "values": to_plain(values)}
        store.write_atomically(store.pointer(path), json.dumps(said))
        store.drop_parts(path, but=folder.name)
        path.unlink(missing_ok=True)


def load(path: Path) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """Whole tensors and values. Raises RunError for a checkpoint that cannot be read."""
    pointer = store.pointer(path)
    if not pointer.exists() or (path.exists() and _age(path) > _age(pointer)):
        return tensorfile.load(path)
    from torch.distributed.checkpoint.api import CheckpointException
    from torch.distributed.checkpoint.hf_storage import HuggingFaceStorageReader
    from torch.distributed.checkpoint.metadata import TensorStorageMetadata
    from torch.distributed.checkpoint.state_dict_loader import load as read

    try:
        said = json.loads(pointer.read_text(encoding="utf-8"))
        reader = HuggingFaceStorageReader(str(path.with_name(said["folder"])))
        known = reader.read_metadata().state_dict_metadata
        tensors = {
            name: torch.empty(of.size, dtype=of.properties.dtype)
            for name, of in known.items()
            if isinstance(of, TensorStorageMetadata)
        }
        with warnings.catch_warnings():  # that this process reads by itself, as it is meant to
            warnings.simplefilter("ignore")
            read(tensors, storage_reader=reader, no_dist=True)
        return tensors, said["values"]
    except (OSError, ValueError, KeyError, CheckpointException) as error:
        raise RunError(f"{pointer} and its parts cannot be read: {_last(error)}") from error


def token(place: Placement) -> str:
    """One that no folder has yet, of the lead's clock."""
    return str(place.told(time.time_ns()))


def _age(path: Path) -> float:
    return path.stat().st_mtime


def _last(error: BaseException) -> str:
    return str(error).strip().rpartition("\n")[2]
