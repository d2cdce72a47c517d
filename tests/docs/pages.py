"""The Markdown pages of this repository, and the fenced blocks in them.

The words after a block's language say how it is tested, and every console and TOML block has some:

``console run``     each command is run, in one folder for all of a page; what is shown must come
``console make``    each command is given to ``make -n``
``console replay``  run by the test of the install page, with its places put into a folder
``console host``    for another machine: the shell's syntax, and the arguments of our own commands
``toml agent``      a config that must be valid, or ``collector``, ``site``

``exit=1`` is the code of the last command, ``file=NAME`` a file that the page's commands find, and
blocks of the same kind with ``part`` make one file of all of a page.
"""

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

ROOT: Final = Path(__file__).parents[2]
LANGUAGES: Final = ("", "console", "toml", "text", "mermaid", "json", "ini")
_FENCE: Final = re.compile(r"^```(.*)$")


class Block(NamedTuple):
    """One fenced block: where it stands, its language, the words after it, and its text."""

    page: Path
    line: int
    language: str
    words: tuple[str, ...]
    text: str

    @property
    def where(self) -> str:
        """Page and line."""
        return f"{self.page.relative_to(ROOT)}:{self.line}"

    def option(self, name: str) -> str | None:
        """Return the value of a word like ``file=NAME``."""
        found = [word.partition("=")[2] for word in self.words if word.startswith(f"{name}=")]
        return found[0] if found else None

    @property
    def commands(self) -> list[str]:
        """The commands of a console block: after ``$ ``, with the lines that continue them."""
        if self.language == "":
            # A bare block: only what calls make is taken for a command.
            return [line for line in self.text.splitlines() if line.startswith("make ")]
        found: list[str] = []
        for line in self.text.splitlines():
            if line.startswith("$ "):
                found.append(line.removeprefix("$ "))
            elif line.startswith("> ") and found:
                found[-1] += "\n" + line.removeprefix("> ")
        return found

    @property
    def shown(self) -> list[str]:
        """The lines of output that a console block shows."""
        lines = self.text.splitlines()
        return [line for line in lines if line and not line.startswith(("$ ", "> "))]


def tracked() -> list[Path]:
    """Return the files under version control, and those that are about to be."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, check=True, text=True).stdout
    return [path for name in listed.split("\0") if name and (path := ROOT / name).is_file()]


def pages() -> list[Path]:
    """Return all Markdown pages."""
    return sorted(path for path in tracked() if path.suffix == ".md")


def blocks(page: Path) -> Iterator[Block]:
    """Return the fenced blocks of a page, in order."""
    opened: tuple[int, str] | None = None
    lines: list[str] = []
    for number, line in enumerate(page.read_text(encoding="utf-8").splitlines(), 1):
        match = _FENCE.match(line.strip() if opened is None else line)
        if match is None:
            lines.append(line)
        elif opened is None:
            opened, lines = (number, match[1].strip()), []
        else:
            language, *words = opened[1].split() or [""]
            yield Block(page, opened[0], language, tuple(words), "\n".join(lines) + "\n")
            opened = None
    if opened is not None:
        raise ValueError(f"{page}:{opened[0]}: the block never ends")


def name_of(page: Path) -> str:
    """Return a page's name for a test's id."""
    return str(page.relative_to(ROOT))
