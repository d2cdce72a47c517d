"""The command ``explain`` over real stores: what was read, what is stored, what is not there."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime
from math import fsum
from pathlib import Path
from typing import Any

import pytest

from meterhouse_agent import wire
from meterhouse_collector.__main__ import main
from meterhouse_collector.explain.request import ROWS
from meterhouse_collector.rollup.points import live_point
from meterhouse_collector.rollup.roll_up import roll_up
from meterhouse_collector.rollup.site_energy import IntervalRows
from meterhouse_collector.rows import NodeRow, PackedRow, Share, pack
from meterhouse_collector.store import Store
from meterhouse_collector.store.config import SqliteConfig
from meterhouse_collector.store.sqlite import SqliteStore
from tests.collector.collecting import SITE
from tests.collector.settling import (
    FIRST,
    HARDWARE,
    KNOWN,
    STEP,
    Stewarded,
    fleet,
    on_time,
    rows_of,
    told,
)
from tests.collector.stores import influx_config, opened_influx

DAY = 86_400


class Site:
    """A store with rows in it, and the config that finds it."""

    def __init__(self, store: Store, folder: Path, section: str) -> None:
        self.store = store
        self._config = folder / "collector.toml"
        (folder / "site.toml").write_text(SITE + HARDWARE)
        self._config.write_text(
            f'site = "{folder}/site.toml"\ninterval = "{STEP}s"\n'
            f'[socket]\npath = "{folder}/reports"\n{section}'
        )

    async def explain(self, *arguments: str, at: float = FIRST + 70) -> int:
        """Run the command as a user does; return its exit code."""
        when = datetime.fromtimestamp(at, UTC).isoformat()
        given = ["explain", *arguments, "--at", when, "-c", str(self._config)]
        return await asyncio.to_thread(main, given)


@pytest.fixture(params=["sqlite", "influx"])
async def site(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Site]:
    if request.param == "sqlite":
        store = SqliteStore(SqliteConfig(path=str(tmp_path / "rows.sqlite")))
        await store.open()
        yield Site(store, tmp_path, f'[sqlite]\npath = "{tmp_path}/rows.sqlite"\n')
        await store.close()
        return
    config = await influx_config(request.getfixturevalue("influxdb_shared"), tmp_path)
    section = (
        f'[influx]\nurl = "{config.url}"\norg = "{config.org}"\ndatabase = "{config.database}"\n'
        f'token = {{ file = "{config.token.file}" }}\n'
    )
    async with opened_influx(config) as influx:
        yield Site(influx, tmp_path, section)


def document(capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    out, err = capsys.readouterr()
    assert err == ""
    found: dict[str, Any] = json.loads(out)
    return found


def thing(found: dict[str, Any], kind: str, name: str) -> dict[str, Any]:
    [only] = [t for t in found["things"] if (t["kind"], t["thing"]) == (kind, name)]
    assert isinstance(only, dict)
    return only


async def test_a_settled_quarter_is_what_is_stored(
    site: Site, capsys: pytest.CaptureFixture[str]
) -> None:
    await on_time(site.store, fleet())
    for name in ROWS:
        for quarter in (FIRST, FIRST + 900, FIRST + 1800):
            assert await site.explain(name, "--format", "json", at=quarter + 899) == 0
            found = document(capsys)
            assert found["stored"]["same"], (name, found["stored"])
            assert found["stored"]["notes"] == []
            assert found["rows_from"] == "quarter rows"
            assert found["period"]["start_seconds"] == quarter
            assert fsum(line["denominator"] for line in found["things"]) == pytest.approx(
                found["denominator"]["value"], rel=1e-12
            )
    assert await site.explain("pue", "--format", "json") == 0
    assert thing(document(capsys), "meter", "utility")["readers"] == ["node-1"]


async def test_rows_show_spans_intervals_and_registers(
    site: Site, capsys: pytest.CaptureFixture[str]
) -> None:
    await on_time(site.store, fleet())
    registers = [
        PackedRow(
            "quarter",
            "register",
            "site-a",
            "utility",
            "node-1",
            at,
            pack(wire.Register(at_milliseconds=at * 1000, register_joules=float(at), epoch=0)),
        )
        for at in (FIRST - 900, FIRST, FIRST + 300, FIRST + 900, FIRST + 1800)
    ]
    await site.store.write(registers)
    assert await site.explain("pue", "--format", "json", "--rows") == 0
    [meter] = [rows for rows in document(capsys)["rows"] if rows["thing"] == "utility"]
    [row] = meter["rows"]
    assert (row["place"], row["reader"]) == ("quarter.meter", "steward")
    # The meter was not read for the last five minutes: a span tells of them.
    assert sorted(meter["intervals"].values()) == [1] * 10
    assert [(span["amount"], span["reason"]) for span in meter["spans"]] == [(77_777.0, "restart")]
    shown = [register["register_joules"] for register in meter["registers"]]
    assert shown == [FIRST, FIRST + 300, FIRST + 900]
    assert await site.explain("pue", "--rows") == 0
    told_lines = capsys.readouterr().out
    assert "10 intervals of the ledger" in told_lines
    assert "span: kind meter, thing utility" in told_lines
    assert '"energy_joules"' in told_lines


async def test_late_rows_are_told_until_they_are_summed(
    site: Site, capsys: pytest.CaptureFixture[str]
) -> None:
    entries = fleet(1)
    await on_time(site.store, entries[:-2])
    await site.store.write(rows_of(entries[-2:], late=True))
    assert await site.explain("idle_capacity_ratio", "--format", "json") == 0
    notes = document(capsys)["stored"]["notes"]
    assert notes == ["late rows are not summed yet: open marks of node node-2"]
    await Stewarded(site.store).work()
    assert await site.explain("idle_capacity_ratio", "--format", "json") == 0
    stored = document(capsys)["stored"]
    assert (stored["same"], stored["notes"]) == (True, [])


async def test_an_interval_is_explained_from_the_ledger(
    site: Site, capsys: pytest.CaptureFixture[str]
) -> None:
    start = FIRST + STEP
    entries = [told("node-1", start), told("node-2", start)]
    await site.store.write(rows_of(entries))
    nodes = {entry.node: entry.node_row for entry in entries if entry.node_row is not None}
    rows = IntervalRows(start, STEP, nodes, entries[0].meters, entries[0].engines)
    await site.store.write([live_point(g, s, start) for g, s in roll_up(rows, KNOWN).items()])
    assert await site.explain("pue", "--window", "interval", "--format", "json", "--rows") == 0
    found = document(capsys)
    joules = 1000.0 * (start % 7 + 1)
    assert (found["value"], found["stored"]["same"]) == (5 / 4, True)
    assert thing(found, "meter", "utility")["numerator"] == joules * 5
    assert thing(found, "node", "node-1")["denominator"] == joules * 2
    by_thing = {rows["thing"]: rows["rows"] for rows in found["rows"]}
    [row] = by_thing["node-2"]
    assert row["row"]["shares"][0]["milliseconds"]["active"] == STEP * 1500
    assert await site.explain("cost_per_million_tokens", "--window", "interval") == 0
    assert "serving_money" in capsys.readouterr().out


async def test_a_gap_of_an_interval_is_filled_by_what_was_read_before(
    site: Site, capsys: pytest.CaptureFixture[str]
) -> None:
    await site.store.write(rows_of(fleet(1)))
    # The first interval in which node-1, and the meter with it, is away.
    away = FIRST + 600
    options = ("--window", "interval", "--format", "json")
    assert await site.explain("pue", *options, at=away) == 0
    found = document(capsys)
    watts = 1000.0 * ((away - STEP) % 7 + 1) * 5 / STEP
    [note, filled] = thing(found, "meter", "utility")["notes"]
    assert note == "silent: no row in this window"
    assert filled == f"facility side; filled {watts * STEP:.12g} J by the last known {watts:.12g} W"
    assert found["silent"] == ["meter utility", "node node-1", "engine chat"]
    assert not found["stored"]["found"]


@pytest.mark.parametrize(("days", "why"), [(0, "has no rows from"), (40, "keeps 35 days")])
async def test_an_interval_without_rows_falls_back_to_its_quarter(
    site: Site, capsys: pytest.CaptureFixture[str], days: int, why: str
) -> None:
    start = FIRST - days * DAY
    row = NodeRow(
        900_000,
        (Share("h100", "none", (600_000, 0, 300_000, 0, 0), (None,) * 5, "counter", "ok"),),
    )
    kept = PackedRow("quarter", "node", "site-a", "node-2", "steward", start, pack(row))
    assert await site.store.write([kept]) == []
    options = ("--window", "interval", "--format", "json")
    assert await site.explain("idle_capacity_ratio", *options, at=start + 100) == 0
    found = document(capsys)
    assert found["period"]["kind"] == "quarter"
    assert why in found["notes"][0]
    assert found["notes"][0].endswith("the quarter is explained instead")
    assert (found["numerator"]["value"], found["denominator"]["value"]) == (300.0, 900.0)


async def test_a_quarter_that_is_not_summed_yet_is_summed_here(
    site: Site, capsys: pytest.CaptureFixture[str]
) -> None:
    await site.store.write(rows_of(fleet(1)))
    assert await site.explain("idle_capacity_ratio", "--format", "json") == 0
    here = document(capsys)
    assert here["rows_from"] == "rows of the ledger, summed here"
    assert here["stored"]["notes"][0].startswith("the quarter is not done yet")
    await Stewarded(site.store).work()
    assert await site.explain("idle_capacity_ratio", "--format", "json") == 0
    summed = document(capsys)
    assert (summed["stored"]["same"], summed["numerator"]["value"]) == (
        True,
        here["numerator"]["value"],
    )
    assert await site.store.packed("quarter", "node", start_seconds=FIRST, end_seconds=FIRST + 1)


async def test_a_row_that_cannot_be_read_is_told_of(
    site: Site, capsys: pytest.CaptureFixture[str]
) -> None:
    bad = PackedRow("ledger", "node", "site-a", "node-2", "node-2", FIRST + STEP, "no JSON")
    await site.store.write([*rows_of([told("node-1", FIRST + STEP)]), bad])
    assert await site.explain("pue", "--window", "interval", "--rows") == 0
    assert "1 rows cannot be read, and are left out" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "at", "code", "said"),
    [
        (("pue",), FIRST, 1, "nothing is known of site site-a from "),
        (("pue", "--window", "interval"), FIRST, 1, "no rows of node, meter, engine"),
        (("pue",), time.time() + 900, 1, "has not ended yet"),
        (("peu",), FIRST, 2, "did you mean pue?"),
        (("pue", "--group", "rack=1"), FIRST, 2, "give TAG=VALUE"),
        (("pue", "--top", "0"), FIRST, 2, "at least 1"),
        ((), FIRST, 2, "the name of a KPI is missing"),
    ],
    ids=["site", "interval", "ahead", "name", "group", "top", "none"],
)
async def test_what_is_wrong_is_one_line(
    site: Site,
    capsys: pytest.CaptureFixture[str],
    arguments: Sequence[str],
    at: float,
    code: int,
    said: str,
) -> None:
    assert await site.explain(*arguments, at=at) == code
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert said in err


def test_a_file_that_is_not_there_is_not_begun(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "site.toml").write_text(SITE)
    config = tmp_path / "collector.toml"
    config.write_text(
        f'site = "{tmp_path}/site.toml"\n[socket]\npath = "{tmp_path}/reports"\n'
        f'[sqlite]\npath = "{tmp_path}/gone.sqlite"\n'
    )
    assert main(["explain", "pue", "--at", "now", "-c", str(config)]) == 1
    assert "there is no such file" in capsys.readouterr().err
    assert not (tmp_path / "gone.sqlite").exists()


def test_the_list_needs_no_config(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", "--list"]) == 0
    out = capsys.readouterr().out
    assert [line.split()[0] for line in out.splitlines()] == list(ROWS)
    assert " / (active_seconds + held_idle_seconds + free_seconds - stranded_seconds)" in out
    assert main(["explain", "pue", "--at", "now"]) == 2
    assert capsys.readouterr().err == "--config is missing\n"
    assert main(["explain", "pue"]) == 2
    assert capsys.readouterr().err == "--at is missing\n"
