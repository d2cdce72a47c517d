"""The site model: what it accepts, every fault it names, and the look-ups compiled from it."""

import re
import tomllib
from pathlib import Path

import pytest

from meterhouse_agent import wire
from meterhouse_collector.settings import Section
from meterhouse_collector.site.devices import UNREGISTERED, Part
from meterhouse_collector.site.index import GroupKey, SiteIndex
from meterhouse_collector.site.load import SiteModelError, load_site, parse_site, sample
from meterhouse_collector.site.model import Asset, Engine, Hardware, Meter, Pool, Tariff

HEAD = 'name = "site"\ncurrency = "EUR"\ntime_zone = "Europe/Berlin"\n'
POOLS = """
[[pool]]
name = "chat"
cluster = "c1"
tenant = "acme"
[[pool]]
name = "spare"
cluster = "c1"
[[hardware]]
accelerator_model = "M"
vendor = "nvidia"
price_per_device = 35000
life = "1825d"
"""
ASSET = """
[[asset]]
node = "n1"
pool = "chat"
accelerator_model = "M"
devices = ["d0", "d1", "d2"]
in_service = 2026-01-01
"""
COUNTED = """
[[asset]]
nodes = ["n2", "n3"]
pool = "spare"
accelerator_model = "M"
devices = 2
in_service = 2026-01-01
retired = 2027-01-01
"""
ENGINE = """
[[engine]]
name = "e1"
served_model = "llama"
devices = ["n1/d0"]
"""
BASE = HEAD + POOLS + ASSET + COUNTED + ENGINE
IN_2026 = 1_780_000_000
IN_2025 = 1_760_000_000


def inventory(*devices: str, model: str = "M") -> wire.Inventory:
    return wire.Inventory(
        devices=[
            wire.Device(device=device, vendor="nvidia", accelerator_model=model)
            for device in devices
        ]
    )


def index(text: str = BASE) -> SiteIndex:
    return SiteIndex(parse_site(text, "site.toml"))


def faults(text: str) -> list[str]:
    with pytest.raises(SiteModelError) as caught:
        parse_site(text, "site.toml")
    return caught.value.faults


TABLES: dict[str, type[Section]] = {
    "pool": Pool,
    "hardware": Hardware,
    "asset": Asset,
    "engine": Engine,
    "meter": Meter,
    "tariff": Tariff,
}


def test_sample_is_valid_as_shown_and_with_every_commented_line_taken() -> None:
    shown = parse_site(sample(), "sample")
    text = re.sub(r"^# ", "", sample(), flags=re.MULTILINE)
    taken, tables = parse_site(text, "sample"), tomllib.loads(text)
    for name, section in TABLES.items():
        assert len(getattr(taken, name)) == len(tables[name]) > 0
        assert len(getattr(shown, name)) > 0
        keys = {key for table in tables[name] for key in table}
        assert keys == section.model_fields.keys()


def test_commented_line_of_the_sample_is_the_default() -> None:
    shown = parse_site(sample(), "sample")
    taken = parse_site(re.sub(r"^# ", "", sample(), flags=re.MULTILINE), "sample")
    for name, section in TABLES.items():
        one, other = getattr(shown, name)[0], getattr(taken, name)[0]
        for key, field in section.model_fields.items():
            default = None if field.is_required() else field.get_default(call_default_factory=True)
            if default not in (None, (), {}):
                assert getattr(one, key) == getattr(other, key) == default


