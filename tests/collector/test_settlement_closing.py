"""Closing freezes what was stated, and what changes later is adjusted once, in every store."""

import time
from collections.abc import AsyncIterator
from datetime import timedelta
from decimal import Decimal
from itertools import pairwise
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from msgspec.structs import replace

from meterhouse_collector.money.decimals import add
from meterhouse_collector.rows import DirtyRow, PackedRow, pack
from meterhouse_collector.settlement.books import Books, NotClosableError
from meterhouse_collector.settlement.closing import (
    frozen_rows,
    read_frozen,
    read_heads,
)
from meterhouse_collector.settlement.periods import Period, local_text
from meterhouse_collector.settlement.reading import read_ledger_hash
from meterhouse_collector.store import Store, StoreUnavailableError
from meterhouse_collector.store.config import SqliteConfig
from meterhouse_collector.store.sqlite import SqliteStore
from tests.collector.settled import SITE, fill, site

# A day each instead of a month: a period is any window with a name.
DAY = 86_400
_TODAY = site().model.day(time.time())
_DAYS = [int(site().model.instant(_TODAY - timedelta(days=n))) for n in range(6, 0, -1)]
FIRST = _DAYS[0]
PERIODS = [Period(f"day-{n}", *window) for n, window in enumerate(pairwise(_DAYS[:5]))]
NOW = PERIODS[-1].ends


STORES = ("sqlite", "influx")


def books(store: Store, text: str = SITE, now: float = NOW) -> Books:
    return Books(store, site(text), now)


def paid(*salaries: int) -> str:
    """Return the site with an operator's pay of each of the days, as it is known today."""
    assert len(salaries) == len(PERIODS)
    model = site().model
    entries = "".join(
        f'[[operations]]\nname = "day-{n}"\nkind = "staff"\namount = {pay}\n'
        f"valid_from = {model.day(period.begins)}\nvalid_to = {model.day(period.ends)}\n"
        for n, (pay, period) in enumerate(zip(salaries, PERIODS, strict=True))
    )
    return SITE + entries


async def test_frozen_and_adjustments_are_what_is_computed_today(store: Store) -> None:
    await fill(store, site(), range(FIRST, NOW, 900))
    models = [
        paid(1000, 1000, 1000, 1000),
        paid(1033, 1000, 1000, 1000),
        paid(1033, 1717, 1000, 1000),
        paid(931, 1717, 1001, 1000),
    ]
    stated = Decimal(0)
    for number, (period, text) in enumerate(zip(PERIODS, models, strict=True), 1):
        shown = await books(store, text).account(period.window)
        closed = await books(store, text).close(period)
        assert closed.closing is not None
        assert closed.closing.number == number
        assert (shown.lines, shown.adjustments) == (closed.lines, closed.adjustments)
        stated += closed.known + closed.adjusted
        today = [
            await books(store, text).account(each.window, recomputed=True)
            for each in PERIODS[:number]
        ]
        # Whatever was stated first: all that was stated is what all of it costs today.
        assert stated == add(account.known for account in today)
    accounts = [await books(store).account(period.window) for period in PERIODS]
    assert [{a.period for a in account.adjustments} for account in accounts] == [
        set(),
        {"day-0"},
        {"day-1"},
        {"day-0", "day-2"},
    ]
    heads = await read_heads(store, "site")
    assert [(head.number, head.period) for head in heads] == [
        (number, period.name) for number, period in enumerate(PERIODS, 1)
    ]
    assert sum(head.total or 0 for head in heads) == stated


async def test_a_closed_period_stays_what_it_was(store: Store) -> None:
    period = PERIODS[0]
    await fill(store, site(), range(*period.window, 900))
    closed = await books(store).close(period)
    dearer = SITE.replace("amount = 1000", "amount = 2000")
    assert await books(store, dearer).account(period.window) == closed
    today = await books(store, dearer).account(period.window, recomputed=True)
    assert today.known > closed.known
    wider = await books(store, dearer).account((period.begins, period.ends + 900))
    assert "computed today, though closed: day-0" in wider.notes
    assert wider.adjustments == ()


async def test_the_hash_is_of_the_quarter_rows(store: Store) -> None:
    period = PERIODS[0]
    await fill(store, site(), range(*period.window, 900))
    one = await books(store).close(period)
    head = (await read_heads(store, "site"))[0]
    assert one.closing is not None
    assert (head.ledger_hash, head.model_revision, head.time_zone) == (
        one.closing.ledger_hash,
        one.model_revision,
        "Europe/Berlin",
    )
    assert len(head.ledger_hash) == 64
    # One reading that is another makes another hash, and the same rows make the same.
    await fill(store, site(), [period.begins], {period.begins: 5_000_001.0})
    assert await read_ledger_hash(store, site(), period.window) != head.ledger_hash
    await fill(store, site(), [period.begins])
    assert await read_ledger_hash(store, site(), period.window) == head.ledger_hash


