"""The page of licences is current, and nothing that a user installs has a licence unstated."""

import re
import subprocess
import sys

from tests.docs.pages import ROOT

_ROW = re.compile(r"^\| ([a-z0-9-]+) \| (\d\S*) \| ([^|]+) \| ([^|]+) \|$", re.MULTILINE)
# Licences that ask nothing of who installs a package beside his own code.
_PERMISSIVE = re.compile(r"Apache|BSD|MIT|PSF|EPL-2.0 OR BSD|MPL-2.0")


def test_the_page_is_up_to_date() -> None:
    command = [sys.executable, "-m", "docs.licences", "--check"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, check=False, text=True)
    assert done.returncode == 0, done.stderr


def test_every_locked_package_is_listed_with_a_licence() -> None:
    text = (ROOT / "docs" / "licences.md").read_text(encoding="utf-8")
    rows = {name: (version, user, licence) for name, version, user, licence in _ROW.findall(text)}
    lock = (ROOT / "requirements.lock").read_text(encoding="utf-8")
    assert set(rows) == set(re.findall(r"^([a-z0-9-]+)==", lock, re.MULTILINE))
    assert rows["cryptography"][1] == "collector"
    for name, (_, user, licence) in rows.items():
        assert licence != "not stated", name
        if user != "tests and tools":
            assert _PERMISSIVE.search(licence), f"{name}: {licence}"
