"""What a failed test's programs logged is shown with it."""

from collections.abc import Generator

import pytest

pytest.register_assert_rewrite("tests.e2e.fleet_run", "tests.e2e.pipeline", "tests.e2e.ledger")

from tests.e2e.pipeline import Pipeline  # noqa: E402 - its asserts are to be shown, too


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Show what the programs and servers of a failed test printed."""
    report = yield
    if report.failed and isinstance(item, pytest.Function):
        for value in item.funcargs.values():
            if isinstance(value, Pipeline):
                report.sections.append(("programs logged", value.logs()))
    return report
