"""What an intake knows of one slot in one interval: the rows of its ledger, gathered into one.

The steward rolls up from these, because reading one gathered row costs the store a fraction of
reading the ledger's rows one by one. Rows of one key are the same whoever gathered them, so what
two intakes tell of one slot is a union: nothing is counted twice, and nothing lacks that one knows.
Pure.
"""

from collections.abc import Iterable, Iterator
from typing import Final

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from meterhouse_agent.wire import SLOTS, Sensor
from meterhouse_collector.ledger import DETAIL_NAMES, Entry
from meterhouse_collector.rows import (
    EngineRow,
    MeterRow,
    NodeRow,
    PackedRow,
    Policy,
    Row,
    Series,
    Table,
    pack,
)

POLICY: Final = "part"
MEASUREMENT: Final = "gathered"
DETAIL: Final[tuple[Policy, str]] = ("detail", "accelerator")
_NO_SERIES: Final = Series((), DETAIL_NAMES)
# A store takes lines of 1 MB, in which quotes are two bytes each.
_TEXT_MAX: Final = 700_000
SLOT_NAMES: Final = tuple(f"{slot:02d}" for slot in range(SLOTS))


class Told(Struct, frozen=True, omit_defaults=True, gc=False):
    """The ledger rows of one report, by thing, and its sensors; its reader stands beside it.

    ``detail`` are the readings of its devices as ``rows.Table`` has them, where they are due;
    ``xids`` are the fault codes that they told.
    """

    node: NodeRow | None = None
    meters: dict[str, MeterRow] = {}
    engines: dict[str, EngineRow] = {}
    detail: str = ""
    sensors: dict[str, Sensor] = {}
    xids: dict[str, tuple[int, ...]] = {}


class Gathered(Struct, frozen=True, omit_defaults=True, gc=False):
    """The rows of one slot in one interval by reader.

    ``waiting`` are the reports that wait with each node. ``again`` are earlier intervals of this
    slot that were told late, ``marked`` the quarters that this intake has marked of late, both with
    when that was; ``began_seconds`` says since when it runs.
    """

    began_seconds: int
    readers: dict[str, Told] = {}
    waiting: dict[str, int] = {}
    again: dict[int, float] = {}
    marked: dict[int, float] = {}

    def entries(self, site: str, start_seconds: int) -> Iterator[Entry]:
        """Yield the reports as the ledger took them, and of their rows what devices read."""
        for reader, told in self.readers.items():
            rows: list[Row] = []
            if told.detail:
                columns = told.detail.encode()
                rows.append(Table(*DETAIL, _NO_SERIES, columns, start_seconds))
            yield Entry(
                site,
                reader,
                start_seconds,
                told.node,
                told.meters,
                told.engines,
                rows,
                told.sensors,
                told.xids,
            )

    def without_detail(self) -> "Gathered":
        """Return the same without the readings of devices, which are most of it."""
        readers = {name: replace(told, detail="") for name, told in self.readers.items()}
        return replace(self, readers=readers)


def told_of(entry: Entry) -> Told:
    """Return what is told of an entry."""
    detail = ""
    for row in entry.rows:
        if isinstance(row, Table) and (row.policy, row.measurement) == DETAIL:
            detail = row.columns.decode()
    xids = {**entry.xids}
    return Told(entry.node_row, entry.meters, entry.engines, detail, entry.sensors, xids)


_DECODER: Final = msgspec.json.Decoder(Gathered)


def packed(gathered: Gathered, site: str, slot: str, part: str, start_seconds: int) -> PackedRow:
    """Return the row of one slot, as the intake ``part`` tells it; too large, without detail."""
    text = pack(gathered)
    if len(text) > _TEXT_MAX:
        text = pack(gathered.without_detail())
    return PackedRow(POLICY, MEASUREMENT, site, slot, part, start_seconds, text)


def unpacked(row: PackedRow) -> Gathered | None:
    """Return what a row holds, None if that cannot be read."""
    try:
        return _DECODER.decode(row.row)
    except msgspec.MsgspecError:
        return None


def parse_slots(text: str) -> frozenset[str]:
    """Return the slots that a text like ``00-31`` or ``00-15,48`` names; raise ``ValueError``."""
    found: set[str] = set()
    for piece in text.split(","):
        first, dash, last = piece.strip().partition("-")
        names = SLOT_NAMES
        if first not in names or (dash and last not in names) or (dash and last < first):
            raise ValueError('slots are a text like "00-31" or "00-15,48", from 00 to 63')
        found.update(names[int(first) : int(last or first) + 1])
    return frozenset(found)


def slots_text(slots: Iterable[str]) -> str:
    """Return slots as short as they can be said: the inverse of ``parse_slots``."""
    runs: list[list[int]] = []
    for slot in sorted(map(int, slots)):
        if runs and slot == runs[-1][-1] + 1:
            runs[-1].append(slot)
        else:
            runs.append([slot])
    return ",".join(
        f"{run[0]:02d}" if len(run) == 1 else f"{run[0]:02d}-{run[-1]:02d}" for run in runs
    )
