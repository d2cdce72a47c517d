"""Sensors behind a Modbus gateway: temperatures in registers, contacts in coils or inputs."""

from typing import Annotated, Final, Literal

from pydantic import Field, StringConstraints, model_validator

from meterhouse_agent.settings import Section
from meterhouse_agent.sources.modbus_profiles import LAST_ADDRESS, PerCount, Register
from meterhouse_agent.wire import NAME_PATTERN

# What no inlet and no coolant can have: a wire that is broken or shorted reads so.
LEAST_CELSIUS: Final = -60.0
MOST_CELSIUS: Final = 150.0


class TemperatureRegister(Register):
    """A register of a temperature; one count is ``celsius_per_count`` degrees."""

    celsius_per_count: PerCount


class Contact(Section):
    """A coil or discrete input, read by function 1 or 2, and the state that means alarm."""

    function_code: Literal[1, 2] = 2
    address: Annotated[int, Field(ge=0, le=LAST_ADDRESS)]
    alarm_when: bool = True


class SensorConfig(Section):
    """One sensor behind the gateway: a temperature or a contact."""

    name: Annotated[str, StringConstraints(pattern=NAME_PATTERN)]
    unit_id: Annotated[int, Field(ge=0, le=255)]
    temperature: TemperatureRegister | None = None
    contact: Contact | None = None

    @model_validator(mode="after")
    def _one(self) -> "SensorConfig":
        if (self.temperature is None) == (self.contact is None):
            raise ValueError("either temperature = {...} or contact = {...}")
        return self


def temperature_celsius(count: float, register: TemperatureRegister) -> float | None:
    """Return degrees Celsius, or ``None`` for what no inlet and no coolant can have."""
    celsius = count * register.celsius_per_count
    return celsius if LEAST_CELSIUS <= celsius <= MOST_CELSIUS else None
