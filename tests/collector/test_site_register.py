"""The register compiled: plans, groupings and holdings, and the faults of pools and engines."""

from decimal import Decimal

import pytest

from meterhouse_collector.money.capital import annuity_year_money
from meterhouse_collector.site.devices import UNREGISTERED, Part
from meterhouse_collector.site.index import GroupKey
from tests.collector.sites import (
    ASSET,
    BASE,
    COUNTED,
    ENGINE,
    HEAD,
    IN_2025,
    IN_2026,
    POOLS,
    faults,
    index,
    inventory,
)

YEAR = 365 * 86_400


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        (BASE + ASSET.replace("chat", "spare"), "asset.2.devices: found 'n1/d0' in pool spare"),
        (BASE + ENGINE.replace("e1", "e2"), "engine.1.devices: found 'n1/d0', allowed: not in"),
        (BASE + ENGINE.replace("e1", "e2").replace("d0", "*"), "not in engine e1 too"),
        (BASE + ENGINE.replace("e1", "e2").replace("n1", "n9"), "found 'n9/d0', allowed: a node"),
        (BASE + ENGINE.replace("e1", "e2").replace("d0", "d7"), "found 'n1/d7', allowed: * or"),
        (
            BASE + ENGINE.replace("e1", "e2").replace('"n1/d0"', '"n2/a", "n2/b", "n2/c"'),
            "found 3 devices of node 'n2' beyond the named, allowed: 2",
        ),
        (
            BASE.replace('tenant = "acme"', "valid_from = 2026-02-01"),
            "asset.0.pool: found 'chat', allowed: a pool for all of its service, and this one",
        ),
        (
            BASE.replace('tenant = "acme"', "valid_to = 2027-01-01"),
            "and this one is there from ever until 2027-01-01",
        ),
    ],
)
def test_fault_is_named(text: str, fault: str) -> None:
    found = faults(text)
    assert any(fault in line for line in found), found


def test_a_device_may_move_to_another_pool_when_it_has_left_the_first() -> None:
    moved = ASSET.replace("2026-01-01", "2026-01-01\nretired = 2026-03-01")
    again = ASSET.replace("2026-01-01", "2026-03-01").replace("chat", "spare")
    known = index(HEAD + POOLS + moved + again)
    before, after = known.plan("n1", 1_770_000_000), known.plan("n1", IN_2026)
    assert before is not None
    assert after is not None
    assert {slot.pool for slot in before.slots} == {"chat"}
    assert {slot.pool for slot in after.slots} == {"spare"}


def test_plans_are_those_of_every_node_that_has_one_at_that_instant() -> None:
    moved = ASSET.replace("2026-01-01", "2026-01-01\nretired = 2026-03-01")
    other = ASSET.replace('"n1"', '"n2"').replace("2026-01-01", "2026-02-01").replace("d0", "d9")
    known = index(HEAD + POOLS + moved + other)
    assert set(known.nodes) == {"n1", "n2"}
    midnights = [1_767_222_000 + days * 86_400 for days in (0, 31, 59, 1825, 1856)]
    instants = [at + offset for at in midnights for offset in (-1, 0, 0.5)]
    seen = set()
    for instant in (*instants, *reversed(instants)):
        expected = {node: known.plan(node, instant) for node in known.nodes}
        plans = known.plans(instant)
        assert plans == {node: plan for node, plan in expected.items() if plan is not None}
        seen.add(tuple(plans))
    assert seen == {(), ("n1",), ("n1", "n2"), ("n2",)}


def test_grouping_splits_by_engine_and_tenant_in_inventory_order() -> None:
    grouping = index().grouping("n1", inventory("d2", "d0", "d1"), IN_2026)
    assert set(grouping.parts) == {
        Part("M", "engine:e1", (1,), 0),
        Part("M", "tenant:acme", (0, 2), 0),
    }


def test_registered_device_that_the_inventory_lacks_is_missing() -> None:
    grouping = index().grouping("n1", inventory("d1"), IN_2026)
    assert set(grouping.parts) == {
        Part("M", "engine:e1", (), 1),
        Part("M", "tenant:acme", (0,), 1),
    }


