"""Registers of meters: how each is read, and how its counts become joules, watts and litres.

Addresses are those of the protocol (PDU, from 0): a manual's register 3060 is 3059 here.
No profile has met its device here; each names who else reads it that way, and what no second
reader confirms is marked unverified.
"""

import math
import struct
from collections.abc import Mapping, Sequence
from typing import Annotated, Final, Literal

from pydantic import Field, model_validator

from meterhouse_agent.settings import Section

RegisterType = Literal[
    "int16", "uint16", "int32", "uint32", "int64", "uint64", "float32", "float64"
]
WordOrder = Literal["big", "little"]
ProfileName = Literal[
    "schneider_pm5000",
    "schneider_iem3000",
    "schneider_iem3x55",
    "eastron_sdm630",
    "abb_b23",
    "custom",
]

JOULES_PER_WH: Final = 3600.0
JOULES_PER_KWH: Final = 3_600_000.0
WATTS_PER_KW: Final = 1000.0
_MILLILITRE: Final = 0.001
LAST_ADDRESS: Final = 65535
# What the contract carries at most; a register beyond it holds garbage, not a reading.
LARGEST_AMOUNT: Final = 1e15

PerCount = Annotated[float, Field(gt=0.0, le=1e12, allow_inf_nan=False)]

_FORMATS: Final[Mapping[str, str]] = {
    "int16": ">h",
    "uint16": ">H",
    "int32": ">i",
    "uint32": ">I",
    "int64": ">q",
    "uint64": ">Q",
    "float32": ">f",
    "float64": ">d",
}


class Register(Section):
    """One value of a meter: the words ``address`` and following, read by function 3 or 4."""

    function_code: Literal[3, 4] = 3
    address: Annotated[int, Field(ge=0, le=LAST_ADDRESS)]
    type: RegisterType
    word_order: WordOrder = "big"

    @model_validator(mode="after")
    def _inside(self) -> "Register":
        if self.address + self.words > LAST_ADDRESS + 1:
            raise ValueError(f"address {self.address}: {self.type} ends beyond {LAST_ADDRESS}")
        return self

    @property
    def words(self) -> int:
        """The number of 16-bit words the value takes, 1 to 4."""
        return struct.calcsize(_FORMATS[self.type]) // 2

    @property
    def is_float(self) -> bool:
        """Whether the value is a floating-point number and not a whole count."""
        return self.type in ("float32", "float64")


class CountingRegister(Register):
    """A register that only grows, and begins again at ``modulus``."""

    modulus: Annotated[int, Field(gt=1, le=2**64)] | None = None

    @property
    def modulus_ticks(self) -> int | None:
        """The count at which the register starts again from zero, where that can happen."""
        if self.modulus is not None:
            return self.modulus
        # A signed counter has no use for the sign: it starts again where that would begin.
        by_type = {"uint16": 2**16, "uint32": 2**32, "int16": 2**15, "int32": 2**31}
        return by_type.get(self.type)


class EnergyRegister(CountingRegister):
    """An energy register; one count is ``joules_per_count`` joules."""

    joules_per_count: PerCount


class VolumeRegister(CountingRegister):
    """A register of water or fuel; one count, or pulse, is ``litres_per_count`` litres."""

    litres_per_count: PerCount


class PowerRegister(Register):
    """A power register; one count is ``watts_per_count`` watts, negative where it counts export."""

    watts_per_count: Annotated[float, Field(ge=-1e12, le=1e12, allow_inf_nan=False)]


class Profile(Section):
    """What one family of meters offers, and whether a second reader of it confirms the table."""

    energy: EnergyRegister | None = None
    power: PowerRegister | None = None
    unverified: bool = False


