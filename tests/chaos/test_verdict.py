"""The verdict itself: a ledger that equals the truth is good, and each damage to it is found."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from meterhouse_agent import wire
from meterhouse_agent.simulation.fleet import node_names
from meterhouse_agent.spool import Spool, spool_path
from meterhouse_collector.ledger import entry_of, installed
from meterhouse_collector.site.index import SiteIndex
from meterhouse_collector.site.load import parse_site
from tests.chaos.site import FLEET
from tests.chaos.verdict import Verdict, judge_rows, judge_sums
from tests.chaos.windows import Windows
from tests.collector.collecting import MemoryStore
from tests.e2e.backlog import fill
from tests.e2e.configs import SITE, document, fleet_site
from tests.e2e.fleet_run import Gap
from tests.e2e.ledger import Key, Ledger, read_ledger

SPAN = range(1_780_000_000, 1_780_000_020)
NODES = (*node_names(FLEET), FLEET.facility_node)
NODE = NODES[0]
HIT = SPAN[9]


async def lived(folder: Path) -> Ledger:
    """Return the ledger of a site on which nothing befell anybody."""
    index = SiteIndex(parse_site(document(fleet_site(FLEET)), "site.toml"))
    store = MemoryStore()
    await fill(folder, FLEET, NODES, SPAN, site=SITE)
    for node in NODES:
        spool = Spool(spool_path(folder, node), 1 << 30)
        await spool.open()
        for _, body in await spool.oldest(len(SPAN), skip=()):
            report = wire.decode_report(body)
            told = await spool.inventory(report.inventory_hash)
            assert told is not None
            has = installed(SITE, node, msgspec.json.decode(told, type=wire.Inventory))
            await store.write(entry_of(report, has, index, detail=False).rows)
        await spool.close()
    return await read_ledger(store, SPAN.start, SPAN.stop)


@pytest.fixture(scope="module")
def ledger(tmp_path_factory: pytest.TempPathFactory) -> Ledger:
    return asyncio.run(lived(tmp_path_factory.mktemp("spools")))


def judged(ledger: Ledger, windows: Windows | None = None) -> Verdict:
    verdict = Verdict()
    first = dict.fromkeys(NODES, SPAN[1])
    judge_rows(verdict, FLEET, ledger, windows or Windows(), SPAN.stop, first)
    judge_sums(verdict, FLEET, ledger, (), SPAN.stop)
    return verdict


def copied(ledger: Ledger) -> Ledger:
    return Ledger(
        nodes=dict(ledger.nodes),
        meters=dict(ledger.meters),
        engines=dict(ledger.engines),
        spans=list(ledger.spans),
        rollups={},
        twice=[],
    )


def _row_gone(ledger: Ledger) -> None:
    del ledger.nodes[Key(NODE, HIT)]


def _meter_row_gone(ledger: Ledger) -> None:
    del ledger.meters[Key("utility", HIT)]


def _all_rows_of_a_thing_gone(ledger: Ledger) -> None:
    for key in [key for key in ledger.engines if key.thing == f"engine-{NODE}"]:
        del ledger.engines[key]


def _row_twice(ledger: Ledger) -> None:
    ledger.twice.append(Key(NODE, HIT))


def _told_again_as_a_span(ledger: Ledger) -> None:
    ledger.spans.append(
        wire.Span(
            kind="meter",
            thing="utility",
            quantity="energy_joules",
            from_milliseconds=HIT * 1000,
            to_milliseconds=HIT * 1000 + 1000,
            amount=1.0,
            method="interpolated",
            reason="restart",
        )
    )


def _another_amount(ledger: Ledger) -> None:
    key = Key("utility", HIT)
    row = ledger.meters[key]
    assert row.energy_joules is not None
    ledger.meters[key] = msgspec.structs.replace(row, energy_joules=row.energy_joules * 1.00001)


def _a_state_too_long(ledger: Ledger) -> None:
    key = Key(NODE, HIT)
    first, *others = ledger.nodes[key].shares
    longer = (first.milliseconds[0] + 1, *first.milliseconds[1:])
    shares = (msgspec.structs.replace(first, milliseconds=longer), *others)
    ledger.nodes[key] = msgspec.structs.replace(ledger.nodes[key], shares=shares)


@pytest.mark.parametrize(
    ("damage", "kinds"),
    [
        (_row_gone, {"lost"}),
        (_meter_row_gone, {"lost"}),
        (_all_rows_of_a_thing_gone, {"lost"}),
        (_row_twice, {"double"}),
        (_told_again_as_a_span, {"double"}),
        (_another_amount, {"wrong", "double"}),
        (_a_state_too_long, {"wrong"}),
    ],
)
def test_damage_is_found(ledger: Ledger, damage: Callable[[Ledger], None], kinds: set[str]) -> None:
    damaged = copied(ledger)
    damage(damaged)
    verdict = judged(damaged)
    assert {name for name in ("lost", "double", "wrong") if getattr(verdict, name)} == kinds
    assert not verdict.good


def test_what_equals_the_truth_is_good(ledger: Ledger) -> None:
    verdict = judged(ledger)
    assert verdict.good, verdict.text()
    assert verdict.reports == len(NODES) * len(SPAN)
    assert verdict.figures["rows_equal"] > 0


def test_a_fault_window_excuses_a_row_and_not_its_energy(ledger: Ledger) -> None:
    damaged = copied(ledger)
    _row_gone(damaged)
    windows = Windows()
    windows.gaps.append(Gap(NODE, HIT, HIT + 1))
    verdict = judged(damaged, windows)
    assert verdict.lost
    assert all("in the ledger, in truth" in each for each in verdict.lost)
