"""Meters and sensors behind one Modbus TCP gateway.

One request is outstanding at a time, because gateways serialise them onto one RS-485 line anyway.
Each value is a request of its own (at most 4 words), so that a register that a meter refuses does
not take another with it. What fails is read last in the next round, so that waiting for it costs
nothing else a reading.
"""

import asyncio
import logging
import time
from dataclasses import dataclass, field
from typing import Final, cast

from meterhouse_agent.samples import Counter, MeterSample, Readings, SensorSample, Things
from meterhouse_agent.settings import SourceConfig
from meterhouse_agent.sources import SourceError
from meterhouse_agent.sources.modbus_config import MARGIN_SECONDS, Config, MeterConfig
from meterhouse_agent.sources.modbus_gateway import (
    Answer,
    ConnectionFault,
    Gateway,
    GatewayFault,
)
from meterhouse_agent.sources.modbus_profiles import (
    PROFILES,
    EnergyRegister,
    VolumeRegister,
    energy_ticks,
    power_watts,
    volume_ticks,
)
from meterhouse_agent.sources.modbus_sensors import (
    Contact,
    SensorConfig,
    TemperatureRegister,
    temperature_celsius,
)

_LOG: Final = logging.getLogger(__name__)
_FAULTS_SHOWN: Final = 3


@dataclass(slots=True)
class _Attempt:
    """What a meter or sensor gave this round: values, when they were taken, and what went wrong."""

    energy: Counter | None = None
    energy_at: int = 0
    volume: Counter | None = None
    volume_at: int = 0
    power: float | None = None
    power_at: int = 0
    sensor: SensorSample | None = None
    faults: list[str] = field(default_factory=list)
    late: bool = False


class ModbusSource:
    """The meters and sensors of one gateway."""

    replayable = False

    def __init__(self, config: Config) -> None:
        self._config = config
        self._gateway = Gateway(config.host, config.port, config.timeout)
        self._failed_in_round: dict[str, int] = {}
        self._round = 0
        self._warned = False
        self._silent: frozenset[str] = frozenset()

    async def open(self) -> None:
        """Connect to the gateway; raise ``SourceError`` where it takes no connection."""
        # It logs every failed request as an error; here that is an outcome, told once by the loop.
        logging.getLogger("pymodbus.logging").setLevel(logging.CRITICAL)
        self._warn_of_profiles()
        try:
            await self._gateway.connect()
        except GatewayFault as fault:
            raise self._error([str(fault)]) from None

    def things(self) -> Things:
        """Name the meters and sensors of the config."""
        return Things(
            meters=tuple(meter.name for meter in self._config.meters),
            sensors=tuple(sensor.name for sensor in self._config.sensors),
        )

    async def read(self, at_milliseconds: int) -> Readings:  # noqa: ARG002 - samples have their own time
        """Read everything once, what failed last time at the end, while there is time."""
        self._round += 1
        end = time.monotonic() + self._config.deadline - MARGIN_SECONDS
        samples: dict[str, MeterSample | SensorSample] = {}
        faults: dict[str, str] = {}
        things = self._config.things
        lost = ""
        for thing in sorted(things, key=lambda thing: self._failed_in_round.get(thing.name, 0)):
            left = end - time.monotonic()
            if lost or left <= 0.0:
                faults[_what(thing)] = lost or "no time left in its round"
                continue
            try:
                attempt = await self._read_thing(thing, left)
            except GatewayFault as fault:
                faults[_what(thing)] = lost = str(fault)
                continue
            sample = _sample(thing, attempt)
            if sample is None or attempt.late:
                self._failed_in_round[thing.name] = self._round
            else:
                self._failed_in_round.pop(thing.name, None)
            if sample is None:
                faults[_what(thing)] = "; ".join(attempt.faults)
            else:
                samples[thing.name] = sample
        if not samples:
            raise self._error([f"{what}: {fault}" for what, fault in faults.items()])
        self._tell(faults)
        in_order = [samples[thing.name] for thing in things if thing.name in samples]
        return Readings(
            meters=tuple(sample for sample in in_order if isinstance(sample, MeterSample)),
            sensors=tuple(sample for sample in in_order if isinstance(sample, SensorSample)),
        )

    async def close(self) -> None:
        """Close the connection."""
        self._gateway.drop()

    def _warn_of_profiles(self) -> None:
        for meter in self._config.meters:
            unverified = meter.profile in PROFILES and PROFILES[meter.profile].unverified
            if unverified and not self._warned:
                _LOG.warning(
                    "meter %s: profile %s is unverified, compare its first readings with the "
                    "meter's display",
                    meter.name,
                    meter.profile,
                )
        self._warned = True

    def _tell(self, faults: dict[str, str]) -> None:
        """Say once what fell silent among others that did not, and once that it is back."""
        for what in faults.keys() - self._silent:
            _LOG.warning("gateway %s: %s is left out: %s", self._config.host, what, faults[what])
        for what in self._silent - faults.keys():
            _LOG.info("gateway %s: %s reads again", self._config.host, what)
        self._silent = frozenset(faults)

    async def _read_thing(self, thing: MeterConfig | SensorConfig, left_seconds: float) -> _Attempt:
        attempt = _Attempt()
        try:
            async with asyncio.timeout(left_seconds):
                if isinstance(thing, SensorConfig):
                    await self._fill_sensor(attempt, thing)
                else:
                    await self._fill(attempt, thing)
        except (ConnectionFault, TimeoutError) as fault:
            # Its answer may still come, and must not be taken for the next request's.
            self._gateway.drop()
            attempt.late = True
            attempt.faults.append(str(fault) or "no answer in the time left")
        except asyncio.CancelledError:
            self._gateway.drop()
            raise
        return attempt

    async def _fill(self, attempt: _Attempt, meter: MeterConfig) -> None:
        energy_register, power_register = meter.registers
        if energy_register is not None:
            answer = await self._gateway.ask(meter.unit_id, energy_register)
            attempt.energy = _energy(answer.value, energy_register, meter.power_max_watts)
            attempt.energy_at = answer.at_milliseconds
            attempt.faults.append(f"energy register {energy_register.address}: {answer.fault}")
            if answer.meter_gone:
                return
        if power_register is not None:
            answer = await self._gateway.ask(meter.unit_id, power_register)
            if answer.value is not None:
                attempt.power = power_watts(answer.value, power_register)
            attempt.power_at = answer.at_milliseconds
            attempt.faults.append(f"power register {power_register.address}: {answer.fault}")

        if meter.volume is not None:
            answer = await self._gateway.ask(meter.unit_id, meter.volume)
            attempt.volume = _volume(answer.value, meter.volume)
            attempt.volume_at = answer.at_milliseconds
            attempt.faults.append(f"volume register {meter.volume.address}: {answer.fault}")

    async def _fill_sensor(self, attempt: _Attempt, sensor: SensorConfig) -> None:
        if sensor.temperature is not None:
            register = sensor.temperature
            answer = await self._gateway.ask(sensor.unit_id, register)
            attempt.sensor = _temperature(sensor.name, answer, register)
            fault = answer.fault if answer.value is None else f"{answer.value:g} is no temperature"
            attempt.faults.append(f"temperature register {register.address}: {fault}")
        elif sensor.contact is not None:
            answer = await self._gateway.ask_contact(sensor.unit_id, sensor.contact)
            attempt.sensor = _alarmed(sensor.name, answer, sensor.contact)
            attempt.faults.append(f"contact {sensor.contact.address}: {answer.fault}")

    def _error(self, faults: list[str]) -> SourceError:
        more = len(faults) - _FAULTS_SHOWN
        shown = "; ".join(faults[:_FAULTS_SHOWN]) + (f"; and {more} more" if more > 0 else "")
        return SourceError(
            f"Modbus gateway {self._config.host}, port {self._config.port}: tried "
            f"{self._tried()}, none could be read: {shown}. Check that the "
            "gateway is up and takes one more connection, the unit ids, and the profiles"
        )

    def _tried(self) -> str:
        meters, sensors = len(self._config.meters), len(self._config.sensors)
        return " and ".join(
            f"{count} {what}" for count, what in ((meters, "meters"), (sensors, "sensors")) if count
        )


