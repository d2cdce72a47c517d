"""The pages hang together, tell of every command, and of no machine that is not the reader's."""

import ast
import re
import subprocess
import sys
from functools import cache
from pathlib import Path
from types import ModuleType

import pytest

import meterhouse_agent.__main__ as agent_command
import meterhouse_collector.__main__ as collector_command
from docs.reference_parts.commands import commands
from tests.docs.pages import ROOT, name_of, pages, tracked

_LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^)\s]+)\)|!\[[^\]]*\]\(([^)\s]+)\)")
_HEADING = re.compile(r"^#{1,6} (.+)$", re.MULTILINE)
_FENCED = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
# Not there before the first run of `make bench`.
_WRITTEN_BY_A_RUN = ROOT / "docs" / "benchmarks.md"
# Written so that this file does not match itself.
_NOT_OURS = re.compile(
    r"/[w]ork/|/[r]oot/|[f]iles\.pythonhosted|[p]ypi\.org|[p]roxy\.golang|[d]eb\.debian|"
    r"[c]rates\.io|[r]egistry\.npmjs"
)


def test_the_reference_is_up_to_date() -> None:
    command = [sys.executable, "-m", "docs.reference", "--check"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, check=False, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("program", [agent_command, collector_command], ids=lambda p: p.__name__)
def test_every_command_is_told_of(program: ModuleType) -> None:
    # Beside the reference, which lists them all by itself.
    texts = [p.read_text(encoding="utf-8") for p in pages() if p.name != "reference.md"]
    parser = program._parser()
    for name, _, _ in commands(parser):
        told = re.compile(rf"{parser.prog} {re.escape(name)}\b")
        assert any(told.search(text) for text in texts), f"{parser.prog} {name} is in no page"


def _anchors(page: Path) -> set[str]:
    text = _FENCED.sub("", page.read_text(encoding="utf-8"))
    return {
        re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in _HEADING.findall(text)
    }


@pytest.mark.parametrize("page", pages(), ids=name_of)
def test_links_lead_somewhere(page: Path) -> None:
    text = _FENCED.sub("", page.read_text(encoding="utf-8"))
    for found in _LINK.findall(text):
        link = found[0] or found[1]
        if re.match(r"[a-z]+:", link):
            continue
        path, _, anchor = link.partition("#")
        target = page if not path else (page.parent / path).resolve()
        if target == _WRITTEN_BY_A_RUN:
            continue
        assert target.exists(), f"{page.name}: {link} leads nowhere"
        if anchor:
            assert anchor in _anchors(target), f"{page.name}: {link} has no such heading"


def test_no_file_names_a_machine_or_a_registry() -> None:
    faults = []
    for path in tracked():
        try:
            lines = path.read_text(encoding="utf-8").splitlines()
        except UnicodeDecodeError:
            continue
        faults += [
            f"{path.relative_to(ROOT)}:{number}: {line.strip()[:100]}"
            for number, line in enumerate(lines, 1)
            if _NOT_OURS.search(line)
        ]
    assert not faults, "\n".join(faults)


@cache
def _strings() -> list[str]:
    """Return the texts of the programs, with one sign for all that is filled in."""
    paths = [path for program in ("agent", "collector") for path in (ROOT / program).rglob("*.py")]
    return [
        re.sub(r"%[sd]|%\.\df", "…", node.value)
        for path in paths
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    ]


def _said_in_runbooks() -> list[str]:
    text = (ROOT / "docs" / "runbooks" / "README.md").read_text(encoding="utf-8")
    return re.findall(r"^\| `([^`]*)` \|", text, re.MULTILINE)


@pytest.mark.parametrize("said", _said_in_runbooks())
def test_the_log_says_what_the_runbooks_quote(said: str) -> None:
    for piece in filter(None, (part.strip(" :;,") for part in said.split("…"))):
        # A state of a source, or a reason, is filled in.
        for words in re.split(
            r" (?=failed|absent|unresponsive|set aside|sent again|spool_full)", piece
        ):
            assert any(words in text for text in _strings()), f"nothing says: {words}"


def test_every_page_is_reached_from_the_readme() -> None:
    reached, waiting = set(), [ROOT / "README.md"]
    while waiting:
        page = waiting.pop()
        if page in reached or page.suffix != ".md" or not page.exists():
            continue
        reached.add(page)
        links = [a or b for a, b in _LINK.findall(page.read_text(encoding="utf-8"))]
        waiting += [(page.parent / link.partition("#")[0]).resolve() for link in links]
    unreached = {page for page in pages() if page not in reached}
    assert not unreached, f"no link leads to {sorted(map(name_of, unreached))}"


def _places() -> list[str]:
    """Return each module and package of both programs, and each folder of deploy and tests."""
    found = [
        path.name + ("/" if path.is_dir() else "")
        for folder in ("agent/meterhouse_agent", "collector/meterhouse_collector")
        for path in (ROOT / folder).iterdir()
        if (path.suffix == ".py" or path.is_dir()) and not path.name.startswith("__")
    ]
    files = [path.relative_to(ROOT).parts for path in tracked()]
    found += [parts[1] + "/" for parts in files if parts[0] == "tests" and len(parts) > 2]
    # deploy has them without a slash, in its one line.
    found += [parts[1] for parts in files if parts[0] == "deploy" and len(parts) > 2]
    return sorted(set(found))


def test_the_layout_names_every_place_and_no_other() -> None:
    text = (ROOT / "docs" / "layout.md").read_text(encoding="utf-8")
    block = _FENCED.findall(text)[0]
    lacking = [name for name in _places() if not re.search(rf"(?<![\w/]){re.escape(name)}", block)]
    assert not lacking, f"docs/layout.md does not name {lacking}"
    names = {path.name for path in tracked()} | {
        part for path in tracked() for part in path.relative_to(ROOT).parts
    }
    gone = [
        name for name in re.findall(r"\b[\w.]+\.(?:py|toml|lock|md)\b", block) if name not in names
    ]
    assert not gone, f"docs/layout.md names {gone}"
