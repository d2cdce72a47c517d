"""`make audit` says that all is well only where pip-audit has said so."""

import os
import shutil
import subprocess
from pathlib import Path
from typing import Final

import pytest

from tests.docs.pages import ROOT

GREEN: Final = "audit: no known vulnerabilities"


def audit(folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [folder / "tests/tools/audit.sh"],
        env={**os.environ, **environment},
        capture_output=True,
        check=False,
        text=True,
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a checkout as far as the script looks at it."""
    shutil.copytree(ROOT / "tests/tools", tmp_path / "tests/tools")
    shutil.copy(ROOT / "requirements.lock", tmp_path)
    return tmp_path


def with_answer(folder: Path, code: int, said: str) -> Path:
    """Put a program that answers as pip-audit does in the place of pip-audit."""
    program = folder / "build/audit/bin/pip-audit"
    program.parent.mkdir(parents=True)
    program.write_text(f"#!/bin/sh\necho '{said}' >&2\nexit {code}\n", encoding="utf-8")
    program.chmod(0o755)
    return folder


def test_what_pip_audit_found_clean_is_said_to_be(folder: Path) -> None:
    done = audit(with_answer(folder, 0, "No known vulnerabilities found"))
    assert (done.returncode, GREEN in done.stdout) == (0, True)


def test_what_it_found_fails(folder: Path) -> None:
    done = audit(with_answer(folder, 1, "Found 2 known vulnerabilities in 1 package"))
    assert done.returncode == 1
    assert "audit: Found 2 known vulnerabilities in 1 package" in done.stderr
    assert GREEN not in done.stdout


@pytest.mark.parametrize(
    ("code", "said"),
    [
        (1, "ERROR:pip_audit._cli:a: Dependency not found and could not be audited: a (1.0)"),
        (1, "Connection refused"),
        (0, ""),
    ],
)
def test_without_an_answer_nothing_is_green(folder: Path, code: int, said: str) -> None:
    done = audit(with_answer(folder, code, said))
    assert done.returncode == 0
    assert "audit: not run: " + said.rpartition("_cli:")[2] in done.stdout
    assert GREEN not in done.stdout + done.stderr


def test_what_cannot_be_installed_is_not_run(folder: Path) -> None:
    done = audit(folder, PIP_NO_INDEX="1", PIP_FIND_LINKS=str(folder))
    assert done.returncode == 0
    assert "audit: not run: pip-audit cannot be installed" in done.stdout
    assert GREEN not in done.stdout
