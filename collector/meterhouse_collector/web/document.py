"""What /api/live says, as types: every figure with its unit, its parts and how far to trust it."""

from collections.abc import Mapping, Sequence
from typing import Literal

from msgspec import Struct

from meterhouse_agent import wire
from meterhouse_collector.alerts.state import Phase
from meterhouse_collector.kpi.value import KpiValue
from meterhouse_collector.web.fleet import Cells
from meterhouse_collector.web.flows import Level, Path

AgentState = Literal["offline", "silent", "unseen", "online"]


class Kpi(Struct, frozen=True, kw_only=True):
    """A KPI over the window; without a ``value`` there is a ``reason``."""

    unit: str
    label: str
    value: float | None = None
    numerator: float | None = None
    denominator: float | None = None
    coverage: float | None = None
    low: float | None = None
    high: float | None = None
    reason: str | None = None


class Span(Struct, frozen=True):
    """The window, [start, end) in Unix seconds."""

    start_seconds: int
    end_seconds: int


class Power(Struct, frozen=True, kw_only=True):
    """Mean power; of the time that counts for PUE where there is any, else of IT alone."""

    facility_watts: float | None = None
    it_watts: float | None = None
    covered_seconds: float = 0.0
    reason: str | None = None


class Tokens(Struct, frozen=True, kw_only=True):
    """Mean rates over the window, of engines whose tokens are known."""

    output_per_second: float | None = None
    input_per_second: float | None = None
    coverage: float = 0.0
    reason: str | None = None


class Money(Struct, frozen=True, kw_only=True):
    """What the window cost: kind by state, all of it adding up to the total."""

    currency: str
    matrix: dict[str, dict[wire.State, float]]
    total: float
    estimated_energy: float
    unpriced_device_seconds: float


class Group(Struct, frozen=True, kw_only=True):
    """A pool, or a served model; ``tenant`` and ``cluster`` are those of a pool."""

    name: str
    cluster: str = ""
    tenant: str = ""
    states: dict[wire.State, float]
    installed: float
    output_tokens: float
    kpis: dict[str, Kpi]


class Groups(Struct, frozen=True, kw_only=True):
    """The groups of one kind, the largest first; ``left_out`` says how many are not shown."""

    list: Sequence[Group]
    left_out: int = 0


class AgentView(Struct, frozen=True, kw_only=True):
    """One agent; ``troubles`` says which of its sources fail."""

    name: str
    state: AgentState
    last_seen_seconds: float | None
    waiting_reports: int
    troubles: Sequence[str] = ()


class Agents(Struct, frozen=True, kw_only=True):
    """All agents counted, and those in trouble first in the list."""

    counts: Mapping[AgentState, int]
    waiting_reports: int
    list: Sequence[AgentView]
    left_out: int = 0


class Series(Struct, frozen=True):
    """A KPI in each step of the history; None where it had no value."""

    value: Sequence[float | None]
    low: Sequence[float | None]
    high: Sequence[float | None]


class History(Struct, frozen=True, kw_only=True):
    """The window step by step, as columns."""

    step_seconds: int
    start_seconds: Sequence[int] = ()
    kpis: Mapping[str, Series] = {}
    states: Mapping[wire.State, Sequence[float]] = {}
    facility_watts: Sequence[float | None] = ()
    it_watts: Sequence[float | None] = ()
    output_tokens_per_second: Sequence[float | None] = ()


class AlertView(Struct, frozen=True, kw_only=True):
    """One alert that is pending or firing, with the figure that it is held against, in words."""

    name: str
    kind: str
    severity: str
    phase: Phase
    since_seconds: float
    value: float
    limit: float
    unit: str
    labels: Mapping[str, str]
    summary: str


class Alerts(Struct, frozen=True, kw_only=True):
    """All alerts counted by phase, and those that fire first in the list."""

    firing: int
    pending: int
    list: Sequence[AlertView]
    left_out: int = 0


class Document(Struct, frozen=True, kw_only=True):
    """The whole answer; ``states`` are in device-seconds, ``latest`` is the history's last step."""

    site: str
    version: str
    at_seconds: float
    interval_seconds: int
    grace_seconds: float
    window_seconds: float
    window: Span | None
    kpis: Mapping[str, Kpi]
    states: Mapping[wire.State, float] | None
    installed: float | None
    power: Power
    tokens: Tokens
    money: Money | None
    pools: Groups
    served_models: Groups
    agents: Agents
    alerts: Alerts
    levels: Sequence[Level]
    path: Path
    cells: Cells | None
    latest: History


def kpi_of(value: KpiValue) -> Kpi:
    """Return a KPI as the answer has it."""
    return Kpi(
        unit=value.unit,
        label=value.label,
        value=value.value,
        numerator=value.numerator,
        denominator=value.denominator,
        coverage=value.coverage,
        low=value.low,
        high=value.high,
        reason=value.reason,
    )
