"""alone: two processes never work in one folder at once."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from shoestring.core.errors import RunError
from shoestring.engine.alone import working_in

HOLDS = """
import sys, time
from pathlib import Path
from shoestring.engine.alone import working_in
with working_in(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="it has no such lock")


def test_a_folder_that_another_process_works_in_is_refused_until_it_is_killed(
    tmp_path: Path,
) -> None:
    other = subprocess.Popen(
        [sys.executable, "-c", HOLDS, str(tmp_path)], stdout=subprocess.PIPE, text=True
    )
    try:
        assert other.stdout is not None and other.stdout.readline() == "held\n"
        with (
            pytest.raises(RunError, match=f"another process works in {tmp_path}"),
            working_in(tmp_path),
        ):
            pytest.fail("both work in it")
    finally:
        other.kill()
        other.wait()
        assert other.stdout is not None
        other.stdout.close()
    with working_in(tmp_path):
        pass


def test_it_is_free_again_after_an_error_and_no_folder_is_made(tmp_path: Path) -> None:
    with pytest.raises(ValueError), working_in(tmp_path):
        raise ValueError
    with working_in(tmp_path):
        (tmp_path / "a").mkdir()
    with working_in(tmp_path / "none"):
        assert not (tmp_path / "none").exists()
