"""RandAugment and TrivialAugment: what is drawn, and what each operation does to pixels."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image, ImageEnhance, ImageOps

from shoestring.engine.device import KeyedDraws
from shoestring.tasks.images import policies, warp
from shoestring.tasks.images.policies import MOVES, OPERATIONS, TONES, Drawn


def pictures(count: int = 4, side: int = 16, channels: int = 3) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    shape = (count, side, side, channels)
    return torch.randint(20, 230, shape, generator=generator).to(torch.uint8)


def only(name: str, count: int, magnitude: float = 0.5, sign: float = 1.0) -> Drawn:
    kinds = torch.full((count, 1), OPERATIONS.index(name))
    return Drawn(kinds, torch.full((count, 1), magnitude), torch.full((count, 1), sign))


def toned(name: str, x: torch.Tensor, magnitude: float = 0.5, sign: float = 1.0) -> torch.Tensor:
    found = policies.toned(x, only(name, len(x), magnitude, sign))
    assert found.dtype == torch.uint8
    return found


def test_randaugment_draws_so_many_at_one_magnitude() -> None:
    drawn = policies.drawn("rand", KeyedDraws(0, 0, torch.arange(3000)), 3, 1.0)
    assert drawn.kinds_BN.shape == (3000, 3)
    assert set(drawn.kinds_BN.unique().tolist()) == set(range(len(OPERATIONS)))
    assert torch.equal(drawn.magnitudes_BN.unique(), torch.tensor([0.3]))
    assert set(drawn.signs_BN.unique().tolist()) == {-1.0, 1.0}
    counts = torch.bincount(drawn.kinds_BN.flatten())
    assert int(counts.min()) > 0.8 * 9000 / len(OPERATIONS)


def test_trivialaugment_draws_one_at_any_magnitude() -> None:
    drawn = policies.drawn("trivial", KeyedDraws(0, 0, torch.arange(3000)), 2, 0.5)
    assert drawn.kinds_BN.shape == (3000, 1)
    assert 0 <= float(drawn.magnitudes_BN.min()) < 0.01
    assert 0.49 < float(drawn.magnitudes_BN.max()) <= 0.5


def test_a_strength_beyond_the_range_ends_there() -> None:
    drawn = policies.drawn("rand", KeyedDraws(0, 0, torch.arange(4)), 2, 9.0)
    assert float(drawn.magnitudes_BN.max()) == 1.0


@pytest.mark.parametrize("name", MOVES)
def test_a_move_changes_places_and_no_tone(name: str) -> None:
    x = pictures()
    drawn = only(name, len(x))
    assert torch.equal(policies.toned(x, drawn), x)
    there, back = policies.moved(drawn), policies.moved(only(name, len(x), sign=-1.0))
    assert not torch.allclose(there, torch.eye(2, 3).expand_as(there))
    assert not torch.allclose(there, back)
    flat = torch.full((4, 16, 16, 3), 99.0)
    assert torch.allclose(warp.warped(flat, there), flat, atol=1e-3)


@pytest.mark.parametrize("name", ["identity", *TONES])
def test_a_tone_changes_no_place(name: str) -> None:
    matrix = policies.moved(only(name, 4))
    assert torch.allclose(matrix, torch.eye(2, 3).expand_as(matrix))


def test_the_identity_changes_nothing() -> None:
    assert torch.equal(toned("identity", pictures()), pictures())


@pytest.mark.parametrize("name", ["brightness", "sharpness"])
@pytest.mark.parametrize("sign", [-1.0, 1.0])
def test_enhancements_are_those_of_pillow(name: str, sign: float) -> None:
    x = pictures()
    enhance = {"brightness": ImageEnhance.Brightness, "sharpness": ImageEnhance.Sharpness}[name]
    wanted = [
        np.asarray(enhance(Image.fromarray(p.numpy())).enhance(1 + 0.9 * 0.5 * sign)) for p in x
    ]
    difference = toned(name, x, 0.5, sign).int() - torch.from_numpy(np.stack(wanted)).int()
    assert int(difference.abs().max()) <= 1


@pytest.mark.parametrize(("magnitude", "bits"), [(0.0, 8), (0.5, 6), (1.0, 4)])
def test_posterize_is_that_of_pillow(magnitude: float, bits: int) -> None:
    x = pictures()
    wanted = [np.asarray(ImageOps.posterize(Image.fromarray(p.numpy()), bits)) for p in x]
    assert torch.equal(toned("posterize", x, magnitude), torch.from_numpy(np.stack(wanted)))


@pytest.mark.parametrize(("magnitude", "limit"), [(0.0, 256), (0.5, 128), (1.0, 0)])
def test_solarize_is_that_of_pillow(magnitude: float, limit: int) -> None:
    x = pictures()
    wanted = [np.asarray(ImageOps.solarize(Image.fromarray(p.numpy()), limit)) for p in x]
    assert torch.equal(toned("solarize", x, magnitude), torch.from_numpy(np.stack(wanted)))


def test_autocontrast_is_that_of_pillow() -> None:
    x = pictures()
    wanted = [np.asarray(ImageOps.autocontrast(Image.fromarray(p.numpy()))) for p in x]
    difference = toned("autocontrast", x).int() - torch.from_numpy(np.stack(wanted)).int()
    assert int(difference.abs().max()) <= 1


def test_equalize_spreads_tones_and_keeps_their_order() -> None:
    dark = (pictures(2, 32).float() * 0.2 + 10).to(torch.uint8)
    even = toned("equalize", dark).float()
    assert float(even.min()) == 0
    assert float(even.max()) == 255
    for channel in range(3):
        order = dark[0, ..., channel].flatten().argsort(stable=True)
        assert bool((even[0, ..., channel].flatten()[order].diff() >= 0).all())
        shares = torch.histc(even[0, ..., channel], 4, 0, 255) / 1024
        assert float((shares - 0.25).abs().max()) < 0.08


@pytest.mark.parametrize("name", ["autocontrast", "equalize", "contrast", "color", "sharpness"])
def test_an_even_picture_stays(name: str) -> None:
    for channels in (1, 3):
        flat = torch.full((2, 8, 8, channels), 77, dtype=torch.uint8)
        assert torch.equal(toned(name, flat), flat)


def test_contrast_and_colour_move_away_from_their_mean() -> None:
    x = pictures()
    assert float(toned("contrast", x).float().std()) > float(x.float().std())
    grey = toned("color", x, 1.0, -1.0).float()
    assert float(grey.std(3).mean()) < 0.2 * float(x.float().std(3).mean())


def test_only_the_pictures_that_drew_an_operation_change() -> None:
    x = pictures(6)
    drawn = only("solarize", 6, 1.0)
    drawn.kinds_BN[::2] = OPERATIONS.index("identity")
    found = policies.toned(x, drawn)
    assert torch.equal(found[::2], x[::2])
    assert torch.equal(found[1::2], 255 - x[1::2])
