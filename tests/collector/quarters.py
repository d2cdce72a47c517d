"""Rows and spans of one quarter, and what they come to by hand."""

from fractions import Fraction
from math import fsum

from hypothesis import strategies as st

from meterhouse_agent import wire
from meterhouse_collector.rows import EngineRow, MeterRow, NodeRow, Served, Share

QUARTER = 1_780_002_000
LENGTH = 5
STEP = LENGTH * 1000
WHOLE = wire.QUARTER_SECONDS * 1000
BEGINS = QUARTER * 1000
STARTS = range(QUARTER, QUARTER + wire.QUARTER_SECONDS, LENGTH)

joules = st.floats(0, 1e9, allow_subnormal=False)


def span(
    begins: float,
    ends: float,
    amount: float,
    quantity: str = "energy_joules",
    **fields: str,
) -> wire.Span:
    """Return a span of node, meter or engine ``n1``; seconds count from the quarter's start."""
    return wire.Span(
        kind=fields.pop("kind", "meter"),  # type: ignore[arg-type] # one of the kinds
        thing="n1",
        quantity=quantity,
        from_milliseconds=BEGINS + round(begins * 1000),
        to_milliseconds=BEGINS + round(ends * 1000),
        amount=amount,
        method="interpolated",
        reason="restart",
        device=fields.get("device"),
        served_model=fields.get("served_model"),
    )


def node(*active: float, energy: float | None = None, unknown: int = 0) -> NodeRow:
    """Return a node whose devices were active; ``unknown`` more said nothing."""
    times = (len(active) * STEP, 0, 0, 0, unknown * STEP)
    measured = (fsum(active) if active else None, None, None, None, None)
    share = Share("M", "none", times, measured, "counter", "missing" if unknown else "ok")
    return NodeRow(STEP, (share,), STEP, energy)


def meter(energy: float | None, covered: int = STEP, **fields: object) -> MeterRow:
    return MeterRow(STEP, covered, energy, **fields)  # type: ignore[arg-type] # by name


def engine(output: int | None, covered: int = STEP, **fields: object) -> EngineRow:
    made: dict[str, object] = {"input_tokens": 10, "cached_input_tokens": 4, **fields}
    served = Served("llama", covered, output_tokens=output, **made)  # type: ignore[arg-type] # by name
    return EngineRow(STEP, (served,))


def exact(values: list[float]) -> float:
    """Return the sum, rounded once, by whole fractions."""
    return float(sum(map(Fraction, values), Fraction(0)))
