"""The peak of each limit over a year: from what was seen, and over a restart."""

from collections.abc import Iterable
from dataclasses import replace

from meterhouse_agent import wire
from meterhouse_collector.alerts.known import DemandKnown, LiveKnown, LoadKnown
from meterhouse_collector.alerts.peaks import Peaks
from meterhouse_collector.ledger import Entry, entry_of, installed
from meterhouse_collector.rows import Point
from tests.collector.alerting import known
from tests.collector.collecting import INVENTORY, MemoryStore, index, report
from tests.collector.test_alert_engine import Site

# 2020-01-01, and a month later.
JANUARY, FEBRUARY = 1_577_836_800, 1_580_515_200
FEED = '[[grid_connection]]\nname = "feed"\ncontracted_watts = 1e6\nmarginal_pue = 1.25\n'


def seen(at: float, watts: float | None, demand: Iterable[DemandKnown] = ()) -> LiveKnown:
    found = known({}, loads=[LoadKnown("feed", 1e6, watts, 1.25)], demand=demand)
    return replace(found, at_seconds=at)


def running(watts: float, elapsed: float, known_seconds: float | None = None) -> DemandKnown:
    return DemandKnown("feed", 1e6, watts, known_seconds or elapsed, elapsed)


async def test_the_most_of_a_year_outlives_a_restart_and_no_more_than_the_year() -> None:
    store = MemoryStore()
    first = Peaks(index())
    for at, watts in ((JANUARY + 9, 5e5), (JANUARY + 99, 8e5), (FEBRUARY + 9, 3e5)):
        first.see(seen(at, watts))
    first.see(seen(FEBRUARY + 19, None))
    assert await first.year(store, FEBRUARY + 20) == {"feed": 8e5}
    points = [*first.points(FEBRUARY + 20)]
    assert {(p.start_seconds, p.fields["load_watts"]) for p in points} == {
        (JANUARY, 8e5),
        (FEBRUARY, 3e5),
    }
    assert await store.write(points) == []
    other = Point("event", "peak", (("limit", "feed"), ("site", "other")), {"load_watts": 9e9}, 0)
    assert await store.write([replace_start(other, FEBRUARY)]) == []
    second = Peaks(index())
    second.see(seen(FEBRUARY + 99, 4e5))
    assert await second.year(store, FEBRUARY + 100) == {"feed": 8e5}
    assert [p.fields for p in second.points(FEBRUARY + 100) if p.start_seconds == FEBRUARY] == [
        {"load_watts": 4e5}
    ]
    year = 366 * 86_400
    assert await second.year(store, JANUARY + year + 1) == {"feed": 4e5}


def replace_start(point: Point, start: int) -> Point:
    return Point(point.policy, point.measurement, point.tags, point.fields, start)


async def test_what_a_demand_interval_is_projected_to_is_no_peak_until_it_ends() -> None:
    peaks = Peaks(index(FEED))
    peaks.see(seen(JANUARY + 60, 9e5, [running(9e5, 60.0)]))
    assert await peaks.year(MemoryStore(), JANUARY + 60) == {}
    # After a restart at its end what is known of it is what was drawn last.
    peaks.see(seen(JANUARY + 900, 9e5, [running(9e5, 900.0, known_seconds=25.0)]))
    assert await peaks.year(MemoryStore(), JANUARY + 900) == {}
    peaks.see(seen(JANUARY + 900, 6e5, [running(6e5, 900.0)]))
    assert await peaks.year(MemoryStore(), JANUARY + 900) == {"feed": 6e5}


COOLED = """
[[cooling]]
name = "chillers"
kind = "chiller"
unit_heat_watts = 2500.0
[[pipeline]]
name = "racks"
kind = "devices"
accelerator_model = "h100"
quantity = 1
peak_watts = 1000.0
promised = [{ said = 2023-01-01, due = 2023-12-08 }]
"""
START = 1_700_000_100 // 900 * 900


class Drawing(Site):
    """A site whose accelerators draw so much each."""

    watts = 0.0

    def entry(self, node: str, start: int, state: wire.State) -> Entry:
        assert state == "active"
        made = report(node, start, watts=self.watts)
        return entry_of(made, installed("site-a", node, INVENTORY), self.site, detail=False)


async def test_planned_load_is_added_to_the_peak_and_not_to_what_is_drawn_now() -> None:
    store, site = MemoryStore(), index(COOLED)
    for watts in (500.0, 100.0):
        run = Drawing(store, START if watts == 500.0 else START + 1800, site)
        run.watts = watts
        await run.begin()
        await run.run(1000, "active")
        await run.write()
        found = [p for p in store.point_rows.values() if p.measurement == "runway"]
        last = max(found, key=lambda point: point.start_seconds).fields
        # Four accelerators drew 2,000 W once; one more of 1,000 is 500 too much.
        assert (last["month"], last["binding"]) == ("2023-12", "chillers")
        assert last["short_watts"] == 500.0
