"""Real agent and collector processes, with their logs kept."""

import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self

from prometheus_client.parser import text_string_to_metric_families

from tests.servers import Port

STOP_SECONDS = 30.0
READY_SECONDS = 60.0


class ProgramError(Exception):
    """A program ended by itself, or did not end when it was asked to."""


class Program:
    """One of our commands as a process; killed and started again it writes on in its log."""

    def __init__(
        self,
        folder: Path,
        name: str,
        command: str,
        *,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.name = name
        self.config = folder / f"{name}.toml"
        self.log = folder / f"{name}.log"
        self._metrics = Port()
        self.metrics_port = self._metrics.number
        self.environment = dict(environment or {})
        self._command = [str(Path(sys.executable).with_name(command)), "run", "-c"]
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """The process id of the running program."""
        if self._process is None:
            raise ProgramError(f"{self.name} is not running")
        return self._process.pid

    def start(self) -> None:
        """Start the program, without waiting for anything."""
        if self._process is not None:
            raise ProgramError(f"{self.name} is already running")
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [*self._command, str(self.config)],
                cwd=self.folder,
                # A crash in a C library shows where it was.
                env={**os.environ, "PYTHONFAULTHANDLER": "1", **self.environment},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    def check(self) -> None:
        """Raise ``ProgramError`` if the program ended by itself."""
        code = None if self._process is None else self._process.poll()
        if code is not None:
            raise ProgramError(f"{self.name} ended with {code}:\n{self.text()[-8000:]}")

    def stop(self) -> int:
        """Ask the program to end; return its exit code."""
        return self._end(signal.SIGTERM)

    def kill(self) -> None:
        """End the program with SIGKILL."""
        self._end(signal.SIGKILL)

    def _end(self, number: signal.Signals) -> int:
        self.check()
        process, self._process = self._process, None
        if process is None:
            return 0
        process.send_signal(number)
        try:
            return process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise ProgramError(f"{self.name} did not stop:\n{self.text()[-8000:]}") from None

    @contextmanager
    def held_up(self) -> Iterator[None]:
        """Let the program not run at all inside the block, as on a machine that is overloaded."""
        os.kill(self.pid, signal.SIGSTOP)
        try:
            yield
        finally:
            os.kill(self.pid, signal.SIGCONT)

    def text(self) -> str:
        """Return all that the program logged."""
        return self.log.read_text(errors="replace") if self.log.exists() else ""

    def metric(self, name: str, **labels: str) -> float:
        """Return the sum of one metric's samples on /metrics that have these labels."""
        url = f"http://127.0.0.1:{self.metrics_port}/metrics"
        with urllib.request.urlopen(url, timeout=30) as answer:
            text = answer.read().decode()
        return sum(
            sample.value
            for family in text_string_to_metric_families(text)
            for sample in family.samples
            if sample.name == name and labels.items() <= sample.labels.items()
        )

    def close(self) -> None:
        """Kill the program, however it fares, and give its port back."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait()
        self._metrics.release()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def wait_for_text(program: Program, text: str, seconds: float = READY_SECONDS) -> None:
    """Return when a program has logged a text; raise ``ProgramError`` if it does not."""
    deadline = time.monotonic() + seconds
    while text not in program.text():
        program.check()
        if time.monotonic() > deadline:
            raise ProgramError(f"{program.name} did not log {text!r}:\n{program.text()[-8000:]}")
        time.sleep(0.05)
