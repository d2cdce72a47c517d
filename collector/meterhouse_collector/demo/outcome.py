"""What the demo writes at its end: what was collected, and beside it what was so."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from meterhouse_collector.config import CollectorConfig
from meterhouse_collector.demo.truth import Truth
from meterhouse_collector.kpi.catalogue import ROLLUP_FIELD_NAMES
from meterhouse_collector.kpi.compute import Window, kpis
from meterhouse_collector.kpi.value import KpiValue
from meterhouse_collector.rollup.pricing import Sums
from meterhouse_collector.rollup.roll_up import add_sums
from meterhouse_collector.running import make_store


class Stretch(NamedTuple):
    """Whole intervals, [start, end) in Unix seconds."""

    start_seconds: int
    end_seconds: int


async def collected(config: CollectorConfig, stretch: Stretch) -> Sums:
    """Return the sums of a stretch as they stand in the database."""
    store = make_store(config)
    await store.open()
    try:
        points = await store.points(
            "live",
            "rollup",
            start_seconds=stretch.start_seconds,
            end_seconds=stretch.end_seconds,
        )
    finally:
        await store.close()
    return add_sums({name: float(p.fields[name]) for name in ROLLUP_FIELD_NAMES} for p in points)


def write_outcome(path: Path, stretch: Stretch, sums: Sums, truth: Truth, window: Window) -> None:
    """Write the file; ``window`` is that of one interval."""
    seconds = float(stretch.end_seconds - stretch.start_seconds)
    values = kpis(sums, window=window._replace(seconds=seconds))
    outcome: dict[str, Any] = {
        "intervals": [stretch.start_seconds, stretch.end_seconds],
        "interval_seconds": round(window.seconds),
        "kpis": _views(values),
        "sums": sums,
        "truth": {"kpis": truth.kpis, "sums": truth.sums},
    }
    encoded = msgspec.json.format(msgspec.json.encode(outcome), indent=2)
    path.write_bytes(encoded + b"\n")


def _views(values: Mapping[str, KpiValue]) -> dict[str, dict[str, Any]]:
    return {
        name: {
            "value": value.value,
            "unit": value.unit,
            "numerator": value.numerator,
            "denominator": value.denominator,
            "coverage": value.coverage,
            "reason": value.reason,
        }
        for name, value in values.items()
    }
