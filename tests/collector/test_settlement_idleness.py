"""Idle capacity has a whole cost and an avoidable part; pools an own and a loaded one."""

from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from meterhouse_collector.money.decimals import add
from meterhouse_collector.settlement.idleness import IdleTotal, LoadedPool, idle_total, loaded_pools
from meterhouse_collector.site.index import GroupKey
from tests.collector.bills import instant
from tests.collector.settled import SITE, site

DAY = (instant("2026-11-01"), instant("2026-11-02"))
RENTED = """
[[contract]]
name = "rented"
side = "bought"
counterparty = "Neocloud"
pools = ["spare"]
units = 2
rate = 1
valid_from = 2026-01-01
"""
LINES = (
    ("capital", "free", Decimal(100)),
    ("rent", "free", Decimal(40)),
    ("rent", "active", Decimal(12)),
    ("energy", "held_idle", Decimal(5)),
    ("energy", "unknown", Decimal(7)),
)
SUMS = {
    GroupKey("site", pool="spare"): {"installed_seconds": 400.0, "free_seconds": 300.0},
    GroupKey("site", pool="chat"): {"installed_seconds": 400.0, "held_idle_seconds": 400.0},
}


def test_energy_and_rent_with_a_notice_are_avoidable() -> None:
    fixed = idle_total(site(SITE + RENTED), DAY, LINES, SUMS)
    assert fixed == IdleTotal(
        whole_money=Decimal(145), avoidable_money=Decimal(5), sunk_money=Decimal(140)
    )
    # Two units at 1 an hour are 48 a day, and three quarters of their pool stood free.
    with_notice = idle_total(site(f'{SITE}{RENTED}notice = "30d"\n'), DAY, LINES, SUMS)
    assert with_notice.avoidable_money == Decimal("41.00")
    assert with_notice.whole_money == 145


def test_no_more_rent_is_avoidable_than_idle_capacity_was_charged() -> None:
    index = site(f'{SITE}{RENTED}notice = "30d"\n')
    lines = (("rent", "free", Decimal(10)),)
    assert idle_total(index, DAY, lines, SUMS).avoidable_money == 10
    assert idle_total(index, DAY, (), {}).whole_money == 0


def test_spare_pools_are_spread_by_installed_time() -> None:
    money = {"chat": Decimal(100), "code": Decimal(50), "spare": Decimal(40), "none": Decimal(3)}
    seconds = {"chat": 3600.0, "code": 1200.0, "spare": 600.0, "none": 0.0}
    assert loaded_pools(money, seconds, frozenset({"spare"}), "EUR") == (
        LoadedPool(pool="chat", own_money=Decimal(100), loaded_money=Decimal("130.00")),
        LoadedPool(pool="code", own_money=Decimal(50), loaded_money=Decimal("60.00")),
    )
    # Without a spare pool, or without any other, there is nothing to load.
    assert loaded_pools(money, seconds, frozenset(), "EUR") == ()
    assert loaded_pools({"spare": Decimal(1)}, seconds, frozenset({"spare"}), "EUR") == ()


@given(
    st.lists(st.tuples(st.integers(0, 10**9), st.integers(1, 10**9)), min_size=1, max_size=5),
    st.integers(0, 10**9),
)
def test_loaded_pools_cost_what_all_cost(own: list[tuple[int, int]], spare: int) -> None:
    money = {f"p{n}": Decimal(cents).scaleb(-2) for n, (cents, _) in enumerate(own)}
    seconds = {f"p{n}": float(each) for n, (_, each) in enumerate(own)}
    money["spare"], seconds["spare"] = Decimal(spare).scaleb(-2), 1.0
    loaded = loaded_pools(money, seconds, frozenset({"spare"}), "EUR")
    assert add(each.loaded_money for each in loaded) == add(money.values())