def _what(thing: MeterConfig | SensorConfig) -> str:
    return f"{'sensor' if isinstance(thing, SensorConfig) else 'meter'} {thing.name}"


def _sample(
    thing: MeterConfig | SensorConfig, attempt: _Attempt
) -> MeterSample | SensorSample | None:
    return attempt.sensor if isinstance(thing, SensorConfig) else _meter_sample(thing, attempt)


def _temperature(name: str, answer: Answer, register: TemperatureRegister) -> SensorSample | None:
    celsius = None if answer.value is None else temperature_celsius(answer.value, register)
    if celsius is None:
        return None
    return SensorSample(
        sensor=name, at_milliseconds=answer.at_milliseconds, temperature_celsius=celsius
    )


def _alarmed(name: str, answer: Answer, contact: Contact) -> SensorSample | None:
    if answer.value is None:
        return None
    alarmed = bool(answer.value) == contact.alarm_when
    return SensorSample(sensor=name, at_milliseconds=answer.at_milliseconds, alarmed=alarmed)


def _meter_sample(meter: MeterConfig, attempt: _Attempt) -> MeterSample | None:
    if attempt.volume is not None:
        return MeterSample(
            meter=meter.name, at_milliseconds=attempt.volume_at, volume_litres=attempt.volume
        )
    if attempt.energy is None and attempt.power is None:
        return None
    return MeterSample(
        meter=meter.name,
        at_milliseconds=attempt.power_at if attempt.energy is None else attempt.energy_at,
        energy_joules=attempt.energy,
        power_watts=attempt.power,
    )


def _energy(
    count: float | None, register: EnergyRegister, power_max_watts: float | None
) -> Counter | None:
    ticks = None if count is None else energy_ticks(count, register)
    if ticks is None:
        return None
    return Counter(
        ticks=ticks[0],
        unit=ticks[1],
        modulus_ticks=None if register.is_float else register.modulus_ticks,
        rate_max=power_max_watts,
    )


def _volume(count: float | None, register: VolumeRegister) -> Counter | None:
    ticks = None if count is None else volume_ticks(count, register)
    if ticks is None:
        return None
    modulus = None if register.is_float else register.modulus_ticks
    return Counter(ticks=ticks[0], unit=ticks[1], modulus_ticks=modulus)


def create(config: SourceConfig, *, node: str) -> ModbusSource:  # noqa: ARG001 - meters have their own names
    """Return the source of one gateway, not yet connected."""
    return ModbusSource(cast("Config", config))
