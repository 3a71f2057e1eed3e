"""The graphs that ship, beside the networks they were made from."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

from shoestring.bundle.session import OPERATORS, RUNTIME_OPERATORS
from shoestring.core.errors import RunError, UserError
from shoestring.core.run import Recipe, Run
from shoestring.tasks.translation import graph, graph_lstm
from shoestring.tasks.translation.agreement import NetworkSteps
from shoestring.tasks.translation.model import TranslationNetwork
from shoestring.tasks.translation.search import SearchOptions, search
from shoestring.tasks.translation.special import BOS
from shoestring.tasks.translation.steps import judged
from tests.tasks.translation import shipping
from tests.tasks.translation.making import PIECES, SMALL, a_network
from tests.tasks.translation.shipping import ended, some, steps
from tests.tasks.translation.tiny import NETWORKS

LENGTHS = (1, 6, 3)


@pytest.mark.parametrize("name", SMALL)
def test_a_graph_steps_as_its_network_does(name: str) -> None:
    """Rows of a sentence multiply, change places, and leave, as in a search."""
    _, model = a_network(name)
    shipped, trained = steps(model), NetworkSteps(model)
    sources = ended(some(LENGTHS, PIECES))
    ours, width = shipped.start(sources, 5, True, True)
    theirs, _ = trained.start(sources, 5, True, True)
    assert width == 7
    walk = [
        ([0, 1, 2], [BOS] * 3, [0, 1, 2]),
        ([0, 0, 1, 2, 2, 2], [5, 6, 7, 8, 9, 10], [0, 0, 1, 2, 2, 2]),
        ([1, 0, 2, 5, 3], [11, 12, 13, 14, 15], [0, 0, 1, 2, 2]),
        ([4, 3, 3], [16, 17, 18], [2, 2, 2]),
    ]
    for parents, pieces, sentences in walk:
        rows = tuple(np.array(row) for row in (parents, pieces, sentences))
        a, b = shipped.step(ours, *rows), trained.step(theirs, *rows)
        np.testing.assert_allclose(a.log_probabilities, b.log_probabilities, atol=2e-5)
        np.testing.assert_array_equal(a.pieces, b.pieces)
        assert a.attention is not None
        np.testing.assert_allclose(a.attention, b.attention, atol=1e-5)
        ours, theirs = a.state, b.state


@pytest.mark.parametrize("name", SMALL)
@pytest.mark.parametrize("beam", [1, 3])
def test_a_search_finds_the_same_in_both(name: str, beam: int) -> None:
    _, model = a_network(name)
    options = SearchOptions(beam=beam, longest=(1.0, 6.0))
    sources = ended(some((4, 9, 2, 5, 5), PIECES, seed=1))
    ours = search(steps(model), sources, options, nbest=beam)
    theirs = search(NetworkSteps(model), sources, options, nbest=beam)
    for a, b in zip(ours, theirs, strict=True):
        assert [one.pieces for one in a] == [one.pieces for one in b]
        assert [one.score for one in a] == pytest.approx([one.score for one in b], abs=1e-4)
    unscored = search(steps(model), sources, options, scores=False)
    assert [one.pieces for (one, *_) in unscored] == [one.pieces for (one, *_) in ours]


@pytest.mark.parametrize("int8", [False, True])
@pytest.mark.parametrize("name", SMALL)
def test_a_sentence_in_one_call_is_what_its_steps_say(name: str, int8: bool) -> None:
    """Two rows of one sentence go step by step, and have the same range in int8 as one."""
    _, model = a_network(name)
    shipped, ended_ones = steps(model, int8), 0
    options = SearchOptions(beam=1, longest=(1.0, 9.0))
    for source in ended(some((1, 4, 9, 2, 5, 14), PIECES, seed=2)):
        ((whole,),) = search(shipped, [source], options, scores=False)
        for stepped in search(shipped, [source, source], options, scores=False):
            assert [one.pieces for one in stepped] == [whole.pieces]
            assert stepped[0].ended == whole.ended
        ended_ones += whole.ended
        assert len(whole.pieces) + whole.ended <= len(source) + 9
    assert ended_ones < 6  # the limit is met as well


@pytest.mark.parametrize("name", SMALL)
def test_padding_changes_nothing(name: str) -> None:
    _, model = a_network(name)
    shipped = steps(model)
    sources, targets = ended(some((2, 11, 5), PIECES)), some((3, 1, 8), PIECES, seed=1)
    together, _, counts = judged(shipped, sources, targets)
    assert counts.tolist() == [4, 2, 9]
    for row, (source, target) in enumerate(zip(sources, targets, strict=True)):
        alone, _, _ = judged(shipped, [source], [target])
        np.testing.assert_allclose(together[row, : counts[row]], alone[0], atol=1e-5)
        assert not together[row, counts[row] :].any()


@pytest.mark.parametrize("name", SMALL)
@pytest.mark.parametrize("most", [0, graph_lstm.MOST_TABLED])
def test_int8_stays_near(name: str, most: int, monkeypatch: pytest.MonkeyPatch) -> None:
    _, model = a_network(name)
    monkeypatch.setattr(graph_lstm, "MOST_TABLED", most)
    sources, targets = ended(some((2, 11, 5), PIECES)), some((3, 1, 8), PIECES, seed=1)
    exact, _, _ = judged(steps(model), sources, targets)
    near, _, _ = judged(steps(model, int8=True), sources, targets)
    assert 0 < np.abs(near - exact).mean() < 0.05


@pytest.mark.parametrize("int8", [False, True])
def test_in_int8_no_decoder_row_of_an_lstm_looks_at_another(int8: bool) -> None:
    """Steps are known beforehand; a range taken from all rows would make them hang together."""
    _, model = a_network("lstm")
    shipped = steps(model, int8)
    source, target = ended(some((5,), PIECES)), some((4, 6, 2), PIECES, seed=1)
    # The encoder sees three times the same, so its own range is the same.
    together, _, counts = judged(shipped, source * 3, target)
    for row in range(3):
        alone, _, _ = judged(shipped, source, [target[row]])
        np.testing.assert_allclose(together[row, : counts[row]], alone[0], atol=1e-5)


def initializers(files: dict[str, bytes]) -> list[onnx.TensorProto]:
    return list(onnx.load_from_string(files[graph.WEIGHTS]).graph.initializer)


@pytest.mark.parametrize("int8", [False, True])
@pytest.mark.parametrize("kind", ["lstm", "transformer"])
@pytest.mark.parametrize(("tied", "count"), [(True, 1), (False, 3)])
def test_a_shared_matrix_stands_once(kind: str, tied: bool, count: int, int8: bool) -> None:
    network = TranslationNetwork(kind)
    options = {**NETWORKS[kind], "tied": tied}
    model = network.build(network.architecture(options, {"pieces": 331}))
    found = initializers(graph.graphs(model, int8))
    matrices = [t for t in found if 331 in t.dims]
    assert len([t for t in matrices if len(t.dims) == 2]) == count
    assert len(matrices) <= 3 * count  # with a bias, and in int8 the steps
    assert {t.data_type for t in matrices if len(t.dims) == 2} == {
        onnx.TensorProto.INT8 if int8 else 1
    }
    assert len({t.name for t in found}) == len(found)


@pytest.mark.parametrize("int8", [False, True])
@pytest.mark.parametrize("name", SMALL)
def test_the_files_are_valid_name_no_path_and_hold_nothing_twice(name: str, int8: bool) -> None:
    _, model = a_network(name)
    files = graph.graphs(model, int8)
    assert files == graph.graphs(model, int8)
    used = set()
    for file, data in files.items():
        if file == graph.WEIGHTS:
            continue
        assert len(data) < 10_000
        joined = onnx.load_from_string(data + files[graph.WEIGHTS])
        assert not onnx.load_from_string(data).graph.initializer
        assert not any(t.external_data for t in joined.graph.initializer)
        bodies = [a.g for node in joined.graph.node for a in node.attribute if a.HasField("g")]
        nodes = [node for one in (joined.graph, *bodies) for node in one.node]
        for node in nodes:
            own = not node.domain
            assert node.op_type in (OPERATORS if own else RUNTIME_OPERATORS)
        read = {name for node in nodes for name in node.input}
        used |= read
        outputs = {output.name for one in (joined.graph, *bodies) for output in one.output}
        for node in nodes:
            assert (read | outputs).intersection(node.output)
        if not int8:  # the checker knows ONNX's own operators alone
            onnx.checker.check_model(joined, full_check=True)
    assert {t.name for t in initializers(files)} <= used


@pytest.mark.parametrize("pieces", [41, 300, 4 + 32])
@pytest.mark.parametrize("candidates", [1, 4, 30])
def test_the_best_pieces_are_found_whatever_the_vocabulary(pieces: int, candidates: int) -> None:
    network, _ = a_network("lstm")
    torch.manual_seed(0)
    options = {"embedding": 8, "encoder_units": 4, "decoder_units": 8}
    model = network.build(network.architecture(options, {"pieces": pieces})).eval()
    shipped = steps(model)
    sources = ended(some((3, 4), pieces))
    rows = np.array([0, 1]), np.array([BOS, BOS]), np.array([0, 1])
    for scores in (True, False):
        state, _ = shipped.start(sources, candidates, scores, False)
        found = shipped.step(state, *rows)
        logits, _ = shipped.logits(state, *rows)
        best = np.argsort(-logits, axis=1)[:, :candidates]
        np.testing.assert_array_equal(found.pieces, best)
        if scores or candidates > 1:
            logs = torch.log_softmax(torch.from_numpy(logits), 1).numpy()
            expected = np.take_along_axis(logs, best, 1)
            np.testing.assert_allclose(found.log_probabilities, expected, atol=1e-5)


def test_the_tokenizer_ships_with_the_graphs(tmp_path: Path) -> None:
    files = graph.to_onnx(shipping.model(), shipping.run(tmp_path))
    assert files["tokenizer.model"] == shipping.TOKENIZER.model
    (tmp_path / "tokenizer.model").unlink()
    lacking = Run(tmp_path, "translation", Recipe("translation", "words"))
    with pytest.raises(RunError, match=r"tokenizer\.model cannot be read"):
        graph.to_onnx(shipping.model(), lacking)


def test_int8_is_asked_for_by_name(tmp_path: Path) -> None:
    plain = graph.to_onnx(shipping.model(), shipping.run(tmp_path, {"method": "none"}))
    small = graph.to_onnx(shipping.model(), shipping.run(tmp_path, {"method": "dynamic"}))
    assert len(small[graph.WEIGHTS]) < 0.4 * len(plain[graph.WEIGHTS])
    with pytest.raises(UserError, match=r"is not quantized by"):
        graph.to_onnx(shipping.model(), shipping.run(tmp_path, {"method": "int4"}))