async def test_a_period_of_another_currency_is_not_compared(store: Store) -> None:
    first, second = PERIODS[:2]
    await fill(store, site(), range(first.begins, second.ends, 900))
    await books(store).close(first)
    dollars = SITE.replace('"EUR"', '"USD"').replace("amount = 1000", "amount = 2000")
    found = await books(store, dollars).account(second.window)
    assert found.adjustments == ()
    assert "day-0: closed in EUR, not USD" in found.reasons


@pytest.fixture
async def embedded(tmp_path: Path) -> AsyncIterator[SqliteStore]:
    opened = SqliteStore(SqliteConfig(path=str(tmp_path / "rows.sqlite")))
    await opened.open()
    yield opened
    await opened.close()


async def refusal(of: Books, period: Period) -> str:
    with pytest.raises(NotClosableError) as caught:
        await of.close(period)
    return str(caught.value)


async def test_only_what_is_over_and_summed_and_open_can_be_closed(embedded: SqliteStore) -> None:
    first, second = PERIODS[:2]
    await fill(embedded, site(), range(first.begins, second.ends - 900, 900))
    assert "day-0 is open until" in await refusal(books(embedded, now=first.ends - 1), first)
    missing = await refusal(books(embedded), second)
    assert "quarter hours are missing, the first from" in missing
    await books(embedded).close(first)
    said = "is closed already, by statement 1 of day-0"
    assert said in await refusal(books(embedded), first)
    longer = Period("days", first.begins, second.ends)
    assert said in await refusal(books(embedded), longer)
    before = Period("before", first.begins - DAY, first.begins)
    assert "they are closed in order" in await refusal(books(embedded), before)
    assert len(await read_heads(embedded, "site")) == 1


async def test_what_is_summed_is_not_left_out_between_closed_periods(
    embedded: SqliteStore,
) -> None:
    first, second, third, fourth = PERIODS
    starts = [*range(FIRST, third.begins - 900, 900), *range(third.begins, NOW, 900)]
    await fill(embedded, site(), starts)
    # Where the books begin is for whoever keeps them to say.
    await books(embedded).close(first)
    zone = ZoneInfo("Europe/Berlin")
    await books(embedded).close(third)
    # The second lacked a quarter hour, and could not be closed.
    assert "they are closed in order" in await refusal(books(embedded), second)
    await fill(embedded, site(), range(NOW, NOW + DAY, 900))
    later = Period("later", NOW, NOW + DAY)
    assert await refusal(books(embedded, now=later.ends), later) == (
        f"later would leave out {local_text(fourth.begins, zone)} to {local_text(NOW, zone)},"
        " which is summed: close that first"
    )


async def test_late_rows_that_wait_keep_a_period_open(embedded: SqliteStore) -> None:
    (period, _, _, _) = PERIODS
    await fill(embedded, site(), range(*period.window, 900))
    mark = PackedRow(
        "ledger", "dirty", "site", "node/n1", "n1", period.begins, pack(DirtyRow("node", 1))
    )
    assert await embedded.write([mark]) == []
    assert "1 late rows of" in await refusal(books(embedded), period)


async def test_a_statement_that_was_damaged_is_not_shown(embedded: SqliteStore) -> None:
    period = PERIODS[0]
    await fill(embedded, site(), range(*period.window, 900))
    closed = await books(embedded).close(period)
    parts, _ = frozen_rows(closed)
    head = (await read_heads(embedded, "site"))[0]
    assert await read_frozen(embedded, "site", head) == closed
    await embedded.write([replace(parts[0], row='{"part":"abc"}')])
    with pytest.raises(StoreUnavailableError, match="statement 1 of day-0 is damaged"):
        await read_frozen(embedded, "site", head)


async def test_a_price_that_got_lost_leaves_no_total(embedded: SqliteStore) -> None:
    first, second = PERIODS[:2]
    await fill(embedded, site(), range(first.begins, second.ends, 900))
    await books(embedded).close(first)
    unpriced = SITE.replace('"H100"\nvendor', '"A100"\nvendor')
    found = await books(embedded, unpriced).account(second.window)
    assert "day-0: H100: no [[hardware]] price on 2025-01-01" in found.reasons
