"""What is owed is split over groups, kinds and states, and no cent of it is lost or made."""

from collections.abc import Sequence
from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from meterhouse_agent import wire
from meterhouse_collector.money.decimals import add
from meterhouse_collector.money.kinds import SECONDS_KINDS
from meterhouse_collector.rollup.points import group_of, sums_of
from meterhouse_collector.rollup.pricing import zero_sums
from meterhouse_collector.rows import Point
from meterhouse_collector.settlement.accrual import accruals
from meterhouse_collector.settlement.allocation import Rows, Settled, joined, settled
from meterhouse_collector.settlement.dues import Due
from meterhouse_collector.site.index import GroupKey
from tests.collector.bills import instant
from tests.collector.settled import SITE, kept, site

INDEX = site()
BEGINS = instant("2026-10-24T22:00")
GROUPS = [
    INDEX.site_group,
    GroupKey("site", "c1", "chat", "acme", "nvidia", "H100", "llama"),
    GroupKey("site", "c1", "chat", "acme", "nvidia", "H100"),
    GroupKey("site", "c1", "spare", "none", "nvidia", "H100"),
]
CLOSE = Decimal("1e-15")

amounts = st.one_of(st.just(0.0), st.floats(1e-9, 1e9))
fields = [f"{s}_{k}_money" for s in wire.STATES for k in SECONDS_KINDS] + [
    f"{state}_drawn_joules" for state in wire.STATES
]
sums = st.dictionaries(st.sampled_from(fields), amounts).map(lambda some: {**zero_sums(), **some})
quarter = st.one_of(st.none(), st.dictionaries(st.sampled_from(GROUPS), sums, max_size=4))
money = st.decimals(-1000, 1000, places=6)


def window(quarters: Sequence[object]) -> tuple[int, int]:
    return BEGINS, BEGINS + len(quarters) * 900


def owed(found: Settled, kind: str | None = None) -> Decimal:
    return add(m for key, m in found.money.items() if kind in (None, key[1]))


@given(st.lists(st.tuples(quarter, money, money), min_size=1, max_size=30))
def test_all_that_is_owed_is_somebodys(
    found: list[tuple[dict[GroupKey, dict[str, float]] | None, Decimal, Decimal]],
) -> None:
    # The window goes over a midnight, from a day with 24 hours to one with 25.
    span = window(found)
    starts = range(*span, 900)
    rows = {start: row[0] for start, row in zip(starts, found, strict=True) if row[0] is not None}
    dues = [
        Due(start, energy, demand=demand)
        for start, (_, energy, demand) in zip(starts, found, strict=True)
    ]
    split = settled(INDEX, span, rows, dues)
    entries = accruals(INDEX, *span)
    for kind in SECONDS_KINDS:
        due = add(e.amount or Decimal(0) for e in entries if e.kind == kind)
        assert abs(owed(split, kind) - due) < CLOSE
    assert owed(split, "energy") == add(row[1] for row in found)
    assert owed(split, "demand") == add(row[2] for row in found)
    assert split.missing_quarters == len(found) - len(rows)
    assert split.reasons == ()


def rollups(starts: Sequence[int]) -> Rows:
    """Return real rollups of quarters, as they are read back."""
    rows: dict[int, dict[GroupKey, dict[str, float]]] = {}
    for point in kept(INDEX, starts):
        if isinstance(point, Point) and point.measurement == "rollup":
            rows.setdefault(point.start_seconds, {})[group_of(point.tags)] = sums_of(point)
    return rows


def test_time_and_joules_go_where_they_were_measured() -> None:
    starts = range(BEGINS, BEGINS + 3600, 900)
    dues = [Due(start, Decimal(10)) for start in starts]
    found = settled(INDEX, (BEGINS, BEGINS + 3600), rollups(starts), dues)
    by_state = {
        state: add(m for (_, kind, s), m in found.money.items() if (kind, s) == ("energy", state))
        for state in wire.STATES
    }
    # Node n1 drew 1 MJ, of which its device said 450 kJ active and 90 kJ held idle, and n2 150 kJ.
    # The rest of n1 goes by the devices' seconds: 3 parts active to 1 held idle, 4 are unknown.
    assert sum(by_state.values()) == 40
    assert by_state["active"] > by_state["held_idle"] > 0
    assert abs(by_state["free"] - 40 * Decimal(150) / 1150) < Decimal("1e-9")
    capital = {key[2]: m for key, m in found.money.items() if key[1] == "capital"}
    device = Decimal(35000) / 1825 / 24
    assert abs(add(capital.values()) - 3 * device) < CLOSE
    assert abs(capital["active"] - device * 3 / 4) < Decimal("1e-9")
    assert found.notes == ()


def test_quarters_without_a_rollup_are_the_sites_and_unknown() -> None:
    starts = range(BEGINS, BEGINS + 3600, 900)
    dues = [Due(start, Decimal(10), demand=Decimal(1)) for start in starts]
    found = settled(INDEX, (BEGINS, BEGINS + 3600), rollups(starts[:1]), dues)
    site_group = INDEX.site_group
    assert found.money[site_group, "energy", "unknown"] == 30
    assert found.money[site_group, "demand", "unknown"] == 3
    device = Decimal(35000) / 1825 / 24
    assert abs(found.money[site_group, "capital", "unknown"] - 3 * device * 3 / 4) < CLOSE
    assert found.missing_quarters == 3


def test_what_has_no_price_has_a_reason_and_no_zero() -> None:
    no_price = site(SITE.replace('"H100"\nvendor', '"A100"\nvendor'))
    span = (BEGINS, BEGINS + 900)
    dues = [Due(BEGINS, None, reason="usage: not measured", missing=("city: not measured",))]
    found = settled(no_price, span, rollups(range(*span, 900)), dues)
    assert found.reasons == (
        "H100: no [[hardware]] price on 2025-01-01",
        "usage: not measured",
        "city: not measured",
    )
    assert {key[1] for key in found.money} == {"operations"}


def test_rollups_of_another_price_are_named() -> None:
    dearer = site(SITE.replace("35000", "36000"))
    span = (BEGINS, BEGINS + 900)
    found = settled(dearer, span, rollups(range(*span, 900)), [Due(BEGINS, Decimal(1))])
    assert found.notes == ("rollups were priced by another site model than today's: run rerate",)


@given(st.lists(money, min_size=1, max_size=5))
def test_days_are_joined_without_a_loss(amounts: list[Decimal]) -> None:
    key = GROUPS[1], "energy", "active"
    parts = [Settled({key: amount}, ("x",), ("y",), 2) for amount in amounts]
    whole = joined(parts)
    assert whole.money.get(key, Decimal(0)) == add(amounts)
    assert whole[1:] == (("x",), ("y",), 2 * len(amounts))