def test_device_that_the_register_lacks_is_unregistered() -> None:
    grouping = index().grouping("n2", inventory("a", "b", "c"), IN_2026)
    assert grouping.parts == (Part("M", "none", (0, 1), 0), Part("M", UNREGISTERED, (2,), 0))
    foreign = index().grouping("n9", inventory("a", model="X"), IN_2026)
    assert foreign.parts == (Part("X", UNREGISTERED, (0,), 0),)
    early = index().grouping("n2", inventory("a"), IN_2025)
    assert early.parts == (Part("M", UNREGISTERED, (0,), 0),)


def test_counted_device_is_matched_though_the_driver_spells_its_model_otherwise() -> None:
    grouping = index().grouping("n2", inventory("a", "b", model="NVIDIA M 80GB"), IN_2026)
    assert grouping.parts == (Part("M", "none", (0, 1), 0),)


def test_engine_may_name_a_device_of_a_counted_asset() -> None:
    text = BASE + ENGINE.replace("e1", "e2").replace("n1/d0", "n2/b")
    grouping = index(text).grouping("n2", inventory("a", "b"), IN_2026)
    assert set(grouping.parts) == {
        Part("M", "engine:e2", (1,), 0),
        Part("M", "none", (0,), 0),
    }


def test_grouping_is_kept_for_the_same_inventory_until_the_register_changes() -> None:
    known, same = index(), inventory("a", "b")
    first = known.grouping("n2", same, IN_2026)
    assert known.grouping("n2", same, IN_2026 + 5) is first
    assert known.grouping("n2", same, IN_2025).parts[0].holder == UNREGISTERED


def test_holding_says_where_it_belongs_and_what_it_costs() -> None:
    plan = index().plan("n1", IN_2026)
    assert plan is not None
    holding = plan.holdings[("M", "engine:e1")]
    assert holding.placements[0].group == GroupKey(
        "site", "c1", "chat", "acme", "nvidia", "M", "llama"
    )
    assert holding.capital_per_second == pytest.approx(35000 / (1825 * 86400))
    assert index().plan("n2", IN_2025) is None
    old = index().plan("n1", IN_2026 + 1825 * 86400)
    assert old is not None
    assert old.holdings[("M", "tenant:acme")].capital_per_second == 0.0


def test_model_without_hardware_is_allowed_and_has_no_capital_cost() -> None:
    plan = index(BASE.replace('accelerator_model = "M"\nvendor', 'accelerator_model = "X"\nvendor'))
    holding = plan.plan("n1", IN_2026)
    assert holding is not None
    assert holding.holdings[("M", "tenant:acme")].capital_per_second is None


def test_an_agent_may_speak_for_itself_and_for_what_the_model_gives_it() -> None:
    meter = '[[meter]]\nname = "m1"\nrole = "boundary"\nreaders = ["fac"]\n'
    known = index(BASE + meter)
    assert known.may_read("node", "n1", "n1")
    assert not known.may_read("node", "n1", "n2")
    assert known.may_read("meter", "m1", "fac")
    assert not known.may_read("meter", "m1", "n1")
    assert known.may_read("meter", "m2", "n1")
    assert known.may_read("engine", "e1", "n1")
    assert not known.may_read("engine", "e1", "n2")


def test_slots_of_a_holding_say_which_entry_of_the_register_they_are() -> None:
    two = ASSET.replace('["d0", "d1", "d2"]', '["e0"]').replace("2026-01-01", "2026-02-01")
    known = index(BASE + two)
    plan = known.plan("n1", IN_2026)
    assert plan is not None
    holding = plan.holdings["M", "tenant:acme"]
    assert [(slot.device, slot.asset) for slot in holding.slots] == [
        ("d1", known.model.asset[0]),
        ("d2", known.model.asset[0]),
        ("e0", known.model.asset[2]),
    ]
    assert {slot for h in plan.holdings.values() for slot in h.slots} == set(plan.slots)
    assert holding.devices == len(holding.slots)


def test_pool_may_pass_to_another_tenant_while_its_devices_stay() -> None:
    again = '[[pool]]\nname = "chat"\ncluster = "c2"\ntenant = "beta"\nvalid_from = 2026-03-01\n'
    known = index(BASE + again)
    change = known.model.instant(known.model.pool[2].valid_from or known.model.asset[0].in_service)
    assert change in known.register_changes
    before, after = known.plan("n1", change - 1), known.plan("n1", change)
    assert before is not None
    assert after is not None
    groups = [plan.holdings["M", "engine:e1"].placements[0].group for plan in (before, after)]
    assert [(group.cluster, group.tenant) for group in groups] == [("c1", "acme"), ("c2", "beta")]
    assert ("M", "tenant:beta") in after.holdings


