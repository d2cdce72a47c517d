"""The section of one Modbus gateway: its meters and its sensors."""

from typing import Annotated, Final

from pydantic import Field, StringConstraints, model_validator

from meterhouse_agent.settings import DurationSeconds, Section, SourceConfig
from meterhouse_agent.sources.modbus_profiles import (
    PROFILES,
    EnergyRegister,
    PowerRegister,
    ProfileName,
    VolumeRegister,
)
from meterhouse_agent.sources.modbus_sensors import SensorConfig
from meterhouse_agent.wire import MAX_SENSORS, NAME_PATTERN

MARGIN_SECONDS: Final = 0.1


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
    """One gateway, its meters and sensors; ``timeout`` bounds a request or connect, in seconds."""

    sample_every: DurationSeconds = "5s"  # type: ignore[assignment] # validated default
    deadline: DurationSeconds = "4s"  # type: ignore[assignment] # validated default
    host: Annotated[str, Field(min_length=1, max_length=253)]
    port: Annotated[int, Field(ge=1, le=65535)] = 502
    timeout: DurationSeconds = "1s"  # type: ignore[assignment] # validated default
    meters: Annotated[list[MeterConfig], Field(default_factory=list, max_length=247)]
    sensors: Annotated[list[SensorConfig], Field(default_factory=list, max_length=MAX_SENSORS)]

    @model_validator(mode="after")
    def _consistent(self) -> "Config":
        if not 0.0 < self.timeout <= self.deadline - MARGIN_SECONDS:
            raise ValueError("timeout must be positive, and below deadline by 100ms")
        names = [thing.name for thing in self.things]
        if not names:
            raise ValueError("at least one of [[source.meters]] or [[source.sensors]]")
        if len(set(names)) != len(names):
            raise ValueError("two meters or sensors have the same name")
        return self

    @property
    def things(self) -> "list[MeterConfig | SensorConfig]":
        """All that is read, in the order in which it is read."""
        return [*self.meters, *self.sensors]
