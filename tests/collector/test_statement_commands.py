"""The commands statement, close and reconcile, as they are called."""

import asyncio
import csv
import io
import json
import os
import pty
import subprocess
import sys
import time
from decimal import Decimal
from pathlib import Path

import pytest

from meterhouse_collector.__main__ import main
from meterhouse_collector.settlement.invoices import sample
from meterhouse_collector.settlement.statement import BYS
from meterhouse_collector.store.config import SqliteConfig
from meterhouse_collector.store.sqlite import SqliteStore
from tests.collector.settled import SITE, config, fill, months_ago, name_of, quarters, site
from tests.collector.stores import influx_config, opened_influx
from tests.servers import InfluxDB

MONTH = months_ago(1)
DAY = site().model.day(MONTH.begins + 5 * 86_400)
NEXT = site().model.day(MONTH.begins + 6 * 86_400 + 7200)
ONE_DAY = ("--from", str(DAY), "--to", str(NEXT))


@pytest.fixture(scope="module")
def month(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Fill a store with a month; return the file, of which each test takes a copy."""
    path = tmp_path_factory.mktemp("month") / "rows.sqlite"

    async def filled() -> None:
        store = SqliteStore(SqliteConfig(path=str(path)))
        await store.open()
        await fill(store, site(), quarters(MONTH))
        await store.close()

    asyncio.run(filled())
    return path


@pytest.fixture
def configured(month: Path, tmp_path: Path) -> Path:
    for part in month.parent.glob("rows.sqlite*"):
        (tmp_path / part.name).write_bytes(part.read_bytes())
    return config(tmp_path)


Captured = pytest.CaptureFixture[str]


def run(capsys: Captured, *arguments: object) -> str:
    """Run a command that works, and says nothing beside its answer."""
    assert main([str(argument) for argument in arguments]) == 0
    printed = capsys.readouterr()
    assert printed.err == ""
    return printed.out


def refused(capsys: Captured, code: int, *arguments: object) -> str:
    """Run a command that does not work; return its one line of why."""
    assert main([str(argument) for argument in arguments]) == code
    printed = capsys.readouterr()
    assert printed.out == ""
    (line,) = printed.err.splitlines()
    return line


def test_every_view_and_format_has_the_same_total(capsys: Captured, configured: Path) -> None:
    totals = set()
    for by in BYS:
        command = ("statement", *ONE_DAY, "--by", by, "-c", configured, "--format")
        found = json.loads(run(capsys, *command, "json"))
        assert found["by"] == by
        totals.add(Decimal(found["total_money"]))
        rows = list(csv.DictReader(io.StringIO(run(capsys, *command, "csv"))))
        totals.add(sum((Decimal(row["money"]) for row in rows), Decimal(0)))
        assert f"total     {found['total_money']} EUR" in run(capsys, *command, "table")
    focus = run(capsys, "statement", *ONE_DAY, "-c", configured, "--format", "focus")
    rows = list(csv.DictReader(io.StringIO(focus)))
    totals.add(sum((Decimal(row["BilledCost"]) for row in rows), Decimal(0)))
    assert len(totals) == 1
    # Three devices at 35,000 over 1,825 days, 96 quarters of 5 MJ at 0.21, and shares of the month.
    hours = Decimal(len(quarters(MONTH))) / 4
    day = Decimal(3 * 35000) / 1825 + 96 * Decimal(5) / Decimal("3.6") * Decimal("0.21")
    peak = Decimal(5) / Decimal("0.9") * Decimal("9.5")
    day += (1000 + 45 + peak) * 24 / hours
    assert abs(totals.pop() - day) < Decimal("0.01")


def test_a_window_shows_the_registers_at_its_ends(capsys: Captured, configured: Path) -> None:
    found = json.loads(run(capsys, "statement", *ONE_DAY, "--format", "json", "-c", configured))
    (register,) = found["registers"]
    assert register["counted"] == register["summed"] == 96 * 5e6
    assert register["closing"] - register["opening"] == register["counted"]
    assert (register["difference"], register["note"]) == (0, None)


def test_a_month_is_stated_closed_and_adjusted(
    capsys: Captured, configured: Path, tmp_path: Path
) -> None:
    period = name_of(MONTH)
    by_name = ("statement", "--period", period, "--format", "json", "-c", configured)
    before = json.loads(run(capsys, *by_name))
    assert (before["number"], before["reasons"], before["provisional"]) == (None, [], False)
    told = run(capsys, "close", period, "-c", configured)
    assert told.startswith(f"statement 1: {period} of site is closed\ntotal      ")
    assert refused(capsys, 1, "close", period, "-c", configured) == (
        f"{period} is closed already, by statement 1 of {period}"
    )
    config(tmp_path, SITE.replace("amount = 1000", "amount = 1100"))
    frozen = json.loads(run(capsys, *by_name))
    assert (frozen["number"], frozen["total_money"]) == (1, before["total_money"])
    assert len(frozen["ledger_hash"]) == 64
    today = json.loads(run(capsys, *by_name, "--recomputed"))
    assert Decimal(today["money"]) - Decimal(frozen["money"]) == 100
    assert "rollups were priced by another site model than today's: run rerate" in today["notes"]
    following = months_ago(0)
    if time.time() > following.begins + 900:
        begins, ends = (site().model.day(at) for at in (following.begins, following.begins))
        command = ("statement", "--from", begins, "--to", f"{ends}T00:15", "-c", configured)
        rows = list(csv.DictReader(io.StringIO(run(capsys, *command, "--format", "focus"))))
        corrections = [row for row in rows if row["ChargeClass"] == "Correction"]
        assert sum(Decimal(row["BilledCost"]) for row in corrections) == 100
        assert "Adjustments of closed periods, EUR\n  period" in run(capsys, *command)


def test_invoices_are_set_against_what_accrued(
    capsys: Captured, configured: Path, tmp_path: Path
) -> None:
    path = tmp_path / "invoices.csv"
    period = name_of(MONTH)
    path.write_text(
        f"supplier,kind,period,amount,number\nStaff,operations,{period},1100,7\n", encoding="utf-8"
    )
    told = run(capsys, "reconcile", path, "-c", configured)
    assert "1,100.00  1,000.00    100.00  +10.00 %  rate" in told
    assert f"  operations of {period}: +100.00 EUR, for Staff 7" in told.splitlines()
    shown = ("statement", "--period", period, "-c", configured)
    assert "invoiced" not in run(capsys, *shown)
    run(capsys, "reconcile", path, "--store", "-c", configured)
    note = f"operations of {period}: invoiced 1,100.00, accrued 1,000.00, variance +100.00"
    assert f"  {note} (+10.00 %): rate" in run(capsys, *shown).splitlines()


@pytest.mark.parametrize(
    ("arguments", "fault"),
    [
        ((), "give either --from and --to, or --period"),
        (("--from", "2026-01-01"), "give both --from and --to"),
        (
            ("--period", "2026-10", "--to", "2026-01-01"),
            "give either --from and --to, or --period",
        ),
        (("--period", "soon"), "found 'soon', allowed: a month like 2026-10"),
        (("--period", "2990"), "the window ends in the future: allowed: at most "),
        (
            ("--from", "2026-01-01", "--to", "2026-01-01T00:10"),
            "--from, --to: found '2026-01-01T00:10', allowed: a full quarter hour",
        ),
        (
            ("--from", "2026-01-02", "--to", "2026-01-01"),
            "--from, --to: allowed: a window that ends after it begins, at full quarter hours",
        ),
        (
            (*ONE_DAY, "--format", "focus", "--by", "tenant"),
            "found --by tenant, allowed with --format focus: no --by",
        ),
    ],
)
def test_wrong_arguments_are_told_in_one_line(
    capsys: Captured, configured: Path, arguments: tuple[str, ...], fault: str
) -> None:
    assert refused(capsys, 2, "statement", *arguments, "-c", configured).startswith(fault)


def test_other_wrong_arguments(capsys: Captured, configured: Path, tmp_path: Path) -> None:
    assert "allowed: a month" in refused(capsys, 2, "close", "2026-13", "-c", configured)
    path = tmp_path / "invoices.toml"
    path.write_text(sample().replace('"2026-10"', '"october"'), encoding="utf-8")
    assert "found 'october'" in refused(capsys, 2, "reconcile", path, "-c", configured)
    missing = tmp_path / "no.toml"
    assert "no.toml" in refused(capsys, 2, "reconcile", missing, "-c", configured)
    assert "no.toml" in refused(capsys, 2, "statement", *ONE_DAY, "-c", missing)


def test_a_store_that_is_not_there_or_damaged_is_told(capsys: Captured, tmp_path: Path) -> None:
    path = config(tmp_path)
    store = tmp_path / "rows.sqlite"
    assert "rows.sqlite: no such file" in refused(capsys, 1, "statement", *ONE_DAY, "-c", path)
    assert not store.exists()
    store.write_bytes(b"no database" * 100)
    assert "rows.sqlite: file is not a database" in refused(
        capsys, 1, "statement", *ONE_DAY, "-c", path
    )


def test_the_sample_of_invoices_is_printed(capsys: Captured) -> None:
    assert run(capsys, "sample-config", "--invoices") == sample()


def test_progress_is_shown_on_a_terminal_only(configured: Path) -> None:
    command = [sys.executable, "-m", "meterhouse_collector", "statement", *ONE_DAY]
    command += ["-c", str(configured)]
    theirs, ours = pty.openpty()
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=ours, check=True, timeout=60)
    os.close(ours)
    shown = os.read(theirs, 65_536).decode()
    os.close(theirs)
    assert "%" in shown
    assert "reading rollups" in shown
    # Nothing of it stays.
    assert shown.endswith(" \r")
    plain = subprocess.run(command, capture_output=True, check=True, timeout=60)
    assert plain.stderr == b""
    assert plain.stdout == done.stdout


async def test_the_same_in_influxdb(influxdb_shared: InfluxDB, tmp_path: Path) -> None:
    server = await influx_config(influxdb_shared, tmp_path)
    path = config(tmp_path)
    text = path.read_text(encoding="utf-8").partition("[sqlite]")[0]
    path.write_text(
        f'{text}[influx]\nurl = "{server.url}"\norg = "{server.org}"\n'
        f'database = "{server.database}"\ntoken = {{ file = "{tmp_path}/collector.token" }}\n',
        encoding="utf-8",
    )
    day = range(int(site().model.instant(DAY)), int(site().model.instant(NEXT)), 900)
    async with opened_influx(server) as store:
        await fill(store, site(), day)
    command = [sys.executable, "-m", "meterhouse_collector", "statement", *ONE_DAY]
    command += ["-c", str(path), "--format", "json"]
    done = await asyncio.to_thread(
        subprocess.run, command, capture_output=True, check=True, timeout=60, text=True
    )
    found = json.loads(done.stdout)
    kinds = {cell["kind"] for cell in found["cells"]}
    assert kinds == {"capital", "energy", "demand", "operations"}
    assert sum(Decimal(c["money"]) for c in found["cells"]) == Decimal(found["money"])
    assert (found["missing_quarters"], done.stderr) == (0, "")


def test_rerate_comes_to_the_total_of_the_statement(configured: Path, capsys: Captured) -> None:
    rated = run(capsys, "rerate", "-c", configured, *ONE_DAY).splitlines()
    kinds = {line.split()[0]: line.split()[2] for line in rated if line.startswith("  ")}
    shown = json.loads(run(capsys, "statement", "-c", configured, *ONE_DAY, "--format", "json"))

    total = Decimal(kinds.pop("total"))
    assert total == Decimal(shown["total_money"])
    assert total == sum(Decimal(money) for name, money in kinds.items() if name != "kind,")