PROFILES: Final[Mapping[str, Profile]] = {
    # Schneider PowerLogic PM5000 register list, as several public readers have it: 3204 active
    # energy delivered, INT64, Wh; 3060 total active power, FLOAT32, kW.
    "schneider_pm5000": Profile(
        energy=EnergyRegister(address=3203, type="int64", joules_per_count=JOULES_PER_WH),
        power=PowerRegister(address=3059, type="float32", watts_per_count=WATTS_PER_KW),
    ),
    # Schneider user guide DOCA0005, as mbmd reads it (meters/rs485/iem3000.go): 0x600C active
    # energy import, FLOAT32, kWh; 0x5012 total active power, FLOAT32, kW.
    "schneider_iem3000": Profile(
        energy=EnergyRegister(address=0x600C, type="float32", joules_per_count=JOULES_PER_KWH),
        power=PowerRegister(address=0x5012, type="float32", watts_per_count=WATTS_PER_KW),
    ),
    # iEM3155, iEM3255, iEM3355 number their registers as the PM5000 does: 3060 is read that way
    # from a real iEM3155 by a public ESPHome configuration; for 3204 there is one reader only.
    "schneider_iem3x55": Profile(
        energy=EnergyRegister(address=3203, type="int64", joules_per_count=JOULES_PER_WH),
        power=PowerRegister(address=3059, type="float32", watts_per_count=WATTS_PER_KW),
        unverified=True,
    ),
    # Eastron SDM630 register list, as mbmd reads it (meters/rs485/sdm.go), input registers:
    # 0x0048 total import, FLOAT32, kWh; 0x0034 total system power, FLOAT32, W.
    "eastron_sdm630": Profile(
        energy=EnergyRegister(
            function_code=4, address=0x0048, type="float32", joules_per_count=JOULES_PER_KWH
        ),
        power=PowerRegister(function_code=4, address=0x0034, type="float32", watts_per_count=1.0),
    ),
    # ABB A and B series manual, as mbmd reads it (meters/rs485/abb.go): 0x5000 active import,
    # unsigned 64 bit, 0.01 kWh; 0x5B14 total active power, signed 32 bit, 0.01 W.
    "abb_b23": Profile(
        energy=EnergyRegister(
            address=0x5000, type="uint64", joules_per_count=JOULES_PER_KWH / 100.0
        ),
        power=PowerRegister(address=0x5B14, type="int32", watts_per_count=0.01),
    ),
}


def decode(registers: Sequence[int], register: Register) -> int | float | None:
    """Return the count in the words of one register, or ``None`` where they say "not available".

    Not available are NaN and the infinities, of unsigned numbers all ones, and of all whole
    numbers the largest and the smallest signed one (0x7FFF..., 0x8000...).
    """
    words = registers if register.word_order == "big" else tuple(reversed(registers))
    raw = b"".join(word.to_bytes(2, "big") for word in words)
    if register.is_float:
        number = float(struct.unpack(_FORMATS[register.type], raw)[0])
        return number if math.isfinite(number) else None
    if raw[1:] == b"\xff" * (len(raw) - 1) and raw[0] == 0x7F:  # noqa: PLR2004 - the pattern itself
        return None
    if raw[0] == 0x80 and not any(raw[1:]):  # noqa: PLR2004 - the pattern itself
        return None
    # All ones is a plain -1 to a signed register: 1 W of export, not a missing value.
    if register.type.startswith("u") and raw == b"\xff" * len(raw):
        return None
    return int(struct.unpack(_FORMATS[register.type], raw)[0])


def energy_ticks(count: float, register: EnergyRegister) -> tuple[int, float] | None:
    """Return whole ticks and the joules of one tick, or ``None`` for what no energy can be.

    A whole count is taken as it is; a floating-point one becomes whole joules.
    """
    return _ticks(count, register.joules_per_count, 1.0)


def volume_ticks(count: float, register: VolumeRegister) -> tuple[int, float] | None:
    """Return whole ticks and the litres of one tick, or ``None`` for what no volume can be.

    A whole count is taken as it is; a floating-point one becomes whole millilitres.
    """
    return _ticks(count, register.litres_per_count, _MILLILITRE)


def _ticks(count: float, per_count: float, finest: float) -> tuple[int, float] | None:
    amount = count * per_count
    if not 0.0 <= amount <= LARGEST_AMOUNT:
        return None
    return (count, per_count) if isinstance(count, int) else (round(amount / finest), finest)


def power_watts(count: float, register: PowerRegister) -> float | None:
    """Return watts, or ``None`` for what no power can be."""
    watts = count * register.watts_per_count
    return watts if abs(watts) <= LARGEST_AMOUNT else None
