"""What a site takes of its local grid: a point of each quarter, for boards."""

from meterhouse_collector.quarters.region import region_points
from meterhouse_collector.quarters.settle import settle_quarters
from meterhouse_collector.rows import MeterRow, PackedRow, pack
from meterhouse_collector.store import Store
from tests.collector.collecting import index
from tests.collector.settling import FIRST

SOURCE = '[[energy_source]]\nname = "grid"\nkind = "grid"\n'
CAPACITY = """
[[regional_capacity]]
region = "north, \u00fcber"
available_watts = 4.0e7
source = "Grid operator, capacity map"
valid_from = 2020-01-01
"""
SUMS = {"grid_joint_joules": 9.0e8, "sources_joint_seconds": 900.0}


def told(joules: float) -> PackedRow:
    row = MeterRow(900_000, 900_000, energy_joules=joules)
    return PackedRow("ledger", "meter", "site-a", "utility", "node-1", FIRST, pack(row))


async def test_a_settled_quarter_has_what_was_taken_and_what_could_be_given(store: Store) -> None:
    assert await store.write([told(9.0e8)]) == []
    await settle_quarters(store, index(SOURCE, CAPACITY), [FIRST])
    [found] = await store.points("event", "region", start_seconds=0, end_seconds=2**33)
    assert (dict(found.tags)["site"], found.start_seconds) == ("site-a", FIRST)
    assert found.fields == {
        "grid_joules": 9.0e8,
        "available_joules": 3.6e10,
        "known_seconds": 900.0,
        "source": "Grid operator, capacity map",
    }


def test_without_all_sources_or_without_a_capacity_in_force_there_is_nothing_to_say() -> None:
    over = index(f"{CAPACITY}valid_to = 2020-02-01\n")
    assert [*region_points(over, FIRST, SUMS)] == []
    assert [*region_points(index(), FIRST, SUMS)] == []
    unknown = SUMS | {"sources_joint_seconds": 0.0}
    assert [*region_points(index(CAPACITY), FIRST, unknown)] == []


def test_the_name_of_a_region_is_one_that_a_store_can_hold() -> None:
    [found] = region_points(index(CAPACITY.replace("north", "north\\nby")), FIRST, SUMS)
    assert "\n" not in dict(found.tags)["region"]
