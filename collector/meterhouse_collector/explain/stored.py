"""What stands in the database of a window beside its rows: the rollups, and what they say."""

from collections.abc import Iterator, Sequence
from typing import Final, Literal

from meterhouse_collector.explain.model import Period
from meterhouse_collector.money.kinds import JOULES_KINDS
from meterhouse_collector.rollup.points import group_of, sums_of
from meterhouse_collector.rollup.pricing import Dues, Sums
from meterhouse_collector.rollup.roll_up import add_sums
from meterhouse_collector.settlement.records import Record
from meterhouse_collector.settlement.revision import model_revision
from meterhouse_collector.site.index import GroupKey, SiteIndex
from meterhouse_collector.store import Store

_NAMED: Final = 5
Groups = dict[GroupKey, Sums]


async def stored_groups(
    store: Store, index: SiteIndex, policy: Literal["live", "kept"], period: Period
) -> Groups | None:
    """Return the rollups of a window by group, the parts of several collectors added up."""
    parts: dict[GroupKey, list[Sums]] = {}
    points = await store.points(
        policy,
        "rollup",
        start_seconds=period.start_seconds,
        # A row stands at its start, whatever its length.
        end_seconds=period.start_seconds + 1,
    )
    for point in points:
        if ("site", index.site) in point.tags:
            parts.setdefault(group_of(point.tags), []).append(sums_of(point))
    return {group: add_sums(rows) for group, rows in parts.items()} or None


def stored_dues(groups: Groups | None, index: SiteIndex) -> Dues | None:
    """Return what was due for joules by stored rollups, None where they do not say."""
    site = None if groups is None else groups.get(index.site_group)
    if site is None:
        return None
    energy, demand, water, carbon = (site[f"due_{kind}_money"] for kind in JOULES_KINDS)
    known = site["unpriced_energy_seconds"] == 0
    gap = site["estimated_energy_money"]
    return Dues(energy if known else None, demand, water, carbon, gap)


def why_it_may_differ(
    record: Record | None, waiting: Sequence[str], index: SiteIndex
) -> Iterator[str]:
    """Yield what makes the rollups of a quarter others than its rows would make today."""
    if record is None:
        yield "the quarter is not done yet: the steward sums it once its rows are there"
    elif record.model_revision != (today := model_revision(index.model)):
        yield f"priced by site model {record.model_revision}, today's is {today}: see rerate"
    if waiting:
        more = f" and {len(waiting) - _NAMED} more" if len(waiting) > _NAMED else ""
        yield f"late rows are not summed yet: open marks of {', '.join(waiting[:_NAMED])}{more}"
