"""A month of a site, report by report through the collector: its statement equals the truth."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import date
from decimal import Decimal
from functools import lru_cache
from math import isclose
from pathlib import Path
from typing import Final

import pytest

from meterhouse_agent import wire
from meterhouse_agent.simulation.reckoning import FleetModel
from meterhouse_collector.kpi.value import KpiValue
from meterhouse_collector.settlement.account import Account
from meterhouse_collector.settlement.registers import MeterRegister
from meterhouse_collector.settlement.statement import BYS, Statement, statement
from meterhouse_collector.store import Store
from tests.month.collecting import DISORDER, IN_ORDER, Disorder
from tests.month.playing import Played, influx, play, rollups, sqlite
from tests.month.reckoning import Group, Reckoned, Sums, cells, figures, grouped, lines, reckon
from tests.month.reports import FACILITY, Reports
from tests.month.scenario import STEP, Scenario
from tests.servers import InfluxDB

Record = Callable[[str, object], None]
MONTH: Final = Scenario(
    first=date(2025, 10, 1), days=31, changed=date(2025, 10, 12), retired=date(2025, 10, 20)
)
TWO_DAYS: Final = replace(
    MONTH,
    days=2,
    changed=date(2025, 10, 2),
    retired=date(2025, 10, 2),
    silent_seconds=3600,
)
MORNING: Final = replace(TWO_DAYS, hours=10.0, nodes=4)
FEW_NODES: Final = replace(TWO_DAYS, nodes=4)
# The steward works after so many batches of half an hour: the less often, the more comes at once.
HOURLY, EVENING, DAILY = 2, 16, 48
PRECISION: Final = 1e-9


@pytest.mark.parametrize("node", ["sim-000", "sim-002", "sim-003", FACILITY])
def test_reports_from_closed_forms_are_those_of_an_agent(node: str) -> None:
    scenario = MORNING
    reports = _morning()
    # After all that goes wrong that morning.
    begins = scenario.begins + 6 * 3600
    # At first an agent reads a register before it is due.
    _, *found = reports.measured(node, begins, begins + 20 * STEP)
    assert len(found) == 19
    for report in found:
        start = report.start_seconds
        if node == FACILITY:
            assert _counted(report) == _counted(reports.facility_report(start))
        else:
            assert _counted(report) == _counted(reports.node_report(node, start))


@lru_cache(maxsize=1)
def _morning() -> Reports:
    return Reports(MORNING)


def _counted(report: wire.Report) -> object:
    """Return all of a report that is no gauge."""
    devices, host = report.accelerators, report.host
    return (
        report.start_seconds,
        report.inventory_hash,
        None if devices is None else (devices.state_milliseconds, devices.state_joules),
        None if host is None else (host.covered_milliseconds, host.energy_joules),
        [
            (m.meter, m.covered_milliseconds, m.energy_joules, m.volume_litres, m.registers)
            for m in report.meters
        ],
        [
            (
                *(e.engine, e.served_model, e.covered_milliseconds, e.requests),
                *(e.input_tokens, e.cached_input_tokens, e.output_tokens),
            )
            for e in report.engines
        ],
        report.spans,
    )


async def test_a_morning_of_a_small_site_whatever_comes_late(tmp_path: Path) -> None:
    reports, reckoned = _morning(), reckon(MORNING)
    played = []
    for disorder in (IN_ORDER, DISORDER._replace(late_seconds=4 * 3600)):
        async with sqlite(tmp_path) as store:
            played.append(await play(store, reports, disorder, settle_every=HOURLY))
        assert_equal(played[-1].account, reckoned, MORNING)
    assert played[0].ledger_hash == played[1].ledger_hash


@pytest.mark.timeout(600)
async def test_two_days_are_stated_to_the_cent(tmp_path: Path, record_property: Record) -> None:
    async with sqlite(tmp_path) as store:
        played = await play(store, Reports(TWO_DAYS), IN_ORDER, settle_every=EVENING)
    assert_equal(played.account, reckon(TWO_DAYS), TWO_DAYS)
    _record(record_property, "two days, SQLite", played)


@pytest.mark.timeout(600)
async def test_two_days_come_to_the_same_in_another_store_whatever_comes_late(
    influxdb: InfluxDB, tmp_path: Path, record_property: Record
) -> None:
    scenario = FEW_NODES
    reports, reckoned = Reports(scenario), reckon(scenario)
    async with sqlite(tmp_path) as one, influx(influxdb, tmp_path) as other:
        first = await play(one, reports, IN_ORDER, settle_every=EVENING)
        assert_equal(first.account, reckoned, scenario)
        second = await play(other, reports, DISORDER, settle_every=DAILY)
        assert_equal(second.account, reckoned, scenario)
        await assert_same(one.store, other.store, scenario, (first, second))
    _record(record_property, f"two days, {scenario.nodes} nodes, SQLite, in order", first)
    _record(record_property, f"two days, {scenario.nodes} nodes, InfluxDB, 5 % late", second)


@pytest.mark.verify
@pytest.mark.timeout(7200)
async def test_a_month_is_stated_to_the_cent_whatever_comes_late(
    tmp_path: Path, record_property: Record
) -> None:
    reports, reckoned = Reports(MONTH), reckon(MONTH)
    async with sqlite(tmp_path) as one, sqlite(tmp_path) as other:
        first = await play(one, reports, IN_ORDER, settle_every=DAILY)
        assert_equal(first.account, reckoned, MONTH)
        _record(record_property, "in order", first)
        second = await play(other, reports, DISORDER, settle_every=DAILY)
        assert_equal(second.account, reckoned, MONTH)
        _record(record_property, "5 % late", second)
        await assert_same(one.store, other.store, MONTH, (first, second))
    record_property("lines of the statement", len(first.account.lines))


@pytest.mark.verify
@pytest.mark.timeout(10_800)
@pytest.mark.parametrize("disorder", [IN_ORDER, DISORDER], ids=["in order", "5 % late"])
async def test_a_month_in_the_other_store_is_stated_to_the_cent(
    disorder: Disorder, influxdb: InfluxDB, tmp_path: Path, record_property: Record
) -> None:
    async with influx(influxdb, tmp_path) as place:
        played = await play(place, Reports(MONTH), disorder, settle_every=DAILY)
    assert_equal(played.account, reckon(MONTH), MONTH)
    _record(record_property, "a month, InfluxDB", played)


def _record(record_property: Record, name: str, played: Played) -> None:
    sent, collecting, settling = played.collected
    record_property(name, f"{sent} reports, {collecting:.0f} s, settling {settling:.0f} s")


async def assert_same(
    one: Store, other: Store, scenario: Scenario, played: tuple[Played, Played]
) -> None:
    """Check that nothing tells apart what came in order and what did not."""
    first, second = (found.account for found in played)
    assert (first.lines, first.sums, first.registers) == (
        second.lines,
        second.sums,
        second.registers,
    )
    assert played[0].ledger_hash == played[1].ledger_hash
    theirs = rollups(other, scenario)
    async for points in rollups(one, scenario):
        assert points == await anext(theirs)
    assert [points async for points in theirs] == []


def assert_equal(found: Account, reckoned: Reckoned, scenario: Scenario) -> None:
    """Check a collector's account against the reckoning, by every part of its groups."""
    assert (found.reasons, found.notes, found.missing_quarters) == ((), (), 0)
    expected = lines(reckoned.money)
    assert {(Group(*x.group), x.kind, x.state): x.money for x in found.lines} == expected
    total = sum(expected.values(), Decimal(0))
    for by in BYS:
        stated = statement(found, by)
        assert stated.total == total
        assert {(c.group, c.kind, c.state): c.money for c in stated.cells} == cells(expected, by)
        _assert_quantities(stated, grouped(reckoned.sums, by))
        _assert_figures(stated, reckoned)
    for kind in ("energy", "demand", "water"):
        billed = sum(
            (line.money or Decimal(0) for line in found.bill if line.kind == kind), Decimal(0)
        )
        assert billed == sum((m for key, m in expected.items() if key[1] == kind), Decimal(0))
    _assert_registers({register.meter: register for register in found.registers}, scenario)


