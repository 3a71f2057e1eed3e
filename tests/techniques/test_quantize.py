"""quantize: rounding, what ships and why, on small runs of both tasks."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from shoestring import plugins
from shoestring.autopilot import finish
from shoestring.autopilot.train import train
from shoestring.bundle.verify import verify
from shoestring.core.budget import Budget
from shoestring.core.errors import BundleError, Skipped, UserError
from shoestring.core.receipt import Plain, Receipt, Scores
from shoestring.core.run import Run
from shoestring.engine import derive
from shoestring.engine.shrink import candidates
from shoestring.techniques import quantize
from shoestring.techniques.quantize import Quantize, _place, on_levels
from tests import tiny

TASKS = plugins.task_names()
LARGE = 1 << 20  # bytes; more than any of these graphs


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Run]:
    """A small trained run of each task, whose bundle is float32."""
    found = {}
    for task in TASKS:
        folder = tmp_path_factory.mktemp(f"quantize-{task}")
        small = tiny.of_task(task)
        floats = {"ship": "float32"} if hasattr(plugins.task(task).options, "ship") else {}
        recipe = tiny.recipe(small.write(folder), steps=60, evaluate_every=20, options=floats)
        found[task] = train(recipe=recipe, out=folder / "run")
    return found


@pytest.fixture(scope="module", params=TASKS)
def trained(request: pytest.FixtureRequest, runs: dict[str, Run]) -> Run:
    return runs[request.param]


@pytest.fixture(scope="module")
def images(runs: dict[str, Run]) -> Run:
    return runs[TASKS[0]]


def quantized(run: Run, folder: Path, **options: Any) -> Run:
    return finish.apply(Quantize(**options), run.path, out=folder / "quantized")


def line(run: Run) -> Receipt:
    return next(one for one in reversed(run.receipts) if one.technique.startswith("quantize"))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"bits": 5}, "bits is 8, 4 or 2, not 5"),
        ({"bits": 4, "activations": "uint8"}, "go with activations=float32"),
        ({"examples": 0}, "from 1, not 0"),
        ({"points": -1}, "points is from 0"),
        ({"rate": 0}, "rate are above 0"),
    ],
)
def test_options_that_make_no_sense_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Quantize(**options)
    words = ",".join(f"{name}={value}" for name, value in options.items())
    with pytest.raises(UserError, match=message):
        plugins.technique(f"quantize:{words}")


# --- levels ---------------------------------------------------------------------------------------


@given(
    bits=st.sampled_from([8, 4, 2]),
    seed=st.integers(0, 2**31),
    shape=st.sampled_from([(1, 1), (3, 7), (4, 3, 3, 3)]),
    scale=st.sampled_from([0.0, 1e-6, 1.0, 1e4]),
)
def test_weights_come_to_lie_on_their_levels_and_stay_there(
    bits: int, seed: int, shape: tuple[int, ...], scale: float
) -> None:
    weight = scale * torch.randn(shape, generator=torch.Generator().manual_seed(seed))
    rounded = on_levels(weight, bits)
    for before, after in zip(weight.flatten(1), rounded.flatten(1), strict=True):
        assert len(after.abs().unique()) <= 2 ** (bits - 1)  # of both signs, and zero
        assert after.abs().max() <= before.abs().max() * (1 + 1e-6)
        if bits == 8:
            assert (after - before).abs().max() <= before.abs().max() / 63 / 2 * 1.001
    again = on_levels(rounded, bits)
    assert torch.allclose(again, rounded, rtol=1e-5, atol=0)


def test_few_levels_lie_where_the_squared_error_is_least() -> None:
    weight = torch.tensor([[1.0, *[0.1, -0.1] * 50]])
    plain = weight.sign()  # two bits up to the largest weight: 1 and 0 alone
    assert (on_levels(weight, 2) - weight).square().sum() < (plain - weight).square().sum()


# --- what ships -----------------------------------------------------------------------------------


def test_bytes_alone_ship_small_and_weights_in_the_run_stay_float(
    images: Run, tmp_path: Path
) -> None:
    made = quantized(images, tmp_path, want="size", points=5.0)
    assert made.quantization["method"] == "weights"
    assert made.scores is not None and images.scores is not None
    assert (made.scores.model_bytes or LARGE) < (images.scores.model_bytes or 0)
    assert {w.dtype for w in derive.model_of(made).parameters()} == {torch.float32}
    assert tiny.same(derive.model_of(made).state_dict(), derive.model_of(images).state_dict())
    verify(made.path / "bundle")
    assert "bytes instead of" in line(made).reason
    assert line(made).gain is not None


def test_fewer_bits_take_fewer_bytes(images: Run, tmp_path: Path) -> None:
    eight, four = (
        quantized(images, tmp_path / str(bits), want="size", points=100.0, bits=bits)
        for bits in (8, 4)
    )
    assert four.quantization["bits"] == 4
    assert four.scores is not None and eight.scores is not None
    assert (four.scores.model_bytes or LARGE) < (eight.scores.model_bytes or 0)


def test_what_is_not_faster_ships_as_it_was(
    images: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(candidates, "speed", lambda *_: 0.5)
    made = quantized(images, tmp_path, want="speed", points=100.0)
    assert line(made).status == "skipped"
    assert "0.50 times as fast" in line(made).reason
    assert "not faster here, so that it ships as it was" in line(made).reason
    assert made.quantization == images.quantization
    before, after = (run.path / "bundle" / "model.onnx" for run in (images, made))
    assert before.read_bytes() == after.read_bytes()


def test_what_is_faster_ships_with_the_best_of_its_calibrations(
    images: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(candidates, "speed", lambda *_: 2.0)
    made = quantized(images, tmp_path, want="speed", points=100.0)
    assert made.quantization["method"] == "static"
    assert made.quantization["layers"]
    for name in ("minmax", "percentile", "mse", "entropy"):
        assert name in line(made).reason
    one = quantized(images, tmp_path / "one", want="speed", points=100.0, calibration="mse")
    assert "calibrated by mse (mse" in line(one).reason


def test_a_fit_with_rounded_weights_goes_before(trained: Run, tmp_path: Path) -> None:
    made = quantized(trained, tmp_path, method="qat", want="size", points=100.0, epochs=0.5)
    assert line(made).status == "applied"
    assert len(made.curve) > 0
    model = derive.model_of(made)
    for name, weight in quantize._matrices(model).items():
        assert torch.allclose(on_levels(weight, 8), weight, rtol=1e-5, atol=1e-8), name
    verify(made.path / "bundle")


def test_a_fit_of_a_run_in_int8_is_judged_by_its_quality(trained: Run, tmp_path: Path) -> None:
    """It can be neither smaller nor faster than it was."""
    light = quantized(trained, tmp_path / "light", want="size", points=100.0)
    made = quantized(light, tmp_path / "again", method="qat", want="size", points=100.0, epochs=0.5)
    found = line(made)
    assert (found.status == "applied") != ("it is no better" in found.reason)
    assert "it is not smaller" not in found.reason


def test_feature_maps_are_rounded_in_a_fit_for_bytes_that_compute(images: Run) -> None:
    model = derive.model_of(images)
    network = plugins.task(images.task).network(str((images.architecture or {})["kind"]))
    convolution = next(m for m in model.modules() if isinstance(m, torch.nn.Conv2d))
    seen: list[torch.Tensor] = []
    convolution.register_forward_hook(lambda m, inputs, output: seen.append(inputs[0]))
    x = torch.rand(2, convolution.in_channels, 16, 16)
    Quantize(method="qat").prepare(model, network)
    convolution(x)
    assert len(seen[0].unique()) <= 256
    assert (seen[0] - x).abs().max() <= float(x.max()) / 255


def test_weights_are_whole_again_before_the_optimizer_steps(images: Run) -> None:
    model = derive.model_of(images)
    network = plugins.task(images.task).network(str((images.architecture or {})["kind"]))
    hook, before = Quantize(method="qat"), {n: w.clone() for n, w in model.state_dict().items()}
    hook.begin_step(model, network, 0.5)
    assert not tiny.same(model.state_dict(), before)
    hook.before_step(model)
    assert tiny.same(model.state_dict(), before)
    plain = Quantize()
    plain.begin_step(model, network, 0.5)
    assert tiny.same(model.state_dict(), before)
    assert plain.evaluation_weights(model, {}) is None


def test_a_method_that_a_network_does_not_know_lists_those_that_it_knows() -> None:
    network = plugins.task(TASKS[1]).network("lstm")
    with pytest.raises(UserError, match=r"not quantized by method=static; take auto, qat, dynamic"):
        Quantize(method="static")._wanted(network)
    assert Quantize()._wanted(network) == {"method": "dynamic"}


# --- layers that hurt -----------------------------------------------------------------------------


@dataclass
class Scale:
    """Weighs candidates that lose 4 points for layer 1 and half a point for each other."""

    deciding: range = range(1000)
    hurts: int = 1

    class task:  # noqa: N801  # stands for an object
        perfect = 1.0

    def made(self, quantization: Plain) -> Any:
        layers = [n for n in quantization["layers"] if n not in quantization.get("float", ())]
        lost = sum(0.04 if int(n) == self.hurts else 0.001 for n in layers)
        scores = Scores(metric="accuracy", quality=0.9 - lost)
        return candidates.Candidate(quantization, {}, None, scores)  # type: ignore[arg-type]


def weighed(count: int = 1000, **options: Any) -> tuple[Any, str]:
    scale = Scale(deciding=range(count))
    whole = scale.made({"layers": {}})
    found = scale.made({"method": "static", "layers": {"0": 1, "1": 1, "2": 1}})
    return Quantize(**options)._within(scale, whole, found, Budget())  # type: ignore[arg-type]


def test_the_layer_that_hurts_stays_float() -> None:
    found, said = weighed(points=0.5)
    assert found.quantization["float"] == ["1"]
    assert said == "layers 1 stay float32"


def test_nothing_is_mixed_where_it_was_not_asked_for() -> None:
    with pytest.raises(Skipped, match="loses too much on 1000 deciding examples"):
        weighed(points=0.5, mixed=False)
    found, said = weighed(points=5.0)
    assert "float" not in found.quantization
    assert not said


def test_too_much_is_lost_even_with_all_layers_but_one_in_float() -> None:
    with pytest.raises(Skipped, match=r"where 0 points were allowed; it ships as it was"):
        weighed(10**6, points=0.0)


def test_a_graph_that_this_runtime_cannot_run_leaves_the_bundle(
    images: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = candidates.Weighing.made

    def refusing(self: Any, quantization: Plain) -> Any:
        if quantization:
            raise BundleError("no kernel for it")
        return made(self, quantization)

    monkeypatch.setattr(candidates.Weighing, "made", refusing)
    run = quantized(replace(images), tmp_path, want="size")
    assert line(run).status == "skipped"
    assert "no kernel for it" in line(run).reason


def test_of_two_graphs_the_faster_one_is_told(images: Run) -> None:
    with derive.at(derive.Desk()):
        dataset = derive.dataset_of(images)
        weighing = candidates.Weighing(images, derive.model_of(images), dataset)
        one = weighing.made({})
    assert 0.2 < candidates.speed(one, one, 0.05) < 5
    assert one.size_bytes < LARGE


def test_layers_are_named_in_their_order_also_those_of_members() -> None:
    assert sorted(["10", "9"], key=_place) == ["9", "10"]
    assert sorted(["1.10", "1.4", "0.12"], key=_place) == ["0.12", "1.4", "1.10"]
