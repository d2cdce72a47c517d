"""Rollups as plain points, and back: the tags of a group, live and kept. Pure."""

import re
from collections.abc import Iterable, Mapping
from functools import lru_cache
from operator import itemgetter
from typing import Final

from meterhouse_collector.kpi.catalogue import QUANTILE_FIELD_NAMES, ROLLUP_FIELD_NAMES
from meterhouse_collector.rollup.pricing import Sums, zero_sums
from meterhouse_collector.rows import Point
from meterhouse_collector.site.index import GroupKey

Tags = tuple[tuple[str, str], ...]

PART: Final = "0"
_fields_of: Final = itemgetter(*ROLLUP_FIELD_NAMES)
# What InfluxDB cannot have in a tag; a served model is named by whoever runs it.
_ODD: Final = re.compile(r"[\x00-\x1f\x7f]|\\(?= |\Z)")


def live_point(group: GroupKey, sums: Sums, start_seconds: int) -> Point:
    """Return the row of a group in one interval; the parts of several collectors add up."""
    tags = (("part", PART), *group_tags(group))
    return Point("live", "rollup", tags, _fields(sums), start_seconds)


def kept_points(
    quarter_start_seconds: int,
    sums_by_group: Mapping[GroupKey, Sums],
    vanished: Iterable[GroupKey] = (),
    revision: int = 0,
) -> list[Point]:
    """Return the rows of a quarter; groups that were there before and vanished become zero.

    ``revision`` says how often a change of the site model re-rated it.
    """
    rows = {group_tags(group): zero_sums() for group in vanished}
    rows |= {group_tags(group): sums for group, sums in sums_by_group.items()}
    return [
        Point(
            "kept",
            "rollup",
            tags,
            {**_fields(sums), "revision": float(revision)},
            quarter_start_seconds,
        )
        for tags, sums in rows.items()
    ]


def tag_value(text: str) -> str:
    """Return a text as a store can hold it in a tag."""
    return _ODD.sub("?", text) or "?"


@lru_cache(maxsize=4096)
def group_tags(group: GroupKey) -> Tags:
    """Return the tags of a group, as a store can hold them."""
    values = map(tag_value, group)
    return tuple(zip(GroupKey._fields, values, strict=True))


def group_of(tags: Tags) -> GroupKey:
    """Return the group of a rollup's tags."""
    named = dict(tags)
    return GroupKey(**{name: named[name] for name in GroupKey._fields})


def sums_of(point: Point) -> Sums:
    """Return the sums of a rollup's row; a field that it lacks, being older, is zero."""
    sums = {name: float(point.fields.get(name, 0.0)) for name in ROLLUP_FIELD_NAMES}
    # No sums, but what is priced anew and written again must still have them.
    sums.update({n: float(v) for n in QUANTILE_FIELD_NAMES if (v := point.fields.get(n))})
    return sums


def _fields(sums: Mapping[str, float]) -> dict[str, float | int | str | bool]:
    values = zip(ROLLUP_FIELD_NAMES, _fields_of(sums), strict=True)
    fields: dict[str, float | int | str | bool] = dict(values)
    fields.update({name: sums.get(name, 0.0) for name in QUANTILE_FIELD_NAMES})
    return fields
