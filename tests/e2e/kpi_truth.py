"""The three KPIs from the truth alone, reckoned after the definitions and without our code."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, NamedTuple

from meterhouse_agent.simulation.truth import HolderTruth, NodeTruth, Truth
from meterhouse_agent.wire import STATES
from tests.e2e.configs import DEVICE_LIFE_DAYS, DEVICE_PRICE, PRICE_PER_KWH

CAPITAL_PER_SECOND: Final = DEVICE_PRICE / (DEVICE_LIFE_DAYS * 86_400)
PRICE_PER_JOULE: Final = PRICE_PER_KWH / 3_600_000


class Kpis(NamedTuple):
    """Each as it should be read back."""

    pue: float
    idle_capacity_ratio: float
    cost_per_million_output_tokens: float


@dataclass(slots=True)
class _Money:
    """What engines cost, and what their pool has that no engine holds, by the second."""

    engines: float = 0.0
    engine_seconds: float = 0.0
    overhead: float = 0.0
    held_seconds: float = 0.0

    @property
    def serving(self) -> float:
        """The engines' own money, and their share of the pool's rest."""
        if self.held_seconds == 0:
            return self.engines
        return self.engines + self.overhead * self.engine_seconds / self.held_seconds


def kpis_of(truths: Iterable[Truth]) -> Kpis:
    """Reckon the KPIs of a window; each interval's energy bill is shared out by its own joules."""
    facility = equipment = tokens = busy = idle = 0
    money = 0.0
    for truth in truths:
        facility += truth.totals.facility_joules
        equipment += truth.totals.it_joules
        tokens += truth.totals.output_tokens
        busy += truth.totals.milliseconds.active
        idle += truth.totals.milliseconds.held_idle + truth.totals.milliseconds.free
        money += _serving_money(truth)
    return Kpis(
        pue=facility / equipment,
        idle_capacity_ratio=idle / (busy + idle),
        cost_per_million_output_tokens=1e6 * money / tokens,
    )


def _serving_money(truth: Truth) -> float:
    bill_per_joule = (
        truth.totals.facility_joules * PRICE_PER_JOULE / (truth.totals.node_millijoules / 1000)
    )
    money = _Money()
    for node in truth.nodes:
        for holder in node.holders:
            _add(money, node, holder, bill_per_joule)
    return money.serving


def _add(money: _Money, node: NodeTruth, holder: HolderTruth, bill_per_joule: float) -> None:
    devices = sum(each.millijoules.total for each in node.holders)
    times, energies = holder.milliseconds.as_dict(), holder.millijoules.as_dict()
    for state in STATES:
        seconds = times[state] / 1000
        # The rest of the node follows its devices.
        joules = node.energy_millijoules / 1000 * energies[state] / devices
        due = seconds * CAPITAL_PER_SECOND + joules * bill_per_joule
        if holder.holder != "none":
            money.engines += due
            money.engine_seconds += seconds
            money.held_seconds += seconds
        elif state in {"active", "held_idle"}:
            money.held_seconds += seconds
        else:
            money.overhead += due
