"""The ledger summed per thing and quarter: rows and spans in, the same structs out. Pure.

Of several readers one row is taken per interval (``pick_row``), then every sum is exact, so
neither the order of rows nor how they are cut into batches changes a digit. Missing intervals are
absent: the rollup takes what the register has beyond the row as ``unknown``.

What *carries* a quantity is a row that has it, of a quality that counts as measured; method and
quality of a quarter are the worst of those that carry. Only where none carries, they are the worst
of all. Gauges are means over the covered time, maxima the maximum.
"""

from collections.abc import Mapping, Sequence
from typing import Final

from meterhouse_agent import wire
from meterhouse_collector.rollup import quarter_meter, quarter_node
from meterhouse_collector.rollup.quarter_engine import EngineQuarter
from meterhouse_collector.rollup.quarter_meter import MeterQuarter
from meterhouse_collector.rollup.quarter_node import DeviceShares, NodeQuarter
from meterhouse_collector.rows import EngineRow, MeterRow, NodeRow

QUARTER: Final = wire.QUARTER_SECONDS
# A quarter has no place for them; the detail has.
_NOT_KEPT: Final = frozenset({"ecc_corrected_errors", "ecc_uncorrected_errors"})


def is_summed(span: wire.Span) -> bool:
    """Tell whether a quarter knows the quantity of a span; what it does not know is left out."""
    if span.kind == "node":
        return span.quantity in quarter_node.QUANTITIES | _NOT_KEPT
    if span.kind == "meter":
        return span.quantity in quarter_meter.QUANTITIES
    return EngineQuarter.knows(span)


def sum_node_quarter(
    rows: Mapping[int, Mapping[str, NodeRow]],
    spans: Sequence[wire.Span],
    quarter_start_seconds: int,
    length_seconds: int = QUARTER,
    devices: DeviceShares | None = None,
) -> NodeRow | None:
    """Sum a node's rows, by start and reader, and its spans; None where nothing is known of it.

    ``devices`` says the accelerator model and holder of each device, for the spans of devices.
    """
    quarter = NodeQuarter(quarter_start_seconds, length_seconds)
    for start in sorted(rows):
        quarter.add(start, rows[start])
    return quarter.row(spans, devices or {})


def sum_meter_quarter(
    rows: Mapping[int, Mapping[str, MeterRow]],
    spans: Sequence[wire.Span],
    quarter_start_seconds: int,
    length_seconds: int = QUARTER,
) -> MeterRow | None:
    """Sum a meter's rows, by start and reader, and its spans; None where nothing is known."""
    quarter = MeterQuarter(quarter_start_seconds, length_seconds)
    for start in sorted(rows):
        quarter.add(start, rows[start])
    return quarter.row(spans)


def sum_engine_quarter(
    rows: Mapping[int, Mapping[str, EngineRow]],
    spans: Sequence[wire.Span],
    quarter_start_seconds: int,
    length_seconds: int = QUARTER,
) -> EngineRow | None:
    """Sum an engine's rows, by start and reader, and its spans; None where nothing is known."""
    quarter = EngineQuarter(quarter_start_seconds, length_seconds)
    for start in sorted(rows):
        quarter.add(start, rows[start])
    return quarter.row(spans)
