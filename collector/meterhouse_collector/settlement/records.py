"""The record of a quarter that is done: what its bill was made of, and what it was priced by.

One small row per site and quarter, so that the bill of a month needs no rollups, and a price that
changed is seen without them.
"""

from collections.abc import Mapping
from typing import Final, NamedTuple

from meterhouse_collector.money.kinds import JOULES_KINDS
from meterhouse_collector.rows import Point
from meterhouse_collector.store import Store

MEASUREMENT: Final = "quarter"


class Record(NamedTuple):
    """A quarter that is done; None is not known.

    ``revision`` counts how often a change of the site model re-rated it; ``model_revision`` is the
    fingerprint of the one it was rated by.
    """

    start_seconds: int
    billed_joules: float | None
    it_joules: float | None
    energy_money: float | None
    demand_money: float
    water_money: float
    carbon_money: float
    revision: int
    model_revision: str
    scope_1_kg: float = 0.0
    scope_2_kg: float | None = None


def record_of(start: int, site: Mapping[str, float], revision: int, model_revision: str) -> Record:
    """Return the record of a quarter from the sums of its site group."""
    billed = site["billed_joules"] if site["unbilled_seconds"] == 0 else None
    equipment = site["it_expected_joules"] if site["pue_unexpected_seconds"] == 0 else None
    priced = site["unpriced_energy_seconds"] == 0
    # Emissions are those of sources, so they are not known where one of these is not.
    sourced = site["sources_joint_seconds"] >= site["interval_seconds"]
    factored = sourced and site["market_unfactored_seconds"] == 0
    dues = {kind: site[f"due_{kind}_money"] for kind in JOULES_KINDS}
    return Record(
        start,
        billed,
        equipment,
        dues["energy"] if priced else None,
        dues["demand"],
        dues["water"],
        dues["carbon"],
        revision,
        model_revision,
        scope_1_kg=site["fuel_carbon_kg"] + site["refrigerant_carbon_kg"],
        scope_2_kg=site["market_carbon_kg"] if factored else None,
    )


def record_point(site: str, record: Record) -> Point:
    """Return the row of a record; a field always has one type, so what is None has a flag."""
    fields: dict[str, float | int | str | bool] = {"done": True}
    for name in ("billed_joules", "it_joules", "energy_money", "scope_2_kg"):
        value = getattr(record, name)
        fields[name] = 0.0 if value is None else value
        fields[f"{name}_known"] = value is not None
    for name in ("demand_money", "water_money", "carbon_money", "scope_1_kg"):
        fields[name] = getattr(record, name)
    fields["revision"] = record.revision
    fields["model_revision"] = record.model_revision
    return Point("kept", MEASUREMENT, (("site", site),), fields, record.start_seconds)


async def read_records(
    store: Store, site: str, start_seconds: int, end_seconds: int
) -> dict[int, Record]:
    """Read the records of [start, end) by the start of their quarter."""
    points = await store.points(
        "kept", MEASUREMENT, start_seconds=start_seconds, end_seconds=end_seconds
    )
    return {p.start_seconds: _record(p) for p in points if ("site", site) in p.tags}


def _record(point: Point) -> Record:
    fields = point.fields

    def known(name: str) -> float | None:
        return float(fields.get(name, 0.0)) if fields.get(f"{name}_known", False) else None

    return Record(
        point.start_seconds,
        known("billed_joules"),
        known("it_joules"),
        known("energy_money"),
        float(fields.get("demand_money", 0.0)),
        float(fields.get("water_money", 0.0)),
        float(fields.get("carbon_money", 0.0)),
        int(fields.get("revision", 0)),
        str(fields.get("model_revision", "")),
        scope_1_kg=float(fields.get("scope_1_kg", 0.0)),
        scope_2_kg=known("scope_2_kg"),
    )
