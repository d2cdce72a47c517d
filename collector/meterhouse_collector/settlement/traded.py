"""What quarter hours delivered by contract, and the tokens of each day. Pure.

A rollup has what contracts promise as sums of the site (bought) and of a tenant (sold); prices of
tokens change at midnights.
"""

from collections.abc import Iterable, Mapping
from math import fsum
from typing import Final, NamedTuple

from meterhouse_collector.site.index import GroupKey

SIDES: Final = ("bought", "sold")
NOBODY: Final = GroupKey("").tenant

# The side of a contract and its tenant; what is bought is for the site.
Party = tuple[str, str]
Rows = Mapping[int, Mapping[GroupKey, Mapping[str, float]]]


class Delivered(NamedTuple):
    """Device-seconds contracted, surely delivered, and in units of unknown state."""

    contracted: float
    delivered: float
    undetermined: float


# By the Unix seconds at which they begin.
Quarters = Mapping[int, Delivered]


class Sold(NamedTuple):
    """Tokens of a tenant and served model; cached ones are part of the input."""

    input_tokens: float
    cached_input_tokens: float
    output_tokens: float


class Traded(NamedTuple):
    """What was delivered by party and quarter, and served by midnight, tenant and served model."""

    quarters: dict[Party, dict[int, Delivered]]
    tokens: dict[tuple[int, str, str], Sold]


NOTHING_TRADED: Final = Traded({}, {})


def traded(day_seconds: int, rows: Rows) -> Traded:
    """Return what the quarter hours of one day delivered and served."""
    quarters: dict[Party, dict[int, list[Delivered]]] = {}
    tokens: dict[tuple[int, str, str], list[Sold]] = {}
    for start, groups in rows.items():
        for group, sums in groups.items():
            for side in SIDES:
                found = Delivered(*(sums[f"{side}_{word}_seconds"] for word in Delivered._fields))
                if found.contracted > 0:
                    mine = quarters.setdefault((side, group.tenant), {})
                    mine.setdefault(start, []).append(found)
            served = Sold(*(sums[name] for name in Sold._fields))
            if served.input_tokens > 0 or served.output_tokens > 0:
                key = (day_seconds, group.tenant, group.served_model)
                tokens.setdefault(key, []).append(served)
    return Traded(
        {
            party: {start: Delivered(*_sums(parts)) for start, parts in by_start.items()}
            for party, by_start in quarters.items()
        },
        {key: Sold(*_sums(parts)) for key, parts in tokens.items()},
    )


def all_traded(days: Iterable[Traded]) -> Traded:
    """Return what days that follow each other delivered and served together."""
    quarters: dict[Party, dict[int, Delivered]] = {}
    tokens: dict[tuple[int, str, str], Sold] = {}
    for day in days:
        for party, by_start in day.quarters.items():
            quarters.setdefault(party, {}).update(by_start)
        tokens.update(day.tokens)
    return Traded(quarters, tokens)


def _sums(parts: Iterable[tuple[float, ...]]) -> Iterable[float]:
    return (fsum(column) for column in zip(*parts, strict=True))
