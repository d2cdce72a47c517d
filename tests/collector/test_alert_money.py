"""Budgets and commitments: spend to date, forecast, burn over two windows, and under-use."""

import time
from datetime import date
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meterhouse_collector.alerts import spend
from meterhouse_collector.alerts.amounts import DAYS_AT_ONCE, KeptAmounts
from meterhouse_collector.alerts.conditions import commitment
from meterhouse_collector.alerts.conditions.budget import Spend, Window, burn_thresholds, look_at
from meterhouse_collector.alerts.known import QuarterKnown, Use
from meterhouse_collector.alerts.state import Observation, Rule, beyond, cleared, step
from meterhouse_collector.money.burn import SpendSample, burn_alert_fires
from meterhouse_collector.rollup.points import kept_points
from meterhouse_collector.rollup.pricing import Sums
from meterhouse_collector.settlement.cash import cash_beyond_accrual
from meterhouse_collector.site.index import GroupKey, SiteIndex
from meterhouse_collector.site.targets import Budget
from tests.collector.alerting import BATCH, CHAT, SITE, one, sums, threshold, verdict
from tests.collector.collecting import MemoryStore, index

HOUR, DAY, QUARTER = 3600, 86_400, 900
# Noon of a day in the middle of a month of 30 days, in UTC.
NOON = 1_718_366_400
BEGINS, ENDS = NOON - 13 * DAY - 12 * HOUR, NOON + 16 * DAY + 12 * HOUR
MONTH = float(30 * DAY)


def budget(**fields: object) -> Budget:
    table = {"name": "site", "amount": 7200, "valid_from": date(2024, 1, 1), **fields}
    return Budget.model_validate(table)


def spending(**fields: object) -> Spend:
    """Return half of a month of 7,200 at an even 10 an hour: 6 by time, 4 by joules."""
    samples = tuple(
        SpendSample(Decimal(NOON - (72 - k) * HOUR), Decimal(4 * k), 0) for k in range(73)
    )
    even = Spend(
        begins_seconds=BEGINS,
        ends_seconds=ENDS,
        until_seconds=NOON,
        spent=Decimal(3240),
        reason=None,
        samples=samples,
        committed_per_hour=Decimal(6),
        windows={w: Window(w, Decimal(w) / 360) for w in (300, 1800, HOUR, 6 * HOUR, 3 * DAY)},
        most_ratio=None,
    )
    return even._replace(**fields)  # type: ignore[arg-type] # fields of a spend by name


def look(known: Spend, of: Budget | None = None) -> list[Observation]:
    return [s.observation for s in look_at(of or budget(), known, site="site-a", currency="EUR")]


def test_an_even_budget_fires_nothing() -> None:
    spent, forecast, *burns = look(spending())
    assert (spent.value, verdict(spent)) == (3240, "clears")
    assert forecast.value == pytest.approx(7200)
    assert [burn.value for burn in burns] == [1, 1, 1]
    assert [burn.limit for burn in burns] == [2, 1.25, 1.05]
    # What fired ends when the money goes evenly again.
    assert [verdict(burn) for burn in burns] == ["clears"] * 3


def test_spend_to_date_over_the_budget() -> None:
    assert verdict(look(spending(spent=Decimal("7200.01")))[0]) == "fires"


@pytest.mark.parametrize("basis", ["amortised", "cash"])
def test_a_budget_says_whether_its_money_is_amortised_or_cash(basis: str) -> None:
    of = budget().model_copy(update={"basis": basis})
    spent, forecast, *_ = look(spending(), of)
    assert (spent.reason, forecast.reason) == (basis, basis)
    rule = Rule("budget:site:spent", "budget_spent", "ticket", 0.0)
    _, (fired,) = step(None, spent._replace(value=7201.0), rule, 0.0)
    assert fired.reason == basis
    unknown = spending(spent=None, reason="coverage")
    assert look(unknown, of)[0].reason == "coverage"
    assert verdict(look(spending(spent=Decimal(7200)))[0]) == "clears"