def test_engine_may_change_its_devices_and_hand_them_to_another() -> None:
    first = ENGINE.replace('"llama"', '"llama"\nvalid_to = 2026-03-01')
    later = ENGINE.replace('"llama"', '"qwen"\nvalid_from = 2026-03-01').replace("d0", "d1")
    other = ENGINE.replace("e1", "e2").replace('"llama"', '"mix"\nvalid_from = 2026-03-01')
    known = index(HEAD + POOLS + ASSET + COUNTED + first + later + other)
    change = known.dated.engine.instants[0]
    before, after = known.plan("n1", change - 1), known.plan("n1", change)
    assert before is not None
    assert after is not None
    assert {s.device: s.holder for s in before.slots}["d0"] == "engine:e1"
    held = {slot.device: slot.holder for slot in after.slots}
    assert (held["d0"], held["d1"]) == ("engine:e2", "engine:e1")
    assert after.holdings["M", "engine:e1"].placements[0].group.served_model == "qwen"
    assert known.may_read("engine", "e1", "n1")


def hardware(price: int, more: str) -> str:
    return (
        '[[hardware]]\naccelerator_model = "N"\nvendor = "nvidia"\n'
        f'price_per_device = {price}\nlife = "1825d"\n{more}\n'
    )


def assets(*purchased: str) -> str:
    pool = '[[pool]]\nname = "chat"\ncluster = "c1"\n'
    return pool + "".join(
        f'[[asset]]\nnode = "n{n}"\npool = "chat"\naccelerator_model = "N"\ndevices = 1\n'
        f"in_service = 2026-01-01\npurchased = {day}\n"
        for n, day in enumerate(purchased)
    )


def rate(text: str, node: str = "n0", at_seconds: float = IN_2026) -> float | None:
    plan = index(HEAD + text).plan(node, at_seconds)
    assert plan is not None
    return plan.holdings["N", "none"].capital_per_second


def test_price_is_that_of_the_day_of_purchase_for_as_long_as_the_device_lives() -> None:
    prices = hardware(30_000, "valid_from = 2025-01-01") + hardware(
        20_000, "valid_from = 2025-07-01"
    )
    text = prices + assets("2025-06-30", "2025-07-01", "2024-12-31")
    assert rate(text, "n0") == pytest.approx(30_000 / (5 * YEAR))
    assert rate(text, "n1") == pytest.approx(20_000 / (5 * YEAR))
    assert rate(text, "n2") is None
    known = index(HEAD + text)
    bought = [known.hardware_of(asset) for asset in known.model.asset]
    assert [h and h.price_per_device for h in bought] == [30_000, 20_000, None]


def test_price_in_another_currency_is_converted_at_the_rate_of_the_day_of_purchase() -> None:
    rates = "".join(
        f'[[exchange_rate]]\nfrom_currency = "USD"\nto_currency = "EUR"\nrate = {rate}\n'
        f'valid_from = {day}\nsource = "ECB"\n'
        for rate, day in (("0.9", "2025-01-01"), ("0.8", "2025-07-01"))
    )
    text = hardware(30_000, 'currency = "USD"') + rates + assets("2025-06-30", "2025-07-01")
    assert rate(text, "n0") == pytest.approx(27_000 / (5 * YEAR))
    assert rate(text, "n1") == pytest.approx(24_000 / (5 * YEAR))


def test_annuity_carries_interest_to_the_end_of_life_and_no_further() -> None:
    more = 'depreciation = "annuity"\ncost_of_capital = 0.1\nsalvage_per_device = 1000'
    text = hardware(30_000, more) + assets("2026-01-01")
    yearly = annuity_year_money(
        price_money=Decimal(30_000),
        salvage_money=Decimal(1000),
        interest_ratio=Decimal("0.1"),
        life_years=Decimal(5),
    )
    assert rate(text) == pytest.approx(float(yearly) / YEAR)
    assert rate(text, at_seconds=IN_2026 + 5 * YEAR) == 0.0


def test_rented_device_has_no_capital_cost_and_needs_no_hardware() -> None:
    contract = (
        '[[contract]]\nname = "rent"\nside = "bought"\ncounterparty = "x"\npools = ["chat"]\n'
        "units = 1\nrate = 2\nvalid_from = 2026-01-01\n"
    )
    text = assets("2026-01-01").replace("purchased", 'contract = "rent"\npurchased')
    assert rate(text + contract) == 0.0
