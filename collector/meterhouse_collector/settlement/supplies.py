"""What crossed the boundary in a quarter hour, and which tariff bills what of it. Pure."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal

from meterhouse_collector.money.bill_lines import QuarterEnergy
from meterhouse_collector.money.decimals import CONTEXT, ZERO, add, kwh_from_joules
from meterhouse_collector.money.grid_rest import grid_rest
from meterhouse_collector.site.carbon import EnergySource
from meterhouse_collector.site.model import SiteModel


@dataclass(frozen=True, slots=True, kw_only=True)
class SiteQuarter:
    """What crossed a site's boundary in a quarter hour; None is not known.

    ``billed_joules`` is the net of the boundary meters with gaps filled. The mappings are by
    source, by generator and by water supply; emissions are by scope.
    """

    start_seconds: int
    billed_joules: float | None
    it_joules: float | None = None
    source_joules: Mapping[str, float | None] = field(default_factory=dict)
    fuel_litres: Mapping[str, Decimal | None] = field(default_factory=dict)
    water_litres: Mapping[str, float | None] = field(default_factory=dict)
    carbon_kg: Mapping[int, float | None] = field(default_factory=dict)


def quarter_energy(model: SiteModel, quarter: SiteQuarter) -> QuarterEnergy:
    """Return what the grid gave, what left, and what each other source gave.

    A source whose meters are of the boundary is part of what these net: it is taken off the grid's
    import, and so is a PPA, which comes over the same connection.
    """
    supplied: dict[str, Decimal | None] = dict(quarter.fuel_litres)
    exported: Decimal | None = ZERO
    netted: list[tuple[str, Decimal | None]] = []
    for source in _measured(model, quarter):
        kwh = _kwh(quarter.source_joules[source.name])
        if source.kind in ("ppa", "on_site"):
            supplied[source.name] = kwh
        elif source.kind == "export":
            exported = None if exported is None or kwh is None else CONTEXT.add(exported, kwh)
        else:
            continue
        if source.kind == "ppa" or _is_of_boundary(model, source):
            netted.append((source.kind, kwh))
    grid = _kwh(quarter.billed_joules)
    if grid is not None:
        parts = [(kind, kwh) for kind, kwh in netted if kwh is not None]
        grid = grid_rest(grid, parts) if len(parts) == len(netted) else None
    if grid is not None and grid < 0:
        # More left than came: without a meter of the export, the net is what is known of it.
        exported = None if exported is None else CONTEXT.subtract(exported, grid)
        grid = ZERO
    return QuarterEnergy(
        start_seconds=quarter.start_seconds,
        import_kwh=grid,
        export_kwh=exported,
        supplied=supplied,
    )


def connected(
    model: SiteModel,
    tariff: str,
    quarters: Sequence[SiteQuarter],
    energies: Sequence[QuarterEnergy],
) -> list[QuarterEnergy]:
    """Return what a tariff bills: its connections' import where these are metered, else all of it.

    A connection is a source of the kind ``grid`` that names the tariff.
    """
    mine = [
        source.name
        for source in model.energy_source
        if source.kind == "grid" and source.meters and tariff in source.tariffs
    ]
    if not mine:
        return list(energies)
    return [
        replace(energy, import_kwh=_sum([quarter.source_joules.get(name) for name in mine]))
        for quarter, energy in zip(quarters, energies, strict=True)
    ]


def _measured(model: SiteModel, quarter: SiteQuarter) -> Iterator[EnergySource]:
    return (source for source in model.energy_source if source.name in quarter.source_joules)


def _is_of_boundary(model: SiteModel, source: EnergySource) -> bool:
    roles = {meter.role for meter in model.meter if meter.name in source.meters}
    return roles == {"boundary"}


def _sum(joules: Sequence[float | None]) -> Decimal | None:
    known = [kwh_from_joules(each) for each in joules if each is not None]
    return add(known) if len(known) == len(joules) else None


def _kwh(joules: float | None) -> Decimal | None:
    return None if joules is None else kwh_from_joules(joules)
