"""InfluxQL over rollups: sums first, then one division, and no row where it would be by zero.

InfluxQL makes x/0 a 0, which would show no tokens as no cost; so a query of a ratio keeps only
rows whose denominator is above 0. A condition with a function in it is never true, and silently
so: functions belong into terms. Nothing with a slash may stand behind ``$__interval``: some
versions of Grafana take two slashes around it for a regular expression, and escape it.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from enum import Enum
from typing import Final

from grafana_foundation_sdk.models.dashboard import DataSourceRef

from meterhouse_collector.kpi.catalogue import ROLLUP_FIELD_NAMES

DATA_SOURCE: Final = DataSourceRef(type_val="influxdb", uid="meterhouse")
# ``live`` has every interval of the last weeks, ``kept`` the quarter hours of years.
SOURCE: Final = '"${resolution:raw}"."rollup"'
GROUP_TAGS: Final = ("cluster", "pool", "tenant", "accelerator_model", "served_model")
STEP: Final = "time($__interval)"

_WORD: Final = re.compile(r"(?<![$\w{:])[a-z]\w*")
_FUNCTIONS: Final = frozenset({"abs"})
OF_SITE: Final = '"site" =~ /^$site$/'
_OF_GROUPS: Final = " AND ".join(f'"{tag}" =~ /^${tag}$/' for tag in GROUP_TAGS)
_SITE_ROW: Final = " AND ".join(f"\"{tag}\" = 'none'" for tag in GROUP_TAGS)


class Scope(Enum):
    """Which rows are summed.

    Only the site's own row has ``interval_seconds``, and it has no device: taking it along gives
    a rate of the chosen groups their time.
    """

    SITE = OF_SITE
    GROUPS = f"{OF_SITE} AND {_OF_GROUPS}"
    GROUPS_AND_TIME = f"{OF_SITE} AND (({_OF_GROUPS}) OR ({_SITE_ROW}))"


def rollup_query(
    columns: Mapping[str, str],
    *,
    where: str,
    scope: Scope,
    over_time: bool = False,
    terms: Mapping[str, str] | None = None,
    by: Sequence[str] = (),
) -> str:
    """Return a query of expressions over sums; a word in them is a field of the catalogue.

    ``terms`` are expressions that columns and condition may use by name. The query gives one row
    over the whole window, or one for each ``$__interval``; with ``by`` one for each value of these
    tags: as columns of a table, or over time as series of their own.
    """
    if any(f"{name}(" in where for name in _FUNCTIONS):
        raise ValueError(f"{where}: a function in a condition")
    outer = _words([*columns.values(), where])
    terms = {name: text for name, text in (terms or {}).items() if name in outer}
    fields = sorted(_words(terms.values()) | outer.difference(terms))
    unknown = set(fields).difference(ROLLUP_FIELD_NAMES)
    if unknown or not fields:
        raise ValueError(f"{sorted(unknown) or columns}: not in the catalogue of the rollup")
    tags = [quoted(tag) for tag in by]
    steps = [STEP] if over_time else []
    sums = _select({name: f'sum("{name}")' for name in fields})
    inner = f"{sums} FROM {SOURCE} WHERE $timeFilter AND {scope.value}{_group([*steps, *tags])}"
    if over_time:
        inner += " fill(none)"
    if terms:
        passed = {name: quoted(name) for name in sorted(outer.difference(terms))}
        inner = f"{_select(terms | passed)} FROM ({inner}){_group(tags)}"
    if over_time:
        return f"{_select(columns)} FROM ({inner}) WHERE {where}{_group(tags)}"
    return f"{_select(columns, tags)} FROM ({inner}) WHERE {where}"


def quoted(name: str) -> str:
    """Return an identifier; some names are words of the language."""
    return f'"{name}"'


def _group(parts: Sequence[str]) -> str:
    return f" GROUP BY {', '.join(parts)}" if parts else ""


def _select(columns: Mapping[str, str], tags: Sequence[str] = ()) -> str:
    shown = (f'{expression} AS "{name}"' for name, expression in columns.items())
    return f"SELECT {', '.join([*tags, *shown])}"


def _words(expressions: Iterable[str]) -> set[str]:
    return {word for text in expressions for word in _WORD.findall(text)} - _FUNCTIONS


def not_below_zero(expression: str) -> str:
    """Return an expression, or 0 where it is below, for which InfluxQL has no function."""
    return f"0.5 * ({expression} + abs({expression}))"


def greater(a: str, b: str) -> str:
    """Return the greater of two expressions."""
    return f"0.5 * ({a} + {b} + abs({a} - {b}))"


def points_query(
    columns: Mapping[str, str],
    source: str,
    *,
    where: str = OF_SITE,
    over_time: bool = False,
    by: Sequence[str] = (),
    then: Mapping[str, str] | None = None,
    only: str = "",
) -> str:
    """Return a query of plain points, which sums of rollups know nothing of.

    Each column is a function of one field, over the whole window or for each ``$__interval``, of
    each value of the tags ``by``. ``then`` are expressions of these columns, of rows that fulfil
    ``only``. ``source`` is policy and measurement, as in ``live.limit``.
    """
    policy, measurement = source.split(".")
    tags = [quoted(tag) for tag in by]
    steps = [STEP] if over_time else []
    inner = (
        f'{_select(columns)} FROM "{policy}"."{measurement}" '
        f"WHERE $timeFilter AND {where}{_group([*steps, *tags])}"
    )
    if over_time:
        inner += " fill(none)"
    if then is None:
        return inner
    return f"{_select(then)} FROM ({inner}) WHERE {only}{_group(tags)}"


def table_query(
    columns: Mapping[str, str],
    source: str,
    *,
    by: Sequence[str],
    where: str = OF_SITE,
    then: Mapping[str, str] | None = None,
    only: str = "",
) -> str:
    """Return a query of plain points as a table: a row, and a column, for each value of the tags.

    Beside one ``last`` a field by itself is that of the same point, or null where it lacks it.
    Columns, ``then`` and ``only`` are as in ``points_query``.
    """
    inner = points_query(columns, source, where=where, by=by)
    shown = then or {name: quoted(name) for name in columns}
    condition = f" WHERE {only}" if only else ""
    return f"{_select(shown, [quoted(tag) for tag in by])} FROM ({inner}){condition}"


def tag_query(tag: str, within: tuple[str, ...]) -> str:
    """Return a query for the values of a tag of rollups, in its first column.

    ``SHOW TAG VALUES`` needs a default retention policy, which the buckets of InfluxDB 2 do not
    have unless somebody maps one; ``last`` reads no more than each series' end.
    """
    return values_query(tag, '"live"."rollup"', "installed_seconds", within)


def values_query(tag: str, source: str, field: str, within: tuple[str, ...]) -> str:
    """Return a query for the values of a tag wherever a field is, in its first column."""
    condition = " AND ".join(f'"{name}" =~ /^${name}$/' for name in within)
    of = f" WHERE {condition}" if condition else ""
    inner = f'SELECT last("{field}") FROM {source}{of} GROUP BY "{tag}"'  # noqa: S608 - no input
    return f'SELECT "{tag}", "last" FROM ({inner})'  # noqa: S608 - no input
