"""Fixtures of all tests."""

from collections.abc import Generator, Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from tests.servers import InfluxDB, Mosquitto, Server

# How long something takes is measured by the benchmarks; a busy machine fails no test.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")


@pytest.fixture
def mosquitto(tmp_path: Path) -> Iterator[Mosquitto]:
    """Run a broker for one test."""
    with Mosquitto(tmp_path / "mosquitto") as server:
        yield server


@pytest.fixture
def influxdb(tmp_path: Path) -> Iterator[InfluxDB]:
    """Run an empty database for one test."""
    with InfluxDB(tmp_path / "influxdb") as server:
        yield server


@pytest.fixture(scope="session")
def influxdb_shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[InfluxDB]:
    """Run one database for many tests: each makes buckets of its own, and none stops it."""
    with InfluxDB(tmp_path_factory.mktemp("influxdb")) as server:
        yield server


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Show what a failed test's servers printed."""
    report = yield
    if report.failed and isinstance(item, pytest.Function):
        servers = [value for value in item.funcargs.values() if isinstance(value, Server)]
        report.sections += [(f"{server.program} printed", server.log_tail()) for server in servers]
    return report


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print the figures that the long tests recorded."""
    if terminalreporter.config.option.markexpr != "verify":
        return
    for report in terminalreporter.getreports("passed"):
        for name, figure in report.user_properties:
            terminalreporter.write_line(f"{report.nodeid}: {name}: {figure}")
