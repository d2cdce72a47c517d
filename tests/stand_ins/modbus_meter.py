"""A real Modbus TCP gateway with meters and sensors, and the log of every value meters served.

The meters' energy registers integrate a known power in whole register counts. What was served is
the truth of a test: the log is written when the value leaves, not from what a client made of it.
"""

import asyncio
import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal, Self

from pymodbus.client import AsyncModbusTcpClient
from pymodbus.constants import ExcCodes
from pymodbus.server import ModbusTcpServer
from pymodbus.simulator import DataType, SimData, SimDevice

from meterhouse_agent.sources.modbus_profiles import EnergyRegister, PowerRegister, Register
from meterhouse_agent.sources.modbus_sensors import Contact, TemperatureRegister
from tests.servers import Port

Quantity = Literal["energy", "power"]
# A 16-bit word that no served value of these tests begins with.
GARBAGE = b"\xde\xad"


def to_words(value: float, register: Register) -> list[int]:
    """Encode with pymodbus, not with the code under test."""
    kind = AsyncModbusTcpClient.DATATYPE[register.type.upper()]
    number = float(value) if register.is_float else int(value)
    return AsyncModbusTcpClient.convert_to_registers(number, kind, register.word_order)


def nothing_there(register: Register) -> list[int]:
    """Return the words of "not available": NaN, or all ones (signed: the largest number)."""
    if register.is_float:
        return to_words(math.nan, register)
    words = [0xFFFF] * register.words
    if register.type.startswith("int"):
        words[0 if register.word_order == "big" else -1] = 0x7FFF
    return words


@dataclass(frozen=True, slots=True)
class Served:
    """One value that left: in counts of the register, at a UTC time in seconds."""

    unit_id: int
    quantity: Quantity
    count: float
    at_seconds: float
    late: bool


@dataclass(slots=True, kw_only=True)
class StandInMeter:
    """One meter: its registers, its power in watts, and the switches of its faults."""

    unit_id: int
    energy: EnergyRegister | None = None
    power: PowerRegister | None = None
    watts: float = 0.0
    clock: Callable[[], float] = time.time
    exception: ExcCodes | None = None
    energy_exception: ExcCodes | None = None
    not_available: bool = False
    delay_seconds: float = 0.0
    _joules: float = 0.0
    _since: float = field(default=math.nan)

    def __post_init__(self) -> None:
        self._since = self.clock()

    def joules(self) -> float:
        """Return the energy counted so far, in joules."""
        now = self.clock()
        self._joules += self.watts * max(0.0, now - self._since)
        self._since = now
        return self._joules

    def draw(self, watts: float) -> None:
        """Draw another power from now on."""
        self.joules()
        self.watts = watts

    def preset(self, joules: float) -> None:
        """Set the energy register: to zero it is a reset, below its value a jump back."""
        self.joules()
        self._joules = joules

    def count(self, quantity: Quantity) -> float:
        """Return what the register holds now, in its counts."""
        if quantity == "power":
            assert self.power is not None
            return self.watts / self.power.watts_per_count
        assert self.energy is not None
        counts = self.joules() / self.energy.joules_per_count
        if self.energy.is_float:
            return counts
        modulus = self.energy.modulus_ticks
        return math.floor(counts) if modulus is None else math.floor(counts) % modulus

    def registers(self) -> list[tuple[Quantity, Register]]:
        """Return the registers this meter has."""
        both: list[tuple[Quantity, Register | None]] = [
            ("energy", self.energy),
            ("power", self.power),
        ]
        return [(quantity, register) for quantity, register in both if register is not None]


@dataclass(slots=True, kw_only=True)
class StandInSensor:
    """One sensor: its register in counts or its contact, and the switches of its faults."""

    unit_id: int
    temperature: TemperatureRegister | None = None
    contact: Contact | None = None
    count: float = 0.0
    closed: bool = False
    exception: ExcCodes | None = None
    not_available: bool = False
    delay_seconds: float = 0.0

    @property
    def place(self) -> tuple[int, int]:
        """The function and the address that it answers."""
        register = self.temperature or self.contact
        assert register is not None
        return register.function_code, register.address

    def words(self) -> list[int]:
        """Return what it holds; of a contact all bits of its word are the same."""
        if self.temperature is None:
            return [0xFFFF if self.closed else 0]
        if self.not_available:
            return nothing_there(self.temperature)
        return to_words(self.count, self.temperature)


