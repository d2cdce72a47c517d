"""InfluxQL over rollups: sums first, then one division, and no row where it would be by zero.

InfluxQL makes x/0 a 0, which would show no tokens as no cost; so a query of a ratio keeps only
rows whose denominator is above 0. A condition with a function in it is never true, and silently
so: functions belong into terms. Nothing with a slash may stand behind ``$__interval``: some
versions of Grafana take two slashes around it for a regular expression, and escape it.
"""

import re
from collections.abc import Iterable, Mapping
from enum import Enum
from typing import Final

from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.cog.variants import Dataquery
from grafana_foundation_sdk.models.dashboard import DataSourceRef

from meterhouse_collector.kpi.catalogue import ROLLUP_FIELD_NAMES

DATA_SOURCE: Final = DataSourceRef(type_val="influxdb", uid="meterhouse")
SOURCE: Final = '"live"."rollup"'
GROUP_TAGS: Final = ("cluster", "pool", "tenant", "accelerator_model")

_WORD: Final = re.compile(r"(?<![$\w])[a-z]\w*")
_FUNCTIONS: Final = frozenset({"abs"})
_OF_SITE: Final = '"site" =~ /^$site$/'
_OF_GROUPS: Final = " AND ".join(f'"{tag}" =~ /^${tag}$/' for tag in GROUP_TAGS)
_SITE_ROW: Final = " AND ".join(f"\"{tag}\" = 'none'" for tag in (*GROUP_TAGS, "served_model"))


class Scope(Enum):
    """Which rows are summed.

    Only the site's own row has ``interval_seconds``, and it has no device: taking it along gives
    a rate of the chosen groups their time.
    """

    SITE = _OF_SITE
    GROUPS = f"{_OF_SITE} AND {_OF_GROUPS}"
    GROUPS_AND_TIME = f"{_OF_SITE} AND (({_OF_GROUPS}) OR ({_SITE_ROW}))"


class Query(Dataquery):
    """A query as Grafana's InfluxDB data source keeps it, in the language InfluxQL."""

    def __init__(self, text: str, ref_id: str, alias: str) -> None:
        self.text = text
        self.ref_id = ref_id
        self.alias = alias

    def to_json(self) -> dict[str, object]:
        """Return what stands in the JSON of a panel."""
        return {
            "datasource": DATA_SOURCE,
            "query": self.text,
            "rawQuery": True,
            "refId": self.ref_id,
            "resultFormat": "time_series",
            "alias": self.alias,
        }


class QueryBuilder(Builder[Query]):
    """Builds a query whose series are named after its columns."""

    def __init__(self, text: str) -> None:
        self._internal = Query(text, "A", "$col")

    def ref_id(self, ref_id: str) -> "QueryBuilder":
        """Set the name that tells the query from others of its panel."""
        self._internal.ref_id = ref_id
        return self

    def build(self) -> Query:
        """Return the query."""
        return self._internal


def rollup_query(
    columns: Mapping[str, str],
    *,
    where: str,
    scope: Scope,
    over_time: bool = False,
    terms: Mapping[str, str] | None = None,
) -> str:
    """Return a query of expressions over sums; a word in them is a field of the catalogue.

    ``terms`` are expressions that columns and condition may use by name. The query gives one row
    over the whole window, or one for each ``$__interval``.
    """
    if any(f"{name}(" in where for name in _FUNCTIONS):
        raise ValueError(f"{where}: a function in a condition")
    outer = _words([*columns.values(), where])
    terms = {name: text for name, text in (terms or {}).items() if name in outer}
    fields = sorted(_words(terms.values()) | outer.difference(terms))
    unknown = set(fields).difference(ROLLUP_FIELD_NAMES)
    if unknown or not fields:
        raise ValueError(f"{sorted(unknown) or columns}: not in the catalogue of the rollup")
    group = " GROUP BY time($__interval) fill(none)" if over_time else ""
    sums = _select({name: f'sum("{name}")' for name in fields})
    inner = f"{sums} FROM {SOURCE} WHERE $timeFilter AND {scope.value}{group}"
    if terms:
        passed = {name: f'"{name}"' for name in sorted(outer.difference(terms))}
        inner = f"{_select(terms | passed)} FROM ({inner})"
    return f"{_select(columns)} FROM ({inner}) WHERE {where}"


def _select(columns: Mapping[str, str]) -> str:
    shown = (f'{expression} AS "{name}"' for name, expression in columns.items())
    return f"SELECT {', '.join(shown)}"


def _words(expressions: Iterable[str]) -> set[str]:
    return {word for text in expressions for word in _WORD.findall(text)} - _FUNCTIONS


def not_below_zero(expression: str) -> str:
    """Return an expression, or 0 where it is below, for which InfluxQL has no function."""
    return f"0.5 * ({expression} + abs({expression}))"


def greater(a: str, b: str) -> str:
    """Return the greater of two expressions."""
    return f"0.5 * ({a} + {b} + abs({a} - {b}))"


def tag_query(tag: str, within: tuple[str, ...]) -> str:
    """Return a query for the values of a tag, in its first column.

    ``SHOW TAG VALUES`` needs a default retention policy, which the buckets of InfluxDB 2 do not
    have unless somebody maps one; ``last`` reads no more than each series' end.
    """
    condition = " AND ".join(f'"{name}" =~ /^${name}$/' for name in within)
    of = f" WHERE {condition}" if condition else ""
    inner = f'SELECT last("installed_seconds") FROM {SOURCE}{of} GROUP BY "{tag}"'  # noqa: S608 - no input
    return f'SELECT "{tag}", "last" FROM ({inner})'  # noqa: S608 - no input
