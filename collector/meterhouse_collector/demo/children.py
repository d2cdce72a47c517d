"""The demo's agents: child processes that do not outlive it."""

import asyncio
import shutil
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

_STOP_SECONDS: Final = 5.0
_TAIL_CHARACTERS: Final = 300


class ChildEndedError(OSError):
    """An agent ended although nobody asked it to; the text says which, and its last word."""


class Children:
    """One process per agent config; all they print goes to one log file."""

    def __init__(self, log: Path) -> None:
        self._log = log
        self._processes: dict[str, asyncio.subprocess.Process] = {}
        self._starting: asyncio.Task[None] | None = None

    async def start(self, configs: Sequence[Path]) -> None:
        """Start an agent for each config."""
        # Cancelled half-way it would leave behind a process that nobody knows.
        self._starting = asyncio.create_task(self._start(configs), name="start of agents")
        await asyncio.shield(self._starting)

    async def _start(self, configs: Sequence[Path]) -> None:
        with self._log.open("ab") as log:
            for config in configs:
                self._processes[config.stem] = await asyncio.create_subprocess_exec(
                    *_prefix(),
                    *(sys.executable, "-m", "meterhouse_agent", "run", "-c", str(config)),
                    *("--log-level", "warning"),
                    stdin=asyncio.subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    # Ctrl-C is for the demo alone, which then ends them in order.
                    start_new_session=True,
                )

    async def watch(self) -> None:
        """Wait until a child ends, and raise ``ChildEndedError``."""
        waits = {
            asyncio.create_task(process.wait(), name=f"agent[{name}]"): name
            for name, process in self._processes.items()
        }
        try:
            done, _ = await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in waits:
                task.cancel()
        ended = next(iter(done))
        raise ChildEndedError(f"{waits[ended]} ended with {ended.result()}: {self._last_words()}")

    def _last_words(self) -> str:
        lines = self._log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
        return lines[-1][-_TAIL_CHARACTERS:] if lines else "it printed nothing"

    async def stop(self) -> None:
        """End all children, those that do not obey with SIGKILL."""
        if self._starting is not None:
            await asyncio.wait([self._starting], timeout=_STOP_SECONDS)
        processes, self._processes = list(self._processes.values()), {}
        _signal(processes, signal.SIGTERM)
        waits = [asyncio.create_task(process.wait(), name="agent ends") for process in processes]
        if not waits:
            return
        try:
            await asyncio.wait(waits, timeout=_STOP_SECONDS)
        finally:
            _signal(processes, signal.SIGKILL)
        await asyncio.wait(waits, timeout=_STOP_SECONDS)


def _signal(processes: Sequence[asyncio.subprocess.Process], number: signal.Signals) -> None:
    for process in processes:
        if process.returncode is None:
            process.send_signal(number)


def _prefix() -> tuple[str, ...]:
    # Where the kernel can promise it, they end even if the demo is killed.
    found = shutil.which("setpriv")
    return () if found is None else (found, "--pdeathsig", "TERM", "--")
