"""The unpickler builds numeric arrays and nothing else."""

from __future__ import annotations

import os
import pickle
from pathlib import Path

import numpy as np
import pytest

from shoestring.core.errors import DataError
from shoestring.data import pickled

# As Python 2 wrote arrays: the form inside the package.
PYTHON_2 = (
    b"\x80\x02cnumpy.core.multiarray\n_reconstruct\nq\x01cnumpy\nndarray\nq\x02K\x00\x85U\x01b"
    b"\x87Rq\x03(K\x01K\x02\x85cnumpy\ndtype\nq\x04U\x02f4K\x00K\x01\x87Rq\x05(K\x03U\x01<NNN"
    b"J\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb\x89U\x08\x00\x00\x80?\x00\x00\x00@tb."
)


def test_arrays_as_python_2_wrote_them() -> None:
    assert pickled.read(PYTHON_2).tolist() == [1.0, 2.0]


@pytest.mark.parametrize("dtype", ["f4", "i8", "u1"])
def test_nested_arrays_of_today(dtype: str) -> None:
    value = [(np.arange(6, dtype=dtype).reshape(2, 3), {"a": 1}), None]
    packed = pickle.dumps(value, protocol=2)
    # bytes go through _codecs.encode in protocol 2, which is one name too many: refused
    with pytest.raises(DataError, match=r"_codecs.encode is not allowed"):
        pickled.read(packed)


class Hostile:
    def __init__(self, call: object, *arguments: object) -> None:
        self._state = call, arguments

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return self._state


@pytest.mark.parametrize("protocol", [0, 2, 4, 5])
def test_a_call_is_refused_and_not_made(tmp_path: Path, protocol: int) -> None:
    trace = tmp_path / "trace"
    for hostile in (
        Hostile(os.system, f"touch {trace}"),
        Hostile(eval, f"open({str(trace)!r}, 'w')"),
        Hostile(np.load, "x.npy"),
        Hostile(getattr, trace, "touch"),
    ):
        with pytest.raises(DataError, match="is not allowed"):
            pickled.read(pickle.dumps(hostile, protocol=protocol))
    assert not trace.exists()


def test_an_array_of_objects_is_refused() -> None:
    with pytest.raises(DataError):
        pickled.read(pickle.dumps(np.array([{}], dtype=object)))
    with pytest.raises(DataError, match="of 'O8' are not allowed"):
        pickled.read(PYTHON_2.replace(b"U\x02f4", b"U\x02O8"))


def test_arrays_cannot_be_made_by_calling_ndarray() -> None:
    huge = b"\x80\x02cnumpy\nndarray\n(J\xff\xff\xff\x7fJ\xff\xff\xff\x7f\x86\x85R."
    with pytest.raises(DataError):
        pickled.read(huge)
    with pytest.raises(DataError, match="only plain arrays"):
        pickled.read(PYTHON_2.replace(b"K\x00\x85U\x01b", b"K\x09\x85U\x01b"))


@pytest.mark.parametrize("packed", [b"", b"\x80", b"not a pickle", PYTHON_2[:-9], b"Pid\n."])
def test_damaged_bytes_are_a_clear_error(packed: bytes) -> None:
    with pytest.raises(DataError, match="the pickle"):
        pickled.read(packed)
