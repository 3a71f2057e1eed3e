"""device: seeds, threads, precision, devices, and random draws keyed by example."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import torch
import torch.utils.deterministic

from shoestring import __version__
from shoestring.core.errors import UserError
from shoestring.core.machine import cores
from shoestring.core.receipt import Plain

PRECISIONS = ("float32", "bfloat16")
BUSY = 1.5  # processes that want to run, for each core
_DETERMINISTIC: Any = torch.utils.deterministic  # its setting is made at run time
_MASK64 = (1 << 64) - 1


def available() -> tuple[str, ...]:
    """The devices that this machine and this torch have, the best first."""
    found = []
    if torch.cuda.is_available():
        found.append("cuda")
    if torch.backends.mps.is_available():
        found.append("mps")
    return (*found, "cpu")


def resolve(asked: str) -> str:
    """The device to use; `auto` takes the best, a named one that is absent is refused."""
    devices = available()
    if asked == "auto":
        return devices[0]
    if asked.partition(":")[0] not in devices:
        raise UserError(
            f"device {asked!r} is not here; this machine and this torch {torch.__version__} have: "
            f"{', '.join(devices)}"
        )
    return asked


@cache
def has_bfloat16(device: str) -> bool:
    """Whether products of bfloat16 have kernels here. A processor without AVX-512 (or Arm's
    equal) takes 70 times as long for them as in float32, and oneDNN has no such LSTM at all."""
    kind = device.partition(":")[0]
    if kind == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    if kind != "cpu":
        return True
    # A torch that was built without oneDNN has no such operator.
    built: Any = torch.backends.mkldnn
    return bool(built.is_available() and torch.ops.mkldnn._is_mkldnn_bf16_supported())


def precisions(device: str) -> tuple[str, ...]:
    """Those worth a try."""
    return tuple(p for p in PRECISIONS if p != "bfloat16" or has_bfloat16(device))


def autocast(device: str, precision: str | None) -> AbstractContextManager[None]:
    """Products in bfloat16 inside, where they are asked for and there are any."""
    enabled = precision == "bfloat16" and has_bfloat16(device)
    return torch.autocast(device.partition(":")[0], torch.bfloat16, enabled=enabled)


def default_threads() -> int:
    """The cores that this process may use."""
    return max(1, min(torch.get_num_threads(), cores()))


def busy(count: int) -> bool:
    """Whether other work wants more than so many cores, so that one thread is better than several,
    which wait for each other at every operation: steps can take twenty times as long then."""
    return hasattr(os, "getloadavg") and os.getloadavg()[0] > BUSY * count


def usable_threads(recorded: int | None, clock: bool) -> int:
    """Of work on a recorded run: what it has; one where there is a clock and the machine is busy,
    for what is to be the same again has no clock."""
    if clock and busy(default_threads()):
        return 1
    return recorded or default_threads()


@contextmanager
def settled(threads: int, place: str = "cpu") -> Iterator[None]:
    """Fixed threads and the deterministic kernels of a device inside; all as it was after."""
    before = torch.get_num_threads()
    mode = torch.get_deterministic_debug_mode()
    filled = _DETERMINISTIC.fill_uninitialized_memory
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # cuBLAS asks for it
    torch.set_num_threads(threads)
    # use_deterministic_algorithms does the same but imports the compiler, which takes seconds.
    # A kernel with no deterministic form warns, and the exactness test would turn it up.
    torch.set_deterministic_debug_mode("warn")
    _DETERMINISTIC.fill_uninitialized_memory = False  # nothing here reads such memory
    benchmark, torch.backends.cudnn.benchmark = torch.backends.cudnn.benchmark, False
    fused = _fused_attention(None)
    if place.startswith("cuda") or (place == "auto" and torch.cuda.is_available()):
        # Their backward adds up in any order there, and cuDNN's plans anew for each length. (The
        # switch of the flash kernel holds for processors too, which have a deterministic one.)
        _fused_attention((False, False, False))
    try:
        yield
    finally:
        _fused_attention(fused)
        torch.set_num_threads(before)
        torch.set_deterministic_debug_mode(mode)
        _DETERMINISTIC.fill_uninitialized_memory = filled
        torch.backends.cudnn.benchmark = benchmark


def _fused_attention(wanted: tuple[bool, ...] | None) -> tuple[bool, ...]:
    """How cuDNN's, the memory-efficient and the flash kernel are switched, and then `wanted`."""
    cuda: Any = torch.backends.cuda  # which has no types for these
    names = ("cudnn_sdp", "mem_efficient_sdp", "flash_sdp")
    before = tuple(getattr(cuda, f"{name}_enabled")() for name in names)
    for name, on in zip(names, wanted or before, strict=True):
        getattr(cuda, f"enable_{name}")(on)
    return before


