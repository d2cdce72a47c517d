"""Who tells: all that told in the last minute are waited for before an interval is rolled up."""

from collections.abc import Iterable, Mapping
from typing import Final

from meterhouse_collector.ledger import Entry
from meterhouse_collector.rollup.site_energy import IntervalRows

TELLING_SECONDS: Final = 60


class _Tellers:
    """The newest interval that each of some things told of, as far as it is not long ago."""

    def __init__(self) -> None:
        self.told: dict[str, int] = {}

    def note(self, names: Iterable[str], start: int, *, newest: bool) -> None:
        if not newest:
            names = [name for name in names if self.told.get(name, start - 1) < start]
        names = dict.fromkeys(names, start)
        self.told.update(names)
        # Where all have told, nobody told long ago.
        if newest and len(self.told) > len(names):
            for name in [n for n, at in self.told.items() if at <= start - TELLING_SECONDS]:
                del self.told[name]


class Telling:
    """The nodes, meters and engines that tell; an interval is whole when all of them told of it."""

    def __init__(self) -> None:
        self._nodes, self._meters, self._engines = _Tellers(), _Tellers(), _Tellers()
        self._newest = 0

    def note(self, rows: IntervalRows) -> None:
        """Note who told of an interval that is rolled up."""
        start = rows.start_seconds
        newest = start >= self._newest
        self._newest = max(self._newest, start)
        self._nodes.note(rows.nodes, start, newest=newest)
        self._meters.note(rows.meters, start, newest=newest)
        self._engines.note(rows.engines, start, newest=newest)

    def late(self, entry: Entry) -> None:
        """Note who told of an interval after that was rolled up."""
        start = entry.start_seconds
        if entry.node_row is not None:
            self._nodes.note((entry.node,), start, newest=False)
        self._meters.note(entry.meters, start, newest=False)
        self._engines.note(entry.engines, start, newest=False)

    def all_told(
        self,
        nodes: Mapping[str, object],
        meters: Mapping[str, object],
        engines: Mapping[str, object],
    ) -> bool:
        """Tell whether all that tell are among these; nobody is not all."""
        mine, theirs = (self._nodes, self._meters, self._engines), (nodes, meters, engines)
        if not any(tellers.told for tellers in mine):
            return False
        return all(a.told.keys() <= b.keys() for a, b in zip(mine, theirs, strict=True))
