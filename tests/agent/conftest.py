"""Fixtures of the agent's tests."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.stand_ins.nvml import Nvml


@pytest.fixture
def use(monkeypatch: pytest.MonkeyPatch) -> Callable[[Nvml], None]:
    """Lead children of this process to a driver of NVML."""

    def _use(stand_in: Nvml) -> None:
        for name, value in stand_in.environment().items():
            monkeypatch.setenv(name, value)

    return _use


@pytest.fixture
def stand_in(tmp_path: Path, use: Callable[[Nvml], None]) -> Nvml:
    """Make a driver of NVML with three GPUs, and lead children of this process to it."""
    made = Nvml(tmp_path / "nvml", count=3)
    use(made)
    return made