class ModbusGateway:
    """A gateway on a free port of the loopback, its meters by unit id, and what it served."""

    def __init__(self, *things: StandInMeter | StandInSensor) -> None:
        self.meters = {each.unit_id: each for each in things if isinstance(each, StandInMeter)}
        self.sensors = {each.unit_id: each for each in things if isinstance(each, StandInSensor)}
        self.served: list[Served] = []
        self.garbage = False
        self.connections = 0
        self._port = Port()
        self.port = self._port.number
        self._server: ModbusTcpServer | None = None

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()
        self._port.release()

    async def start(self) -> None:
        """Listen; after a stop on the same port again."""
        self._server = ModbusTcpServer(
            [
                *(self._device(meter) for meter in self.meters.values()),
                *(_sensor_device(sensor) for sensor in self.sensors.values()),
            ],
            address=("127.0.0.1", self.port),
            trace_packet=self._packet,
            trace_connect=self._connected,
        )
        await self._server.serve_forever(background=True)

    async def stop(self) -> None:
        """Close the port and all connections."""
        if self._server is not None:
            await self._server.shutdown()  # type: ignore[no-untyped-call] # pymodbus
            self._server = None

    def served_by(self, unit_id: int, quantity: Quantity) -> list[Served]:
        """Return what left in time, for one register."""
        return [
            entry
            for entry in self.served
            if (entry.unit_id, entry.quantity, entry.late) == (unit_id, quantity, False)
        ]

    def _packet(self, sending: bool, data: bytes) -> bytes:  # noqa: FBT001 - pymodbus calls it so
        if not (sending and self.garbage):
            return data
        # The frame stays whole, and says something that nobody asked for.
        return data[:7] + b"\x2b" + GARBAGE * (len(data[8:]) // 2)

    def _connected(self, connected: bool) -> None:  # noqa: FBT001 - pymodbus calls it so
        self.connections += connected

    def _device(self, meter: StandInMeter) -> SimDevice:
        async def act(
            function_code: int,
            start: int,
            address: int,
            count: int,
            current: list[int],
            _written: list[int] | list[bool] | None,
        ) -> ExcCodes | None:
            found = [
                (quantity, register)
                for quantity, register in meter.registers()
                if register.address == address and register.words == count
            ]
            if not found or found[0][1].function_code != function_code:
                return ExcCodes.ILLEGAL_ADDRESS
            quantity, register = found[0]
            return await self._serve(meter, quantity, register, (start, current))

        blocks = [
            SimData(register.address, values=[0] * register.words, datatype=DataType.UINT16)
            for _, register in sorted(meter.registers(), key=lambda entry: entry[1].address)
        ]
        return SimDevice(meter.unit_id, simdata=blocks, action=act)

    async def _serve(
        self,
        meter: StandInMeter,
        quantity: Quantity,
        register: Register,
        block: tuple[int, list[int]],
    ) -> ExcCodes | None:
        refusal = meter.exception or (meter.energy_exception if quantity == "energy" else None)
        late = meter.delay_seconds > 0.0
        # The value is taken before the wait: a late answer carries an old value.
        value, at = meter.count(quantity), time.time()
        words = nothing_there(register) if meter.not_available else to_words(value, register)
        if late:
            await asyncio.sleep(meter.delay_seconds)
        if refusal is not None:
            return refusal
        start, current = block
        current[register.address - start : register.address - start + register.words] = words
        if not meter.not_available and not self.garbage:
            self.served.append(Served(meter.unit_id, quantity, value, at, late))
        return None


def _sensor_device(sensor: StandInSensor) -> SimDevice:
    async def act(
        function_code: int,
        start: int,
        address: int,
        _count: int,
        current: list[int],
        _written: list[int] | list[bool] | None,
    ) -> ExcCodes | None:
        if (function_code, address) != sensor.place:
            return ExcCodes.ILLEGAL_ADDRESS
        words = sensor.words()
        if sensor.delay_seconds > 0.0:
            await asyncio.sleep(sensor.delay_seconds)
        current[address - start : address - start + len(words)] = words
        return sensor.exception

    block = SimData(sensor.place[1], values=[0] * len(sensor.words()), datatype=DataType.UINT16)
    return SimDevice(sensor.unit_id, simdata=[block], action=act)
