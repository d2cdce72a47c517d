"""Meters behind one Modbus TCP gateway.

One request is outstanding at a time, because gateways serialise them onto one RS-485 line anyway.
Each value is a request of its own (at most 4 words), so that a register that a meter refuses does
not take another with it. A meter that fails is read last in the next round, so that waiting for it
costs nobody else a reading.
"""

import asyncio
import logging
import time
from dataclasses import dataclass, field
from typing import Annotated, Final, cast

from pydantic import Field, StringConstraints, model_validator

from meterhouse_agent.samples import Counter, MeterSample, Readings, Things
from meterhouse_agent.settings import DurationSeconds, Section, SourceConfig
from meterhouse_agent.sources import SourceError
from meterhouse_agent.sources.modbus_gateway import ConnectionFault, Gateway, GatewayFault
from meterhouse_agent.sources.modbus_profiles import (
    PROFILES,
    EnergyRegister,
    PowerRegister,
    ProfileName,
    VolumeRegister,
    energy_ticks,
    power_watts,
    volume_ticks,
)
from meterhouse_agent.wire import NAME_PATTERN

_LOG: Final = logging.getLogger(__name__)
_MARGIN_SECONDS: Final = 0.1
_FAULTS_SHOWN: Final = 3


class MeterConfig(Section):
    """One meter behind the gateway; ``power_max_watts`` bounds the energy it can count."""

    name: Annotated[str, StringConstraints(pattern=NAME_PATTERN)]
    unit_id: Annotated[int, Field(ge=0, le=255)]
    profile: ProfileName
    energy: EnergyRegister | None = None
    power: PowerRegister | None = None
    volume: VolumeRegister | None = None
    power_max_watts: Annotated[float, Field(gt=0.0, le=1e12)] | None = None

    @model_validator(mode="after")
    def _registers_if_custom(self) -> "MeterConfig":
        electric = self.energy is not None or self.power is not None
        given = electric or self.volume is not None
        if self.profile == "custom" and not given:
            raise ValueError(
                'profile "custom" needs energy = {...}, power = {...} or both; or volume = {...}'
            )
        if self.profile != "custom" and given:
            raise ValueError('registers are given for profile = "custom" only')
        if self.volume is not None and (electric or self.power_max_watts is not None):
            raise ValueError("a meter with a volume has no energy, power or power_max_watts")
        return self

    @property
    def registers(self) -> tuple[EnergyRegister | None, PowerRegister | None]:
        """The registers of the profile, or those of the config."""
        profile = PROFILES.get(self.profile)
        return (self.energy, self.power) if profile is None else (profile.energy, profile.power)


class Config(SourceConfig):
    """One gateway and its meters; ``timeout`` bounds one request and one connect, in seconds."""

    sample_every: DurationSeconds = "5s"  # type: ignore[assignment] # validated default
    deadline: DurationSeconds = "4s"  # type: ignore[assignment] # validated default
    host: Annotated[str, Field(min_length=1, max_length=253)]
    port: Annotated[int, Field(ge=1, le=65535)] = 502
    timeout: DurationSeconds = "1s"  # type: ignore[assignment] # validated default
    meters: Annotated[list[MeterConfig], Field(min_length=1, max_length=247)]

    @model_validator(mode="after")
    def _consistent(self) -> "Config":
        if not 0.0 < self.timeout <= self.deadline - _MARGIN_SECONDS:
            raise ValueError("timeout must be positive, and below deadline by 100ms")
        names = [meter.name for meter in self.meters]
        if len(set(names)) != len(names):
            raise ValueError("two meters have the same name")
        return self


@dataclass(slots=True)
class _Attempt:
    """What one meter gave this round: either value, when it was taken, and what went wrong."""

    energy: Counter | None = None
    energy_at: int = 0
    volume: Counter | None = None
    volume_at: int = 0
    power: float | None = None
    power_at: int = 0
    faults: list[str] = field(default_factory=list)
    late: bool = False


class ModbusSource:
    """The meters of one gateway."""

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
        """Name the meters of the config."""
        return Things(meters=tuple(meter.name for meter in self._config.meters))

    async def read(self, at_milliseconds: int) -> Readings:  # noqa: ARG002 - samples have their own time
        """Read every meter once, those that failed last time at the end, while there is time."""
        self._round += 1
        end = time.monotonic() + self._config.deadline - _MARGIN_SECONDS
        samples: dict[str, MeterSample] = {}
        faults: dict[str, str] = {}
        waiting = sorted(
            self._config.meters, key=lambda meter: self._failed_in_round.get(meter.name, 0)
        )
        lost = ""
        for meter in waiting:
            left = end - time.monotonic()
            if lost or left <= 0.0:
                faults[meter.name] = lost or "no time left in its round"
                continue
            try:
                attempt = await self._read_meter(meter, left)
            except GatewayFault as fault:
                faults[meter.name] = lost = str(fault)
                continue
            sample = _sample(meter, attempt)
            if sample is None or attempt.late:
                self._failed_in_round[meter.name] = self._round
            else:
                self._failed_in_round.pop(meter.name, None)
            if sample is None:
                faults[meter.name] = "; ".join(attempt.faults)
            else:
                samples[meter.name] = sample
        if not samples:
            raise self._error([f"meter {name}: {fault}" for name, fault in faults.items()])
        self._tell(faults)
        in_order = (meter.name for meter in self._config.meters)
        return Readings(meters=tuple(samples[name] for name in in_order if name in samples))

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
        """Say once that a meter fell silent among others that did not, and once that it is back."""
        for name in faults.keys() - self._silent:
            _LOG.warning(
                "gateway %s: meter %s is left out: %s", self._config.host, name, faults[name]
            )
        for name in self._silent - faults.keys():
            _LOG.info("gateway %s: meter %s reads again", self._config.host, name)
        self._silent = frozenset(faults)

    async def _read_meter(self, meter: MeterConfig, left_seconds: float) -> _Attempt:
        attempt = _Attempt()
        try:
            async with asyncio.timeout(left_seconds):
                await self._fill(attempt, meter)
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

    def _error(self, faults: list[str]) -> SourceError:
        more = len(faults) - _FAULTS_SHOWN
        shown = "; ".join(faults[:_FAULTS_SHOWN]) + (f"; and {more} more" if more > 0 else "")
        return SourceError(
            f"Modbus gateway {self._config.host}, port {self._config.port}: tried "
            f"{len(self._config.meters)} meters, none could be read: {shown}. Check that the "
            "gateway is up and takes one more connection, the unit ids, and the profiles"
        )


def _sample(meter: MeterConfig, attempt: _Attempt) -> MeterSample | None:
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
