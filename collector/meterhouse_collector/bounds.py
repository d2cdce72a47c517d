"""What no machine can have measured, however it is built: a sum that held it would stay wrong.

The bounds are far above what there is, so that they stop numbers gone wrong and no reading.
"""

import re
from collections.abc import Iterable
from typing import Final

from meterhouse_agent import wire
from meterhouse_collector.rows import POLICY_DAYS
from meterhouse_collector.store.line_protocol import can_be_tag

DEVICE_WATTS_MAX: Final = 1e5
NODE_WATTS_MAX: Final = 1e7
METER_WATTS_MAX: Final = 1e10
LITRES_PER_SECOND_MAX: Final = 1e6
TOKENS_PER_SECOND_MAX: Final = 1e9
CELSIUS_MIN: Final = -100.0
CELSIUS_MAX: Final = 200.0
# A clock that was set back puts the energy of hours into a span of seconds.
_SPAN_SLACK_SECONDS: Final = 86_400
_LEDGER_SECONDS: Final = POLICY_DAYS["ledger"] * 86_400
_TOKENS: Final = re.compile(r"(?:cached_)?input_tokens|output_tokens")


class ImplausibleError(ValueError):
    """A reading that none can be; the text names it."""


def check_report(report: wire.Report) -> None:
    """Raise ``ImplausibleError`` for amounts that nothing can draw, make or carry in the time.

    The same for registers and spans at times that the report cannot know of.
    """
    length = report.length_seconds
    if report.accelerators is not None:
        most = DEVICE_WATTS_MAX * length
        for column in report.accelerators.state_joules.values():
            # One look at most columns: every report has them. The contract lets nothing below 0 in.
            if None in column or (column and max(column) > most):  # type: ignore[operator, type-var] # no None
                _check("energy of a device", column, most)
    host = report.host
    if host is not None:
        energies = (host.energy_joules, host.cpu_energy_joules)
        _check("energy of the node", energies, NODE_WATTS_MAX * length)
    for meter in report.meters:
        _check_meter(meter, report)
    for engine in report.engines:
        tokens = (engine.input_tokens, engine.cached_input_tokens, engine.output_tokens)
        counts = (*tokens, *engine.requests.values())
        _check(f"counts of engine {engine.engine}", counts, TOKENS_PER_SECOND_MAX * length)
    for span in report.spans:
        _check_span(span, report)
    for sensor in report.sensors:
        celsius = (sensor.temperature_celsius, sensor.temperature_celsius_max)
        _check(f"temperature of sensor {sensor.sensor}", celsius, CELSIUS_MAX, least=CELSIUS_MIN)


def _check_meter(meter: wire.Meter, report: wire.Report) -> None:
    length = report.length_seconds
    name = f"meter {meter.meter}"
    _check(f"energy of {name}", (meter.energy_joules,), METER_WATTS_MAX * length)
    _check(f"volume of {name}", (meter.volume_litres,), LITRES_PER_SECOND_MAX * length)
    powers = (meter.power_watts, meter.power_watts_max)
    _check(f"power of {name}", powers, METER_WATTS_MAX, least=-METER_WATTS_MAX)
    # Each stands at its own time in the database: one day of every year would be a shard.
    for register in meter.registers:
        at = register.at_milliseconds // 1000
        if not report.start_seconds - _LEDGER_SECONDS <= at <= _end(report):
            raise ImplausibleError(f"{name}: a register at {at}, far from its report")


def _check_span(span: wire.Span, report: wire.Report) -> None:
    name = f"span of {span.kind} {span.thing}"
    if span.to_milliseconds > _end(report) * 1000:
        raise ImplausibleError(f"{name} ends at {span.to_milliseconds} ms, after its report")
    seconds = (span.to_milliseconds - span.from_milliseconds) / 1000 + _SPAN_SLACK_SECONDS
    if span.quantity == "energy_joules":
        most = NODE_WATTS_MAX if span.kind == "node" else METER_WATTS_MAX
    elif span.quantity == "volume_litres":
        most = LITRES_PER_SECOND_MAX
    elif _TOKENS.fullmatch(span.quantity) is not None:
        most = TOKENS_PER_SECOND_MAX
    else:
        return
    _check(f"amount of the {name}", (span.amount,), most * seconds)


def _end(report: wire.Report) -> int:
    # What closes an interval may be read a little after it.
    return report.start_seconds + report.length_seconds + wire.QUARTER_SECONDS


def _check(what: str, values: Iterable[float | None], most: float, least: float = 0.0) -> None:
    for value in values:
        if value is not None and not least <= value <= most:
            raise ImplausibleError(f"{what} is {value!r}: only {least:g} to {most:g} is taken")


def check_tags(names: Iterable[str]) -> None:
    """Raise ``ValueError`` for a name that cannot be written as a tag, an empty one aside."""
    for name in names:
        if name and not can_be_tag(name):
            raise ValueError(f"{name!r} cannot be written as a tag")