def test_the_forecast_is_spent_and_what_time_and_joules_go_on_costing() -> None:
    more = tuple(s._replace(cumulative_money=2 * s.cumulative_money) for s in spending().samples)
    forecast = look(spending(samples=more))[1]
    assert forecast.value == pytest.approx(3240 + (6 + 8) * 396)
    assert verdict(forecast) == "fires"
    assert forecast.evidence["exhausted_in_seconds"] == pytest.approx(3960 / 14 * HOUR)


def windows(**ratios: float) -> dict[float, Window]:
    """Return windows that were spent at so many times the even pace of 10 an hour."""
    seconds = {"m5": 300, "m30": 1800, "h1": HOUR, "h6": 6 * HOUR, "d3": 3 * DAY}
    found = {seconds[n]: Decimal(str(r)) * seconds[n] / 360 for n, r in ratios.items()}
    return {w: Window(w, found.get(w, Decimal(w) / 360)) for w in seconds.values()}


@pytest.mark.parametrize(
    ("ratios", "does"),
    [
        ({"h1": 2.0, "m5": 2.0}, ["fires", "clears", "clears"]),
        # One window alone is a peak, or is over already.
        ({"h1": 2.5}, ["clears", "clears", "clears"]),
        ({"m5": 9.0}, ["clears", "clears", "clears"]),
        ({"h6": 1.3, "m30": 1.26}, ["clears", "fires", "clears"]),
        ({"d3": 1.2, "h6": 1.1}, ["clears", "clears", "fires"]),
        ({"h1": 1.7, "m5": 1.6}, ["keeps", "clears", "clears"]),
    ],
)
def test_a_burn_fires_when_both_windows_are_fast(ratios: dict[str, float], does: list[str]) -> None:
    assert [verdict(o) for o in look(spending(windows=windows(**ratios)))[2:]] == does


def test_a_burn_without_one_of_its_windows_has_no_value() -> None:
    known = windows(h1=3.0)
    del known[300]
    known[1800] = Window(1800, None)
    assert [verdict(o) for o in look(spending(windows=known))[2:]] == [
        "unknown",
        "unknown",
        "clears",
    ]


@given(*[st.none() | st.decimals(0, 5, places=2)] * 2, st.decimals("1.1", 4, places=2))
def test_a_burn_fires_as_the_formula_says(
    long: Decimal | None, short: Decimal | None, factor: Decimal
) -> None:
    burn = {"factor": float(factor), "long": "1h", "short": "5m"}
    known = {
        float(s): Window(s, None if r is None else r * s / 360)
        for s, r in ((HOUR, long), (300, short))
    }
    found = look(spending(windows=known), budget(burn=[burn]))[2]
    fires = burn_alert_fires(long_ratio=long, short_ratio=short, threshold_ratio=factor)
    assert beyond(found) == fires
    assert not (beyond(found) and cleared(found))


def test_thresholds_are_lowered_to_what_can_be_reached() -> None:
    thresholds = burn_thresholds(budget(), 1.5)
    assert [t.ratio for t in thresholds] == [Decimal("1.35"), Decimal("1.25"), Decimal("1.05")]
    assert thresholds[0].reason is not None
    fast = spending(windows=windows(h1=1.4, m5=1.4), most_ratio=1.5)
    assert verdict(look(fast)[2]) == "fires"
    # Where all that can be spent is within the budget, there is nothing to alert on.
    low = look(spending(windows=windows(h1=1.0), most_ratio=1.0))[2]
    assert (low.limit, beyond(low), cleared(low)) == (None, None, None)


def test_without_a_value_each_check_says_why() -> None:
    nothing = spending(
        spent=None, reason="coverage", samples=(), committed_per_hour=None, windows={}
    )
    assert [verdict(o) for o in look(nothing)] == ["unknown"] * 5


# From the rows of the kept rollup.