def _assert_quantities(stated: Statement, expected: Mapping[str, Sums]) -> None:
    for group, quantities in stated.quantities.items():
        for name, value in quantities.items():
            truth = expected[group][name] if group in expected else Decimal(0)
            where = f"{name} of {group}: {value}, in truth {truth}"
            assert isclose(value, truth, rel_tol=PRECISION), where
            if name.endswith("_seconds"):
                # Quarters of a millisecond, as an engine of two models has them.
                assert round(value * 4000) == truth * 4000, where


def _assert_figures(stated: Statement, reckoned: Reckoned) -> None:
    by_group = grouped(reckoned.sums, stated.by)
    for group, values in stated.figures.items():
        whole = group == "total"
        expected = figures(grouped(reckoned.sums, None)["total"] if whole else by_group[group])
        if whole:
            expected["pue"] = reckoned.pue
        for value in values:
            if value.name in expected:
                _assert_figure(value, expected.pop(value.name), group)
        assert expected == {}


def _assert_figure(found: KpiValue, truth: Decimal | None, group: str) -> None:
    where = f"{found.name} of {group}: {found.value} ({found.reason}), in truth {truth}"
    assert (found.value is None) == (truth is None), where
    if found.value is not None and truth is not None:
        assert isclose(found.value, truth, rel_tol=PRECISION), where


def _assert_registers(found: Mapping[str, MeterRegister], scenario: Scenario) -> None:
    facility = FleetModel(scenario.spec(faulty=False)).facility
    first, last = (facility.registers_ticks(at * 1000) for at in (scenario.begins, scenario.ends))
    assert set(found) >= {"utility", "it-pdu", "water"}
    for name, register in found.items():
        unit = 1000 if name == "water" else 1
        assert (register.opening, register.closing) == (first[name] / unit, last[name] / unit)
        assert register.summed is not None
        assert isclose(register.summed, (last[name] - first[name]) / unit, rel_tol=PRECISION)
