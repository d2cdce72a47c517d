"""Runs the commands of a page."""

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Final

from tests.docs.pages import Block

_SECONDS: Final = 90


def run(block: Block, folder: Path, text: str | None = None) -> str:
    """Run a block's commands in a folder; fail unless they end and print as the block says."""
    shown = block if text is None else block._replace(text=text)
    printed = ""
    for command in shown.commands:
        last = command == shown.commands[-1]
        expected = int(block.option("exit") or 0) if last else 0
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", command],
            cwd=folder,
            env=_environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=_SECONDS,
            text=True,
            check=False,
        )
        where = f"{block.where}: {command}\n{done.stdout}"
        assert done.returncode == expected, f"{where}\nended with {done.returncode}"
        printed += done.stdout
    position = 0
    for line in shown.shown:
        # What is shown as "…" may be anything; other lines may come between.
        pattern = ".*".join(re.escape(part.rstrip()) for part in line.split("…"))
        match = re.compile(pattern).search(printed, position)
        assert match is not None, f"{block.where}: not printed: {line}\n{printed}"
        position = match.end()
    return printed


def _environment() -> dict[str, str]:
    here = str(Path(sys.executable).parent)
    path = os.pathsep.join([here, os.environ.get("PATH", os.defpath), "/usr/sbin"])
    return {**os.environ, "PATH": path, "COLUMNS": "100"}
