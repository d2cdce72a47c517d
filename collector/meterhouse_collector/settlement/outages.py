"""Planned maintenance and what the tenant caused, taken out of what a contract delivered. Pure.

A row may say why a device was unhealthy, but both sides must agree to what is no loss, so the
contract says that by hand. What it excludes leaves what is due in each quarter hour, and delivered
counts at most up to what is left of it: so it counts neither way (``definitions.md``, Contracts),
and a failure beside it is still a loss.
"""

from collections.abc import Iterable, Iterator, Mapping
from math import fsum
from typing import Final, NamedTuple
from zoneinfo import ZoneInfo

from meterhouse_collector.kpi.parts import ratio
from meterhouse_collector.money.billing_month import QUARTER_SECONDS
from meterhouse_collector.settlement.periods import local_text
from meterhouse_collector.settlement.traded import Delivered, Quarters
from meterhouse_collector.site.base import until_next
from meterhouse_collector.site.contracts import CapacityContract
from meterhouse_collector.site.model import SiteModel

_WORDS: Final = {"planned": "planned maintenance", "tenant_caused": "outage that the tenant caused"}


class Counted(NamedTuple):
    """Device-seconds of a contract as they count: ``due`` is contracted less what is excluded.

    ``planned`` and ``tenant_caused`` are what was entered, excluded or not.
    """

    planned: float
    tenant_caused: float
    due: float
    low: float
    high: float

    @property
    def low_ratio(self) -> float | None:
        """The delivered part of what is due with all that is unknown down, None of nothing."""
        return ratio(self.low, self.due)

    @property
    def high_ratio(self) -> float | None:
        """The same with all that is unknown up."""
        return ratio(self.high, self.due)


def counted(
    model: SiteModel,
    contract: CapacityContract,
    start: float,
    found: Delivered,
    seconds: float = QUARTER_SECONDS,
) -> Counted:
    """Return how a quarter hour of a contract counts, or another stretch of so many seconds."""
    units = contract.units_on(model.day(start))
    entered = {"planned": 0.0, "tenant_caused": 0.0}
    excluded = 0.0
    for outage in contract.outage if units > 0 else ():
        lasted = outage.seconds_within(start, start + seconds) / seconds
        part = min(outage.units or units, units) / units * lasted * found.contracted
        entered[outage.reason] += part
        excluded += part if contract.excludes(outage) else 0.0
    due = max(0.0, found.contracted - excluded)
    return Counted(
        **entered,
        due=due,
        low=min(due, found.delivered),
        high=min(due, found.delivered + found.undetermined),
    )


def due_now(
    model: SiteModel, tenant: str, sums: Mapping[str, float], window: tuple[float, float]
) -> dict[str, float]:
    """Return what is sold to a tenant without what his contract excludes, as fields of a rollup.

    Nothing where no outage is in the window, and where he has several contracts: what they
    delivered is kept together.
    """
    begins, ends = window
    day = model.day(begins)
    mine = [
        contract
        for contract in until_next(model.contract, lambda each: each.name)
        if contract.tenant == tenant and contract.units_on(day) > 0
    ]
    if len(mine) != 1 or not any(each.seconds_within(*window) for each in mine[0].outage):
        return {}
    found = Delivered(*(sums[f"sold_{word}_seconds"] for word in Delivered._fields))
    counts = counted(model, mine[0], begins, found, ends - begins)
    return {
        "sold_contracted_seconds": counts.due,
        "sold_delivered_seconds": counts.low,
        "sold_undetermined_seconds": counts.high - counts.low,
    }


def counted_all(model: SiteModel, contract: CapacityContract, quarters: Quarters) -> Counted:
    """Return how quarter hours of a contract count together."""
    return total(counted(model, contract, start, found) for start, found in quarters.items())


def total(parts: Iterable[Counted]) -> Counted:
    """Return sums; of nothing they are zero."""
    columns = list(zip(*parts, strict=True)) or [()] * len(Counted._fields)
    return Counted(*map(fsum, columns))


def outage_notes(
    model: SiteModel, contract: CapacityContract, window: tuple[int, int]
) -> Iterator[str]:
    """Yield each outage in a window of a contract, who agreed to it, and whether it is excluded."""
    zone = ZoneInfo(model.time_zone)
    for outage in contract.outage:
        if outage.seconds_within(*window) > 0:
            begins, ends = (local_text(at.timestamp(), zone) for at in (outage.begins, outage.ends))
            units = "all units" if outage.units is None else f"{outage.units} {contract.unit}"
            rule = "is" if contract.excludes(outage) else "is not"
            yield (
                f"{contract.name}: {_WORDS[outage.reason]} from {begins} to {ends}, {units}, agreed"
                f" by {outage.agreed_by}, {rule} excluded by the contract"
            )


def downtime_notes(model: SiteModel, window: tuple[int, int]) -> Iterator[str]:
    """Yield what somebody says was down in a window, and who."""
    zone = ZoneInfo(model.time_zone)
    for entry in model.downtime:
        if entry.seconds_within(*window) > 0:
            last = "on" if entry.ends is None else f"to {local_text(entry.ends.timestamp(), zone)}"
            count = "all devices" if entry.devices is None else f"{entry.devices} of each"
            yield (
                f"{', '.join(entry.nodes)}: {count} {entry.reason} from"
                f" {local_text(entry.begins.timestamp(), zone)} {last}, said by {entry.said_by}"
            )