def seed_step(seed: int, step: int, device: str = "cpu", stream: int = 0) -> None:
    """Seeds torch's own generators for one step, so that dropout needs no stored state and a
    resumed fit draws what an unbroken one would have drawn. Processes that do not share examples
    draw from streams of their own."""
    number = _mixed(seed, step) if not stream else _mixed(_mixed(seed, step), stream)
    if device == "cpu":  # ten times quicker than asking every device that there might be
        torch.default_generator.manual_seed(number)
    else:
        torch.manual_seed(number)


def environment(threads: int, device: str) -> Plain:
    """What, beside the recipe, decides the bytes that a fit gives."""
    return {
        "shoestring": __version__,
        "torch": torch.__version__,
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "processor": _processor(),
        "vector_unit": torch.backends.cpu.get_cpu_capability(),
        "device": torch.cuda.get_device_name(device) if device.startswith("cuda") else device,
        "threads": threads,
        "cores": os.cpu_count() or 1,
    }


def signature(environment: Plain) -> str:
    """One line that says where a figure was measured."""
    names = ("shoestring", "torch", "device", "vector_unit", "threads")
    return "|".join(f"{name}:{environment[name]}" for name in names if name in environment)


class KeyedDraws:
    """Uniform numbers from a counter-based hash (the finaliser of SplitMix64, Steele et al. 2014)
    of seed, epoch, example and a running number: no state, no order, any device."""

    def __init__(self, seed: int, epoch: int, ids: torch.Tensor) -> None:
        key = _signed(_mixed(seed, epoch))
        self._base = _scrambled(ids.to(torch.int64) * _signed(0x9E3779B97F4A7C15) + key)
        self._drawn = 0

    def uniform(self, count: int) -> torch.Tensor:
        """(B, count) float32 in [0, 1)."""
        device = self._base.device
        counters = torch.arange(self._drawn, self._drawn + count, device=device) + 1
        self._drawn += count
        bits = _scrambled(self._base[:, None] + counters * _signed(0xD1B54A32D192ED03))
        return ((bits >> 40) & 0xFFFFFF).to(torch.float32) * (1.0 / (1 << 24))


def _scrambled(x: torch.Tensor) -> torch.Tensor:
    x = (x ^ ((x >> 30) & 0x3FFFFFFFF)) * _signed(0xBF58476D1CE4E5B9)
    x = (x ^ ((x >> 27) & 0x1FFFFFFFFF)) * _signed(0x94D049BB133111EB)
    return x ^ ((x >> 31) & 0x1FFFFFFFF)


def _signed(value: int) -> int:
    """The same 64 bits as a signed integer, as torch's int64 has them."""
    value &= _MASK64
    return value - (1 << 64) if value >> 63 else value


def _mixed(seed: int, number: int) -> int:
    x = (seed * 0x9E3779B97F4A7C15 + number * 0xD1B54A32D192ED03 + 0x632BE59BD9B4E019) & _MASK64
    x = ((x ^ (x >> 30)) * 0xBF58476D1CE4E5B9) & _MASK64
    x = ((x ^ (x >> 27)) * 0x94D049BB133111EB) & _MASK64
    return (x ^ (x >> 31)) >> 1  # torch.manual_seed takes 63 bits everywhere


def _processor() -> str:
    try:
        for line in (
            Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
        ):
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def wait(device: str) -> None:
    """Until the device has done what it was given."""
    if device.startswith("cuda"):
        torch.cuda.synchronize(device)
    elif device == "mps":
        torch.mps.synchronize()
