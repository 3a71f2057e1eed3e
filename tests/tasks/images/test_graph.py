"""The graph that ships: it answers as its network does, and it is lean."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
import torch
from torch import nn

from shoestring.bundle import session
from shoestring.core.errors import UserError
from shoestring.tasks.images.fold import Affine, fold, read
from shoestring.tasks.images.graph import to_onnx
from shoestring.tasks.images.model import ImageNetwork, Residual
from tests.bundle.making import facts, settled

C = nn.Conv2d


def norm(channels: int) -> nn.BatchNorm2d:
    return nn.BatchNorm2d(channels)


def head(inputs: int) -> list[nn.Module]:
    return [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(inputs, 3)]


NETWORKS = {
    "folded": [C(3, 4, 3), norm(4), nn.ReLU(), *head(4)],
    "padded": [C(3, 4, 3, padding=1, bias=False), norm(4), nn.ReLU(), *head(4)],
    "same padding": [C(3, 4, 4, padding="same"), nn.ReLU(), C(4, 4, 3, padding="valid"), *head(4)],
    "strides": [C(3, 4, (3, 2), stride=(2, 1), padding=(1, 0), dilation=(1, 2)), *head(4)],
    "groups": [C(3, 6, 3, groups=3, padding=1), norm(6), C(6, 4, 1, groups=2), *head(4)],
    "norm after max": [C(3, 8, 3), nn.MaxPool2d(2), norm(8), nn.ReLU(), *head(8)],
    "norm after padded max": [C(3, 8, 3), nn.MaxPool2d(3, 2, 1, ceil_mode=True), norm(8), *head(8)],
    "norm after mean": [C(3, 8, 3), nn.AvgPool2d(2), norm(8), nn.ReLU(), *head(8)],
    "norm after padded mean": [C(3, 8, 3), nn.AvgPool2d(3, 2, 1), norm(8), nn.ReLU(), *head(8)],
    "mean without padding": [
        C(3, 4, 3),
        nn.AvgPool2d(3, 2, 1, count_include_pad=False),
        norm(4),
        *head(4),
    ],
    "mean with ceiling": [C(3, 4, 2), nn.AvgPool2d(2, 2, ceil_mode=True), *head(4)],
    "mean with ceiling, padded": [
        C(3, 4, 2),
        nn.AvgPool2d(3, 2, 1, ceil_mode=True, count_include_pad=False),
        *head(4),
    ],
    "norm after activation": [C(3, 4, 3), nn.ReLU(), norm(4), nn.MaxPool2d(2), *head(4)],
    "norm before padding": [C(3, 4, 3), nn.ReLU(), norm(4), C(4, 4, 3, padding=1), *head(4)],
    "norm before no padding": [C(3, 4, 3), nn.ReLU(), norm(4), C(4, 4, 3), *head(4)],
    "norm first": [norm(3), C(3, 4, 3, padding=1), *head(4)],
    "norm twice": [C(3, 4, 3), norm(4), norm(4), *head(4)],
    "norm before flatten": [C(3, 2, 3), nn.ReLU(), norm(2), nn.Flatten(), nn.Linear(72, 3)],
    "norm of features": [
        nn.Flatten(),
        nn.Linear(192, 8),
        nn.BatchNorm1d(8),
        nn.ReLU(),
        nn.BatchNorm1d(8),
        nn.Linear(8, 3, bias=False),
    ],
    "norm of features last": [nn.Flatten(), nn.Linear(192, 3), nn.ReLU(), nn.BatchNorm1d(3)],
    "norm without affine": [C(3, 4, 3), nn.BatchNorm2d(4, affine=False), *head(4)],
    "residual": [
        C(3, 4, 3),
        Residual(nn.Sequential(C(4, 4, 3, padding=1), norm(4), nn.ReLU())),
        norm(4),
        nn.ReLU(),
        *head(4),
    ],
    "residual first": [Residual(nn.Sequential(C(3, 3, 1), norm(3))), *head(3)],
    "residual within": [
        C(3, 4, 3),
        Residual(nn.Sequential(norm(4), Residual(nn.Sequential(nn.ReLU(), C(4, 4, 1))))),
        *head(4),
    ],
    "activations": [
        C(3, 4, 3),
        nn.GELU(),
        C(4, 4, 1),
        nn.GELU(approximate="tanh"),
        C(4, 4, 1),
        nn.SiLU(),
        C(4, 4, 1),
        nn.Hardswish(),
        C(4, 4, 1),
        nn.LeakyReLU(0.2),
        *head(4),
    ],
    "nothing to do": [nn.Sequential(C(3, 4, 3), nn.Dropout(0.5), nn.Identity()), *head(4)],
    "no convolution": [nn.Flatten(), nn.Linear(192, 3)],
}


def difference(model: nn.Sequential, data: bytes, known: dict) -> float:
    random = np.random.default_rng(0)
    pixels = random.integers(0, 256, (7, *known["size"], known["channels"]), dtype=np.uint8)
    opened = session.open_graph(data, "model.onnx", threads=1)
    rows = opened.run(["probabilities"], {"pixels": pixels})[0]
    floats = (torch.from_numpy(pixels) - torch.tensor(known["mean"])) / torch.tensor(known["std"])
    with torch.no_grad():
        expected = torch.softmax(model(floats.permute(0, 3, 1, 2)), dim=1).numpy()
    assert rows.dtype == np.float32
    return float(np.abs(rows - expected).max())


# An even kernel with "same" padding is padded unevenly, which torch finds slow and we find hard.
@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel")
@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("seed", [0, 1])
def test_the_graph_answers_as_its_network(name: str, seed: int) -> None:
    torch.manual_seed(seed)
    model = settled(nn.Sequential(*NETWORKS[name]))
    known = facts(channels=3)
    data = to_onnx(model, known, {})
    onnx.checker.check_model(onnx.load_from_string(data), full_check=True)
    assert difference(model, data, known) < 2e-6


@pytest.mark.parametrize("kind", ["compact", "classic"])
@pytest.mark.parametrize(("channels", "size"), [(1, (28, 28)), (3, (20, 33))])
def test_our_networks_are_exported(kind: str, channels: int, size: tuple[int, int]) -> None:
    known = facts(channels, size, classes=5)
    network = ImageNetwork(kind)
    options = {"kind": kind, "width": 4, "depth": 2} if kind == "compact" else {"kind": kind}
    torch.manual_seed(0)
    model = settled(network.build(network.architecture(options, known)))
    assert difference(model, to_onnx(model, known, {}), known) < 1e-5


def operators(model: nn.Sequential, known: dict) -> list[str]:
    parsed = onnx.load_from_string(to_onnx(model, known, {}))
    return [node.op_type for node in parsed.graph.node]


def test_every_norm_that_can_be_folded_is() -> None:
    model = settled(nn.Sequential(*NETWORKS["folded"]))
    assert operators(model, facts(channels=3)) == [
        "Transpose",
        "Cast",
        "Conv",
        "Relu",
        "GlobalAveragePool",
        "Flatten",
        "Gemm",
        "Softmax",
    ]


def test_an_average_and_a_positive_scale_let_a_norm_through_to_the_weights() -> None:
    known = facts(channels=3)
    model = settled(nn.Sequential(*NETWORKS["norm after mean"]))
    assert not {"Mul", "Add"} & set(operators(model, known))
    model = settled(nn.Sequential(*NETWORKS["norm after max"]))
    model[2].weight.data.abs_()
    assert not {"Mul", "Add"} & set(operators(model, known))
    model[2].weight.data[0] *= -1  # a maximum of negatives is a minimum: a factor stays
    assert operators(model, known).count("Mul") == 1
    assert difference(model, to_onnx(model, known, {}), known) < 2e-6


def test_padding_keeps_the_shift_of_the_pixels_in_front_of_it() -> None:
    model = settled(nn.Sequential(*NETWORKS["padded"]))
    assert operators(model, facts(channels=3))[:4] == ["Transpose", "Cast", "Add", "Conv"]


def test_scales_of_zero_are_folded_right() -> None:
    known = facts(channels=3)
    for name in ("norm after max", "norm before padding"):
        model = settled(nn.Sequential(*NETWORKS[name]))
        next(m for m in model if isinstance(m, nn.BatchNorm2d)).weight.data[:2] = 0
        assert difference(model, to_onnx(model, known, {}), known) < 2e-6


def test_folding_leaves_its_arguments_alone() -> None:
    model = settled(nn.Sequential(*NETWORKS["norm after max"]))
    layers = read(model)
    before = [layer.weight.copy() for layer in layers if hasattr(layer, "weight")]
    fold([Affine(np.array([2.0, 2.0, 2.0]), np.zeros(3)), *layers])
    after = [layer.weight for layer in layers if hasattr(layer, "weight")]
    assert all(np.array_equal(a, b) for a, b in zip(before, after, strict=True))


def test_the_same_network_gives_the_same_bytes_and_others_do_not() -> None:
    def exported(seed: int) -> bytes:
        torch.manual_seed(seed)
        return to_onnx(settled(nn.Sequential(C(1, 2, 3), norm(2), *head(2))), facts(), {})

    assert exported(0) == exported(0) != exported(1)


def test_the_graph_costs_few_bytes_beside_its_weights() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(
        *(C(1, 8, 3), norm(8), nn.ReLU(), nn.MaxPool2d(2), C(8, 12, 3), norm(12), nn.ReLU()),
        *(C(12, 16, 3), norm(16), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(256, 10)),
    )
    known = facts(size=(28, 28), classes=10)
    data = to_onnx(settled(model), known, {})
    parsed = onnx.load_from_string(data)
    weights = sum(len(tensor.raw_data) for tensor in parsed.graph.initializer)
    assert len(data) - weights < 600
    assert not parsed.metadata_props
    assert not parsed.doc_string
    assert all(not node.name for node in parsed.graph.node)


def test_equal_constants_are_stored_once() -> None:
    model = nn.Sequential(C(3, 4, 3), nn.GELU(), C(4, 4, 1), nn.GELU(), *head(4)).eval()
    parsed = onnx.load_from_string(to_onnx(model, facts(channels=3), {}))
    values = [(tuple(t.dims), t.raw_data) for t in parsed.graph.initializer]
    assert len(values) == len(set(values))


def test_many_names_stay_different() -> None:
    layers = [layer for _ in range(40) for layer in (C(3, 3, 1), nn.ReLU())]
    model = nn.Sequential(*layers, *head(3)).eval()
    assert difference(model, to_onnx(model, facts(channels=3), {}), facts(channels=3)) < 2e-6


def test_a_resize_stands_in_front_where_pictures_differ_in_size() -> None:
    from shoestring.tasks.images.reading.preprocess import Resizer, resize_graph

    torch.manual_seed(0)
    model = settled(nn.Sequential(*NETWORKS["padded"]))
    known = facts(channels=3, resize=True)
    opened = session.open_graph(to_onnx(model, known, {}), "model.onnx", threads=1)
    plain = session.open_graph(to_onnx(model, facts(channels=3), {}), "model.onnx", threads=1)
    pictures = np.random.default_rng(0).integers(0, 256, (2, 31, 17, 3), dtype=np.uint8)
    cached = Resizer(resize_graph((8, 8)))(pictures)  # what training sees
    rows = opened.run(None, {"pixels": pictures})[0]
    assert np.array_equal(rows, plain.run(None, {"pixels": cached})[0])
    assert np.array_equal(rows, opened.run(None, {"pixels": cached})[0])


@pytest.mark.parametrize(
    ("module", "words"),
    [
        (nn.Tanh(), r"a network with Tanh cannot be exported; it may have Conv2d"),
        (nn.AdaptiveAvgPool2d(2), r"a network with AdaptiveAvgPool2d"),
        (nn.Flatten(2), r"a network with Flatten"),
        (C(3, 3, 3, padding=1, padding_mode="reflect"), r"padding of mode 'reflect'"),
        (nn.BatchNorm2d(3, track_running_stats=False), r"without running statistics"),
        (nn.AvgPool2d(2, divisor_override=3), r"its averages have no ONNX form"),
        (nn.AvgPool2d(2, ceil_mode=True, padding=1), r"its averages have no ONNX form"),
    ],
)
def test_a_layer_that_has_no_place_in_a_graph_is_named(module: nn.Module, words: str) -> None:
    with pytest.raises(UserError, match=words):
        to_onnx(nn.Sequential(module, *head(3)), facts(channels=3), {})


def test_a_quantization_that_is_not_known_is_refused() -> None:
    with pytest.raises(UserError, match=r"not quantized by \{'weights': 'int8'\}; method is one"):
        to_onnx(nn.Sequential(*head(3)), facts(channels=3), {"weights": "int8"})


def test_mean_and_deviation_have_to_fit_the_channels() -> None:
    with pytest.raises(UserError, match=r"mean and std need 3 values each"):
        to_onnx(nn.Sequential(*head(3)), {**facts(channels=3), "mean": [1.0]}, {})


def test_only_operators_that_the_bundle_allows_are_written() -> None:
    for layers in NETWORKS.values():
        model = settled(nn.Sequential(*layers))
        assert set(operators(model, facts(channels=3, resize=True))) <= session.OPERATORS
