"""The command ``rerate``: what changed prices come to, stored or only asked for."""

import asyncio
from datetime import UTC, datetime
from math import fsum
from pathlib import Path

import pytest

from meterhouse_collector.__main__ import main
from meterhouse_collector.kpi.catalogue import ROLLUP_FIELD_NAMES
from meterhouse_collector.store.config import SqliteConfig
from meterhouse_collector.store.sqlite import SqliteStore
from tests.collector.collecting import SITE
from tests.collector.settling import FIRST
from tests.collector.stored_site import PRICED, since, stored_site


@pytest.fixture
def config(tmp_path: Path) -> Path:
    return stored_site(tmp_path)


def rated(out: str) -> dict[str, list[str]]:
    """Return the amounts of each kind, before, after and between."""
    return {line.split()[0]: line.split()[1:] for line in out.splitlines() if "." in line}


def test_nothing_changes_where_no_price_has(
    config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["rerate", "-c", str(config), "--from", since()]) == 0
    out = capsys.readouterr().out
    assert "2 quarter hours rated again" in out
    # 4 devices at 1,000 a day for half an hour; 5 kW for half an hour at 0.25.
    assert rated(out)["capital"] == ["83.33", "83.33", "0.00"]
    assert rated(out)["energy"] == ["0.63", "0.63", "0.00"]
    assert "revision 0" in out


def test_another_model_is_only_shown_until_it_is_the_sites(
    config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    dearer = config.parent / "dearer.toml"
    dearer.write_text(SITE + PRICED.replace("3650000", "7300000").replace("0.25", "0.50"))
    asked = ["rerate", "-c", str(config), "--from", since(), "--what-if", str(dearer)]
    for _ in range(2):
        assert main(asked) == 0
        out = capsys.readouterr().out
        assert "nothing was stored" in out
        assert rated(out)["capital"] == ["83.33", "166.67", "83.34"]
        assert rated(out)["energy"] == ["0.63", "1.25", "0.62"]
        assert rated(out)["total"] == ["83.96", "167.92", "83.96"]
    (config.parent / "site.toml").write_text(dearer.read_text())
    stored = ["rerate", "-c", str(config), "--from", since()]
    assert main(stored) == 0
    assert "revision 1" in (out := capsys.readouterr().out)
    assert rated(out)["capital"] == ["83.33", "166.67", "83.34"]
    assert main(stored) == 0
    assert "revision 1" in (out := capsys.readouterr().out)
    assert rated(out)["capital"] == ["166.67", "166.67", "0.00"]


@pytest.mark.parametrize(
    ("arguments", "fault"),
    [
        (["--from", "yesterday"], "allowed: a date"),
        (["--from", "2026-10-01T00:07"], "full quarter hour"),
        (["--from", "2019-01-01", "--to", "2019-02-01"], "no quarter hour is summed"),
        (["--from", "2019-02-01", "--to", "2019-01-01"], "a window that ends after it begins"),
    ],
)
def test_a_window_that_is_none_is_refused(
    config: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], fault: str
) -> None:
    assert main(["rerate", "-c", str(config), *arguments]) == 2
    said = capsys.readouterr()
    assert fault in said.err
    assert not said.out


def test_another_site_is_no_what_if(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    other = config.parent / "other.toml"
    other.write_text(SITE.replace("site-a", "site-b"))
    asked = ["rerate", "-c", str(config), "--from", since(), "--what-if", str(other)]
    assert main(asked) == 2
    assert "found site-b, allowed: site-a" in capsys.readouterr().err


def test_a_late_word_that_a_node_was_down_re_states_what_was_summed(
    config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    begins, ends = (datetime.fromtimestamp(FIRST + at, UTC).isoformat() for at in (900, 1800))
    site = config.parent / "site.toml"
    said = (
        '\n[[downtime]]\nnodes = ["node-2"]\nreason = "failed"\nsaid_by = "ticket 7"\n'
        f"begins = {begins}\nends = {ends}\n"
    )
    site.write_text(site.read_text() + said)
    before = asyncio.run(kept(config))
    assert {name: before[name] for name in STATES} == {
        **dict.fromkeys(STATES, 0.0),
        "active_seconds": 5400.0,
        "held_idle_seconds": 0.0,
        "free_seconds": 1800.0,
    }
    assert main(["rerate", "-c", str(config), "--from", since()]) == 0
    assert rated(capsys.readouterr().out)["total"] == ["83.96", "83.96", "0.00"]
    after = asyncio.run(kept(config))
    # The second quarter hour of two devices: one was at work, the other for half of it.
    assert {name: after[name] for name in STATES} == {
        **dict.fromkeys(STATES, 0.0),
        "active_seconds": 4050.0,
        "free_seconds": 1350.0,
        "unhealthy_seconds": 1800.0,
        "unhealthy_failed_seconds": 1800.0,
    }
    assert after["unhealthy_capital_money"] > 0 == before["unhealthy_capital_money"]


STATES = (
    *("active_seconds", "held_idle_seconds", "free_seconds", "unknown_seconds"),
    *("unhealthy_seconds", "unhealthy_failed_seconds", "unhealthy_lost_seconds"),
)


async def kept(config: Path) -> dict[str, float]:
    """Return the sums of all kept rollups."""
    store = SqliteStore(SqliteConfig(path=str(config.parent / "rows.sqlite")))
    await store.open()
    points = await store.points("kept", "rollup", start_seconds=0, end_seconds=2**33)
    await store.close()
    return {n: fsum(float(p.fields[n]) for p in points) for n in ROLLUP_FIELD_NAMES}
