"""Every file of the corpus, and some thousand inputs drawn from a seed, without atheris.

A file that once broke a target stays here; ``make fuzz`` makes up new ones from these.
"""

import random
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

from tests.fuzz.__main__ import BROKEN, CORPUS, NAMES
from tests.fuzz.targets import TARGETS

_DRAWN: Final = 300
_FILES: Final = sorted(file for file in CORPUS.glob("*/*") if file.is_file())


def test_every_target_has_a_corpus() -> None:
    assert tuple(sorted(TARGETS)) == NAMES
    assert {file.parent.name for file in _FILES} == set(TARGETS)
    assert sum(file.stat().st_size for file in _FILES) < 200_000


@pytest.mark.parametrize("name", NAMES)
def test_nothing_of_the_corpus_breaks_it(name: str) -> None:
    target = TARGETS[name]()
    chance = random.Random(name)
    for file in _FILES:
        # Those of the others, too: what one reads well another may not.
        data = file.read_bytes()
        target(data)
        for _ in range(_DRAWN // len(_FILES)):
            at = chance.randrange(len(data) + 1)
            target(data[:at] + chance.randbytes(chance.randrange(8)) + data[at:])
    for _ in range(_DRAWN):
        target(chance.randbytes(chance.randrange(200)))


def test_the_command_counts_its_runs(tmp_path: Path) -> None:
    pytest.importorskip("atheris", reason="atheris is built for x86-64 alone")
    command = [sys.executable, "-m", "tests.fuzz", "--target", "wire", "--runs", "500"]
    root = Path(__file__).parents[2]
    done = subprocess.run(
        command, cwd=root, env={"TMPDIR": str(tmp_path)}, capture_output=True, text=True, check=True
    )
    assert done.stdout.startswith("fuzz target=wire executions=500 crashes=0 seed=1 seconds=")
    assert not list(tmp_path.iterdir())


def test_what_breaks_is_said_and_kept(tmp_path: Path) -> None:
    """The target of this test breaks at the first byte of its corpus."""
    pytest.importorskip("atheris", reason="atheris is built for x86-64 alone")
    done = subprocess.run(
        [sys.executable, "-m", "tests.fuzz", "--target", BROKEN, "--runs", "500"],
        cwd=Path(__file__).parents[2],
        env={"TMPDIR": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert f"fuzz target={BROKEN} " in done.stdout.splitlines()[-1]
    assert " crashes=1 " in done.stdout.splitlines()[-1]
    assert len(list(tmp_path.glob("*/crash-*"))) == 1
