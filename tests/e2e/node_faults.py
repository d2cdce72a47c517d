"""A disk that can be full and a clock that can be stepped, each of one process only."""

import os
import resource
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import pytest

from tests.e2e.programs import Program

SIZE: Final = "8m"
FILE_BYTES: Final = 16 * 1024


class Disk:
    """A disk of a few megabytes where mounting one is allowed; else it is but a folder.

    On a folder a full disk is a limit to the size of the files of the process that writes there.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._filler = folder / "filler"

    def fill(self, program: Program) -> None:
        """Leave no byte free."""
        if not self.folder.is_mount():
            resource.prlimit(program.pid, resource.RLIMIT_FSIZE, (FILE_BYTES, -1))
            return
        with self._filler.open("wb", buffering=0) as file, suppress(OSError):
            while True:
                file.write(b"x" * 4096)

    def free(self, program: Program) -> None:
        """Give the room back."""
        if self.folder.is_mount():
            self._filler.unlink(missing_ok=True)
        else:
            resource.prlimit(program.pid, resource.RLIMIT_FSIZE, (-1, -1))

    @contextmanager
    def no_space(self, program: Program) -> Iterator[None]:
        """Leave no byte free inside the block."""
        self.fill(program)
        try:
            yield
        finally:
            self.free(program)

    def __enter__(self) -> Self:
        self.folder.mkdir()
        if os.geteuid() == 0:
            options = ["-t", "tmpfs", "-o", f"size={SIZE}", "tmpfs"]
            subprocess.run(["mount", *options, self.folder], check=True)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self.folder.is_mount():
            subprocess.run(["umount", self.folder], check=True)


class FakeClock:
    """The wall clock of one process, which libfaketime lets a test step."""

    def __init__(self, file: Path) -> None:
        libraries = sorted(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"))
        if not libraries:
            pytest.fail("libfaketime is missing: run make tools", pytrace=False)
        self._library = libraries[0]
        self._file = file
        self.offset_seconds = 0

    def environment(self) -> Mapping[str, str]:
        """Return the variables that put a process on this clock."""
        return {
            "LD_PRELOAD": str(self._library),
            "FAKETIME_TIMESTAMP_FILE": str(self._file),
            "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        }

    def step_to(self, offset_seconds: int) -> None:
        """Set the clock to the true time and so much more."""
        draft = self._file.with_suffix(".draft")
        draft.write_text(f"{offset_seconds:+d}")
        draft.rename(self._file)
        self.offset_seconds = offset_seconds
