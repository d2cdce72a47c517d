"""What was read of one window: rows, what stands stored, and what was known of prices."""

from collections.abc import Mapping
from dataclasses import dataclass

from meterhouse_collector.explain.model import Entry, Period
from meterhouse_collector.rollup.flow_branches import Thing
from meterhouse_collector.rollup.pricing import Dues, Sums
from meterhouse_collector.rollup.rates import Rates
from meterhouse_collector.rollup.site_energy import Expected, IntervalRows
from meterhouse_collector.site.index import GroupKey


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """All that a figure is computed from; ``dues`` is None where nothing says what was due.

    ``readers`` has those whose rows were there, ``stored`` the groups of the database, None where
    it has none of the window, and ``stored_at`` the place of both.
    """

    period: Period
    rows: IntervalRows
    rows_from: str
    readers: Mapping[Thing, tuple[str, ...]]
    expected: Expected
    rates: Rates
    dues: Dues | None
    dues_from: str
    stored: Mapping[GroupKey, Sums] | None
    stored_at: str
    stored_notes: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    accruals: tuple[Entry, ...] = ()
    bill: tuple[Entry, ...] = ()
