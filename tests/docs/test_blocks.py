"""Every command and sample of the pages is tried."""

import contextlib
import io
import shlex
import subprocess
import tomllib
from pathlib import Path
from types import ModuleType

import pytest

import meterhouse_agent.__main__ as agent_command
import meterhouse_collector.__main__ as collector_command
from meterhouse_agent import config as agent_config
from meterhouse_collector import config as collector_config
from meterhouse_collector.site.load import parse_site
from tests.docs import shell
from tests.docs.pages import LANGUAGES, ROOT, Block, blocks, name_of, pages

CONSOLE = ("run", "make", "replay", "host")
TOML = ("agent", "collector", "site")
ALL = [block for page in pages() for block in blocks(page)]
_NEXT = ("|", "&&", ";")
PROGRAMS = {"meterhouse-agent": agent_command, "meterhouse-collector": collector_command}


def _of(language: str, word: str) -> list[Block]:
    return [
        block for block in ALL if block.language == language and (block.words or ("",))[0] == word
    ]


def _where(block: Block) -> str:
    return block.where


def _wholes() -> list[Block]:
    """Return what must be valid as a file: blocks, and the parts of a page put together."""
    parts: dict[tuple[Path, str], Block] = {}
    wholes = []
    for block in ALL:
        if block.language != "toml" or not block.words:
            continue
        if "part" not in block.words:
            wholes.append(block)
            continue
        key = (block.page, block.words[0])
        before = parts.get(key)
        parts[key] = block if before is None else before._replace(text=before.text + block.text)
    return [*wholes, *parts.values()]


@pytest.mark.parametrize("page", pages(), ids=name_of)
def test_every_block_says_how_it_is_tried(page: Path) -> None:
    allowed = {"console": CONSOLE, "toml": TOML}
    for block in blocks(page):
        assert block.language in LANGUAGES, f"{block.where}: {block.language!r}"
        words = allowed.get(block.language, ())
        if words:
            first = block.words[0] if block.words else ""
            assert first in words, f"{block.where}: one of {words}"
        if block.language == "console":
            assert block.commands, f"{block.where}: no line begins with '$ '"


@pytest.mark.parametrize("block", _wholes(), ids=_where)
def test_samples_are_valid(block: Block) -> None:
    # Parts follow each other in the order of the page: the later ones are tables.
    kind = block.words[0]
    if kind == "site":
        parse_site(block.text, block.where)
    elif kind == "agent":
        agent_config.validate(_without_secrets(tomllib.loads(block.text)), block.where)
    else:
        collector_config.validate(tomllib.loads(block.text), block.where, secrets=False)


def _without_secrets(table: dict[str, object]) -> dict[str, object]:
    mqtt = table.get("mqtt")
    if isinstance(mqtt, dict):
        # Its file is on the reader's machine only.
        mqtt.pop("password", None)
    return table


def _run_pages() -> dict[Path, list[Block]]:
    """Return, of each page that runs commands, those blocks and the files that they find."""
    running = _of("console", "run")
    return {
        page: [
            block
            for block in ALL
            if block.page == page and (block in running or _is_file_of_the_folder(block))
        ]
        for page in {block.page for block in running}
    }


def _is_file_of_the_folder(block: Block) -> bool:
    name = block.option("file")
    return name is not None and not name.startswith("/")


@pytest.mark.parametrize("page", sorted(_run_pages()), ids=name_of)
def test_commands_run_and_print_what_is_shown(page: Path, tmp_path: Path) -> None:
    for block in _run_pages()[page]:
        if block.language == "console":
            shell.run(block, tmp_path)
        else:
            (tmp_path / str(block.option("file"))).write_text(block.text, encoding="utf-8")


@pytest.mark.parametrize("block", [*_of("console", "make"), *_of("", "")], ids=_where)
def test_make_has_the_targets(block: Block) -> None:
    for command in block.commands:
        words = shlex.split(command, comments=True)
        assert words[0] == "make", block.where
        done = subprocess.run(
            ["make", "--dry-run", *words[1:]], cwd=ROOT, capture_output=True, check=False, text=True
        )
        assert done.returncode == 0, f"{block.where}: {command}\n{done.stderr}"


@pytest.mark.parametrize("block", [*_of("console", "host"), *_of("console", "replay")], ids=_where)
def test_commands_for_other_machines_are_well_formed(block: Block) -> None:
    for command in block.commands:
        done = subprocess.run(
            ["bash", "-n", "-c", command], capture_output=True, check=False, text=True
        )
        assert done.returncode == 0, f"{block.where}: {command}\n{done.stderr}"
        words = shlex.split(command.replace("\\\n", " "), comments=True)
        for position, word in enumerate(words):
            program = PROGRAMS.get(Path(word).name)
            if program is not None and (position == 0 or words[position - 1] in _NEXT):
                _parse(program, words[position + 1 :], f"{block.where}: {command}")
            if word.startswith(("deploy/", "grafana/", "tests/")):
                assert (ROOT / word).exists(), f"{block.where}: there is no {word}"


def _parse(program: ModuleType, arguments: list[str], where: str) -> None:
    stops = [n for n, word in enumerate(arguments) if word in {*_NEXT, ">", ">>"}]
    said, code = io.StringIO(), None
    with contextlib.redirect_stderr(said), contextlib.redirect_stdout(said):
        try:
            program._parser().parse_args(arguments[: min(stops, default=len(arguments))])
        except SystemExit as ended:
            code = ended.code
    assert not code, f"{where}\n{said.getvalue()}"