def quarter_sums(accrued: float, drawn: float, **fields: float) -> Sums:
    return sums(
        active_capital_money=accrued,
        free_energy_money=drawn,
        installed_seconds=3600.0,
        active_seconds=1800.0,
        held_idle_seconds=900.0,
        held_idle_rent_money=0.5,
        **fields,
    )


async def stored(begins: int, ends: int, groups: dict[GroupKey, Sums]) -> MemoryStore:
    store = MemoryStore()
    other = {GroupKey("site-b", "c1", "chat"): quarter_sums(1e6, 1e6)}
    for start in range(begins, ends, QUARTER):
        await store.write([*kept_points(start, groups), *kept_points(start, other)])
    return store


GROUPS = {
    SITE: sums(unknown_energy_money=0.1),
    CHAT: quarter_sums(1.0, 1.0),
    BATCH: quarter_sums(2.0, 0.5),
}
EVERY_QUARTER = 0.1 + 2.5 + 3.0


async def read_all(kept: KeptAmounts, store: MemoryStore, since: float, now: float) -> int:
    rounds = 1
    while not await kept.read(store, since, now):
        rounds += 1
    return rounds


async def test_spend_to_date_is_the_sum_of_the_kept_quarters() -> None:
    known, site = budget(), index()
    kept = KeptAmounts(site.model, spend.recent_seconds((known,)))
    store = await stored(BEGINS - DAY, NOON - QUARTER, GROUPS)
    live = spend.LiveWindow(300.0, {SITE: sums(interval_seconds=300.0), CHAT: GROUPS[CHAT]})
    begins = spend.spend_begins(site, known, NOON)
    assert begins == BEGINS
    await read_all(kept, store, begins, NOON)
    found = spend.spend_of(site, known, kept, live, NOON)
    quarters = (NOON - QUARTER - BEGINS) // QUARTER
    assert found.spent is not None
    assert float(found.spent) == pytest.approx(EVERY_QUARTER * quarters)
    assert (found.begins_seconds, found.ends_seconds) == (BEGINS, ENDS)
    assert found.until_seconds == NOON - QUARTER
    assert found.committed_per_hour is not None
    assert float(found.committed_per_hour) == pytest.approx(4 * (3.0 + 2 * 0.5))
    assert len(found.samples) == 73
    assert float(found.samples[-1].cumulative_money) == pytest.approx(72 * 4 * 1.6)
    money = {w: None if x.money is None else float(x.money) for w, x in found.windows.items()}
    assert money == {
        300: pytest.approx(2.5),
        **{w: pytest.approx(EVERY_QUARTER * w / QUARTER) for w in (1800, HOUR, 6 * HOUR, 3 * DAY)},
    }
    of_pool = budget(scope={"pool": "chat"})
    spent = spend.spend_of(site, of_pool, kept, live, NOON).spent
    assert spent is not None
    assert float(spent) == pytest.approx(2.5 * quarters)