def test_load_names_file_key_found_and_allowed(tmp_path: Path) -> None:
    path = tmp_path / "site.toml"
    path.write_text(HEAD + 'colour = "red"\n')
    with pytest.raises(SiteModelError) as caught:
        load_site(path)
    assert caught.value.faults == [
        f"{path}: colour: found 'red', allowed: Extra inputs are not permitted"
    ]
    with pytest.raises(SiteModelError, match="No such file"):
        load_site(tmp_path / "absent.toml")


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("name = [", "Invalid value"),
        (HEAD.replace("EUR", "euro"), "currency: found 'euro'"),
        (HEAD.replace("Berlin", "Nowhere"), "time_zone: found 'Europe/Nowhere'"),
        (BASE + POOLS.split("[[hardware]]", maxsplit=1)[0], "pool.2.name: found 'chat' again"),
        (HEAD + '[[pool]]\nname = "unregistered"\ncluster = "c"\n', "pool.0.name: found 'unreg"),
        (BASE + ASSET.replace("chat", "x"), "asset.2.pool: found 'x', allowed: chat, spare"),
        (BASE + ASSET.replace("chat", "spare"), "asset.2.devices: found 'n1/d0' in pool spare"),
        (BASE + ENGINE.replace("e1", "e2"), "engine.1.devices: found 'n1/d0', allowed: not in"),
        (BASE + ENGINE.replace("e1", "e2").replace("d0", "*"), "not in engine e1 too"),
        (BASE + ENGINE, "engine.1.name: found 'e1' again"),
        (BASE + ENGINE.replace("e1", "e2").replace("n1", "n9"), "found 'n9/d0', allowed: a node"),
        (BASE + ENGINE.replace("e1", "e2").replace("d0", "d7"), "found 'n1/d7', allowed: * or"),
        (
            BASE + ENGINE.replace("e1", "e2").replace('"n1/d0"', '"n2/a", "n2/b", "n2/c"'),
            "found 3 devices of node 'n2' beyond the named, allowed: 2",
        ),
        (HEAD + ENGINE.replace("n1/d0", "d0"), 'devices as "node/device"'),
        (HEAD + ENGINE.replace("served_model", "# "), "either served_model or served_models"),
        (BASE.replace('"1825d"', '"5 years"'), "hardware.0.life: found '5 years'"),
        (BASE.replace('"1825d"', '"0d"'), "hardware.0.life: found '0d'"),
        (BASE + ASSET.replace("2026-01-01", "2026-01-01\nretired = 2025-01-01"), "a retired date"),
        (HEAD + '[[meter]]\nname = "m"\nrole = "it"\n', "a category of 1, 2 or 3"),
        (HEAD + '[[meter]]\nname = "m"\nrole = "it"\ncategory = 1\nsign = -1\n', "a sign with"),
        (HEAD + '[[meter]]\nname = "m"\nrole = "boundary"\nsign = 2\n', "meter.0.sign: found 2"),
    ],
)
def test_fault_is_named(text: str, fault: str) -> None:
    found = faults(text)
    assert any(fault in line for line in found), found
    assert all("\n" not in line and line.startswith("site.toml: ") for line in found)


def tariffs(*dates: tuple[str, str | None]) -> str:
    text = HEAD
    for begins, ends in dates:
        text += f"[[tariff]]\nper_kwh = 0.18\nvalid_from = {begins}\n"
        text += f"valid_to = {ends}\n" if ends is not None else ""
    return text


def test_tariffs_may_neither_overlap_nor_leave_a_gap() -> None:
    parse_site(tariffs(("2026-01-01", None), ("2026-06-01", "2027-01-01")), "site.toml")
    parse_site(tariffs(("2026-06-01", None), ("2026-01-01", "2026-06-01")), "site.toml")
    assert "a gap" in faults(tariffs(("2026-01-01", "2026-05-01"), ("2026-06-01", None)))[0]
    assert "an overlap" in faults(tariffs(("2026-01-01", "2026-07-01"), ("2026-06-01", None)))[0]
    assert "each date once" in faults(tariffs(("2026-01-01", None), ("2026-01-01", None)))[0]
    assert "allowed: after" in faults(tariffs(("2026-01-01", "2025-01-01")))[0]


def test_tariff_follows_its_dates_in_the_time_zone_of_the_site() -> None:
    known = index(tariffs(("2026-01-01", "2026-06-01")))
    midnight = 1_767_222_000  # 2026-01-01 in Berlin is 2025-12-31T23:00Z
    assert known.price_per_joule(midnight - 1) is None
    assert known.price_per_joule(midnight) == pytest.approx(0.18 / 3.6e6)
    assert known.price_per_joule(1_790_000_000) is None


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
