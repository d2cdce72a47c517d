"""What is watched without any table of the site file, in a running site."""

from meterhouse_agent import wire
from meterhouse_collector.alerts.known import Own
from meterhouse_collector.ledger import Entry, entry_of, installed
from tests.collector.collecting import INVENTORY, LENGTH, MemoryStore, index, report
from tests.collector.test_alert_engine import START, Site


def firing(site: Site) -> set[tuple[str, str]]:
    """Return kind and last label of each alert that fires."""
    return {
        (entry.rule.kind, key.labels[0][1])
        for key, entry in site.alerts.book.open.items()
        if entry.state.phase == "firing"
    }


def hot(site: Site, celsius: float) -> Entry:
    start = int(site.now) // LENGTH * LENGTH
    accelerators = wire.Accelerators(
        state_milliseconds={"active": [5000, 5000]}, temperature_celsius=[celsius, 40.0]
    )
    made = report("node-1", start, accelerators=accelerators)
    return entry_of(made, installed("site-a", "node-1", INVENTORY), site.site, detail=True)


async def test_a_pue_and_a_meter_that_are_missing_fire_after_a_quarter_hour() -> None:
    site = Site(MemoryStore(), START, index())
    await site.begin()
    await site.run(600, "active")
    assert not {"pue_without_value", "meter_stale"} & {kind for kind, _ in firing(site)}
    await site.run(600, "active")
    assert {("pue_without_value", "site-a"), ("meter_stale", "utility")} <= firing(site)


async def test_silent_nodes_fire_one_by_one_and_end_when_they_speak() -> None:
    site = Site(MemoryStore(), START, index())
    await site.begin()
    await site.run(120, "active")
    await site.run(240, None)
    assert {("node_silent", "node-1"), ("node_silent", "node-2")} <= firing(site)
    await site.run(60, "active")
    assert "node_silent" not in {kind for kind, _ in firing(site)}


async def test_unhealthy_devices_fire_and_stand_while_the_node_is_silent() -> None:
    site = Site(MemoryStore(), START, index())
    await site.begin()
    await site.run(400, "unhealthy")
    assert ("accelerator_lost", "node-1") in firing(site)
    await site.run(60, None)
    assert ("accelerator_lost", "node-1") in firing(site)
    await site.run(60, "active")
    assert "accelerator_lost" not in {kind for kind, _ in firing(site)}


async def test_a_hot_device_fires_and_ends_below_its_clear_level() -> None:
    site = Site(MemoryStore(), START, index())
    await site.begin()

    async def minutes(count: int, celsius: float) -> bool:
        for _ in range(count):
            site.alerts.add(hot(site, celsius))
            await site.run(60, "active")
        return ("accelerator_hot", "node-1") in firing(site)

    assert not await minutes(3, 90.0)
    assert await minutes(4, 90.0)
    # Between the limit and the level where it clears.
    assert await minutes(2, 83.0)
    assert not await minutes(2, 70.0)


async def test_a_store_that_is_down_fires() -> None:
    site = Site(MemoryStore(), START, index())
    fares = Own(store_up=False, quarters_behind=9.0)
    site.alerts._own = lambda: fares
    await site.begin()
    await site.run(1000, "active")
    assert {("store_down", "site-a"), ("collector_behind", "site-a")} <= firing(site)