async def test_new_and_restated_quarters_are_read_and_history_once() -> None:
    site = index()
    kept = KeptAmounts(site.model, 3.0 * DAY)
    store = await stored(NOON - 30 * DAY, NOON, GROUPS)
    rounds = await read_all(kept, store, NOON - 25 * DAY, NOON)
    assert rounds == -(-21 // DAYS_AT_ONCE)
    for start in (NOON - HOUR, NOON):
        await store.write(kept_points(start, {CHAT: quarter_sums(100.0, 0.0)}))
    assert await kept.read(store, NOON - 25 * DAY, NOON + QUARTER)
    assert kept.newest_end() == NOON + QUARTER

    def money(begins: float, ends: float) -> float:
        return kept.found(lambda place: place.pool == "chat", begins, ends).amounts.money

    assert money(NOON - HOUR, NOON + QUARTER) == pytest.approx(2 * 100.5 + 3 * 2.5)
    midnight = NOON - NOON % DAY
    whole = money(midnight - 20 * DAY, NOON)
    assert whole == pytest.approx((20 * 96 + 48 - 1) * 2.5 + 100.5)


async def test_where_quarters_are_missing_or_unpriced_there_is_no_spend() -> None:
    known, site = budget(), index()
    live = spend.LiveWindow(0.0, {})
    for store in (
        MemoryStore(),
        await stored(NOON - DAY, NOON, GROUPS),
        await stored(BEGINS, NOON, {CHAT: quarter_sums(1, 1, unpriced_seconds=3600.0)}),
    ):
        kept = KeptAmounts(site.model, 3.0 * DAY)
        await read_all(kept, store, BEGINS, NOON)
        found = spend.spend_of(site, known, kept, live, NOON)
        assert found.spent is None
        assert [verdict(o) for o in look(found)[:3]] == ["unknown"] * 3


async def test_quarters_that_are_behind_say_nothing_of_now() -> None:
    known, site = budget(amount=9000), index()
    kept = KeptAmounts(site.model, 3.0 * DAY)
    await read_all(kept, await stored(BEGINS, NOON - 2 * HOUR, GROUPS), BEGINS, NOON)
    found = spend.spend_of(site, known, kept, spend.LiveWindow(0.0, {}), NOON)
    assert found.spent is not None
    assert [verdict(o) for o in look(found, known)] == ["clears", *["unknown"] * 4]


BOUGHT = """
[[pool]]
name = "rented"
cluster = "c1"
[[hardware]]
accelerator_model = "h100"
vendor = "nvidia"
price_per_device = 1000
life = "3650d"
[[asset]]
node = "bought"
pool = "chat"
accelerator_model = "h100"
devices = 2
purchased = 2024-06-05
in_service = 2024-09-01
[[asset]]
node = "bought-before"
pool = "chat"
accelerator_model = "h100"
devices = 2
purchased = 2024-05-31
in_service = 2024-09-01
[[shared_equipment]]
name = "fabric"
kind = "network"
price = 700
life = "3650d"
purchased = 2024-06-02
in_service = 2024-09-01
[[contract]]
name = "rented"
side = "bought"
counterparty = "somebody"
pools = ["rented"]
units = 1
rate = 720
rate_per = "month"
valid_from = 2024-06-01
[[contract.prepayment]]
paid_on = 2024-06-01
amount = 5000
"""
RETIRED = "retired = 2025-10-01"
# At 1 an hour.
COVERED = (NOON - BEGINS) / HOUR


@pytest.mark.parametrize(
    ("scope", "bought"),
    [
        ({}, 2 * 1000 + 700 + 5000 - COVERED),
        ({"pool": "chat"}, 2 * 1000),
        ({"pool": "rented"}, 5000 - COVERED),
    ],
)
async def test_cash_is_spent_when_it_is_paid(scope: dict[str, str], bought: float) -> None:
    site, live = index(BOUGHT), spend.LiveWindow(0.0, {})
    kept = KeptAmounts(site.model, 3.0 * DAY)
    await read_all(kept, await stored(BEGINS, NOON, GROUPS), BEGINS, NOON)
    cash, by_day = budget(basis="cash", scope=scope), budget(scope=scope)
    found = spend.spend_of(site, cash, kept, live, NOON)
    amortised = spend.spend_of(site, by_day, kept, live, NOON).spent
    assert found.spent is not None
    assert amortised is not None
    amounts = kept.found(spend.in_scope(cash.scope), BEGINS, NOON).amounts
    expected = float(amortised) - amounts.capital_money + bought
    assert float(found.spent) == pytest.approx(expected)
    spent, *others = look(found, cash)
    assert spent.value == pytest.approx(expected)
    assert {verdict(other) for other in others} == {"unknown"}


def test_taking_equipment_out_is_paid_on_the_day_it_is_retired() -> None:
    text = BOUGHT.replace('life = "3650d"', 'life = "3650d"\ndecommissioning_per_device = 30', 1)
    text = text.replace("price = 700", "price = 700\ndecommissioning = 11")
    site = index(text.replace("in_service = 2024-09-01", f"in_service = 2024-09-01\n{RETIRED}"))
    at = int(site.model.instant(date(2025, 10, 1)))
    for begins, whole, paid in ((at, True, 11 + 4 * 30), (at, False, 4 * 30), (at - DAY, True, 0)):
        found = cash_beyond_accrual(
            site, begins, begins + DAY, is_paid_for=lambda name: name == "chat", whole=whole
        )
        assert found == paid


async def test_cash_for_what_has_no_price_is_not_known() -> None:
    site = index(BOUGHT.replace('life = "3650d"', 'life = "3650d"\nvalid_from = 2024-08-01', 1))
    kept = KeptAmounts(site.model, 3.0 * DAY)
    await read_all(kept, await stored(BEGINS, NOON, GROUPS), BEGINS, NOON)
    found = spend.spend_of(site, budget(basis="cash"), kept, spend.LiveWindow(0.0, {}), NOON)
    assert (found.spent, found.reason) == (None, "h100: no price on 2024-06-05")


@pytest.mark.parametrize(
    ("length", "begins", "after"),
    [
        ("month", date(2024, 12, 1), date(2025, 1, 1)),
        ("quarter", date(2024, 10, 1), date(2025, 1, 1)),
        ("year", date(2024, 1, 1), date(2025, 1, 1)),
    ],
)
def test_periods(length: str, begins: date, after: date) -> None:
    assert spend.period(date(2024, 12, 31), length) == (begins, after)


# Commitments.

CONTRACT = """
[[contract]]
name = "cloud"
side = "bought"
counterparty = "Cloud"
pools = ["chat"]
units = 2
rate = 2.0
valid_from = 2024-01-01
[[commitment]]
name = "hours"
contract = "cloud"
category = "usage"
device_hours = 2000
valid_from = 2024-01-01
"""


def use(site: SiteIndex, kept: KeptAmounts) -> Use:
    [found] = spend.uses_of(site, kept, NOON)
    return found


async def test_the_use_of_a_commitment_is_projected_to_the_end_of_its_interval() -> None:
    site = index(CONTRACT)
    kept = KeptAmounts(site.model, 3.0 * DAY)
    await read_all(kept, await stored(BEGINS, NOON, GROUPS), BEGINS, NOON)
    found = use(site, kept)
    # 0.75 device-hours in each quarter hour of pool "chat", active or held.
    hours = (NOON - BEGINS) / QUARTER * 0.75
    assert float(found.used) == pytest.approx(hours)
    known = QuarterKnown(at_seconds=NOON, model=site.model, uses=(found,))
    ratio = 30 * 96 * 0.75 / 2000
    for below, does in ((ratio + 0.01, "fires"), (ratio - 0.01, "clears")):
        watch = threshold("commitment", below=below)
        observation = one(commitment.commitment_under_use(watch, known))
        assert observation.value == pytest.approx(ratio)
        assert verdict(observation) == does


async def test_a_commitment_to_spend_is_used_by_rent() -> None:
    spends = CONTRACT.replace('category = "usage"\ndevice_hours', 'category = "spend"\namount')
    site = index(spends)
    kept = KeptAmounts(site.model, 3.0 * DAY)
    await read_all(kept, await stored(BEGINS, NOON, GROUPS), BEGINS, NOON)
    assert float(use(site, kept).used) == pytest.approx((NOON - BEGINS) / QUARTER * 0.5)


@pytest.mark.parametrize(
    "more", [{"coverage": 0.5}, {"per_second": None}, {"committed": None, "reason": "no rate"}]
)
async def test_a_commitment_of_which_too_little_is_known(more: dict[str, object]) -> None:
    site = index(CONTRACT)
    kept = KeptAmounts(site.model, 3.0 * DAY)
    await read_all(kept, await stored(BEGINS, NOON, GROUPS), BEGINS, NOON)
    known = use(site, kept)._replace(**more)  # type: ignore[arg-type] # fields of a use by name
    seen = QuarterKnown(at_seconds=time.time(), model=site.model, uses=(known,))
    watch = threshold("commitment", below=0.9)
    assert verdict(one(commitment.commitment_under_use(watch, seen))) == "unknown"
