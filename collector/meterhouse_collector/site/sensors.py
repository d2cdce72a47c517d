"""Sensors of the facility: where each is, and which of its readings are no alarm."""

from collections.abc import Mapping
from typing import Annotated, Final, Literal, NamedTuple

from pydantic import Field, model_validator

from meterhouse_collector.site.base import Lasting, Name

SensorKind = Literal["inlet", "coolant", "leak", "breaker"]
SensorClass = Literal["A1", "A2", "A3", "A4", "W17", "W27", "W32", "W40", "W45", "W+"]
TEMPERATURE_KINDS: Final[tuple[SensorKind, ...]] = ("inlet", "coolant")

Celsius = Annotated[float, Field(ge=-60, le=150, allow_inf_nan=False)]


class Allowed(NamedTuple):
    """What a temperature may be, from and to; None is no bound."""

    low_celsius: float | None
    high_celsius: float | None


# ASHRAE TC 9.9, Thermal Guidelines for Data Processing Environments, 5th edition, 2021: the
# allowable dry-bulb temperature of inlet air, and the highest supply temperature of facility water,
# which after W45 has no bound in its class.
INLET_CLASSES: Final[Mapping[str, Allowed]] = {
    "A1": Allowed(15.0, 32.0),
    "A2": Allowed(10.0, 35.0),
    "A3": Allowed(5.0, 40.0),
    "A4": Allowed(5.0, 45.0),
}
COOLANT_CLASSES: Final[Mapping[str, Allowed]] = {
    "W17": Allowed(None, 17.0),
    "W27": Allowed(None, 27.0),
    "W32": Allowed(None, 32.0),
    "W40": Allowed(None, 40.0),
    "W45": Allowed(None, 45.0),
    "W+": Allowed(None, None),
}


class Sensor(Lasting):
    """A sensor: the temperature of inlet air or coolant, or the contact of a leak or breaker.

    ``low_celsius`` and ``high_celsius`` take the place of the class's.
    """

    name: Name
    kind: SensorKind
    cluster: Name | None = None
    class_: SensorClass | None = Field(None, alias="class")
    low_celsius: Celsius | None = None
    high_celsius: Celsius | None = None
    readers: tuple[Name, ...] = ()

    @model_validator(mode="after")
    def _bounds(self) -> "Sensor":
        given = (self.class_, self.low_celsius, self.high_celsius)
        if self.kind not in TEMPERATURE_KINDS:
            if given != (None, None, None):
                raise ValueError(
                    "class, low_celsius and high_celsius with one of the kinds"
                    f" {', '.join(TEMPERATURE_KINDS)} only"
                )
            return self
        classes = INLET_CLASSES if self.kind == "inlet" else COOLANT_CLASSES
        if self.class_ is not None and self.class_ not in classes:
            raise ValueError(f'a class of {", ".join(classes)} with kind = "{self.kind}"')
        low, high = self.allowed
        if low is None and high is None:
            raise ValueError("a class that has a bound, or low_celsius, or high_celsius")
        if low is not None and high is not None and low >= high:
            raise ValueError(f"a low_celsius below high_celsius: {low:g} is not below {high:g}")
        return self

    @property
    def allowed(self) -> Allowed:
        """What its temperature may be."""
        low, high = {**INLET_CLASSES, **COOLANT_CLASSES}.get(self.class_ or "", Allowed(None, None))
        return Allowed(
            low if self.low_celsius is None else self.low_celsius,
            high if self.high_celsius is None else self.high_celsius,
        )
