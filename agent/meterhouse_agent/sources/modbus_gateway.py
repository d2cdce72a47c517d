"""One connection to a Modbus TCP gateway, with one request outstanding at a time."""

import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Final

from meterhouse_agent.sources.modbus_profiles import Register, decode
from meterhouse_agent.sources.modbus_sensors import Contact

if TYPE_CHECKING:
    from pymodbus.client import AsyncModbusTcpClient
    from pymodbus.pdu import ModbusPDU

# A contact is the first of the eight bits of its byte.
_BITS: Final = 8
# Illegal function, illegal address, illegal value: the meter lives, it only has no such register.
_NO_SUCH_REGISTER: Final = (1, 2, 3)
_EXCEPTIONS: Final = {
    1: "illegal function",
    2: "illegal address",
    3: "illegal value",
    4: "device failure",
    5: "acknowledge",
    6: "device busy",
    8: "memory parity error",
    10: "gateway path unavailable",
    11: "gateway target did not answer",
}


class ConnectionFault(Exception):  # noqa: N818 - an outcome of one request, never seen outside
    """An answer is late, damaged or lost: what comes next on this connection is not trusted."""


class GatewayFault(Exception):  # noqa: N818 - an outcome of one round, never seen outside
    """The gateway takes no connection: nothing further of this round can be read."""


@dataclass(frozen=True, slots=True)
class Answer:
    """One value in counts, the middle of its request in Unix milliseconds, or why there is none."""

    value: float | None
    at_milliseconds: int
    fault: str = ""
    meter_gone: bool = False


class Gateway:
    """The connection, made when it is first needed; ``timeout`` in seconds bounds each wait."""

    def __init__(self, host: str, port: int, timeout: float) -> None:
        self._host = host
        self._port = port
        self._timeout = timeout
        self._client: AsyncModbusTcpClient | None = None

    async def ask(self, unit_id: int, register: Register) -> Answer:
        """Read one register of one meter or sensor."""
        client = await self.connect()
        read = (
            client.read_holding_registers
            if register.function_code == 3  # noqa: PLR2004 - the protocol's number
            else client.read_input_registers
        )
        response, at = await self._answered(
            partial(read, register.address, count=register.words, device_id=unit_id)
        )
        return answer_of(response, register, at)

    async def ask_contact(self, unit_id: int, contact: Contact) -> Answer:
        """Read one contact of one sensor: 1 where its bit is set, else 0."""
        client = await self.connect()
        read = client.read_coils if contact.function_code == 1 else client.read_discrete_inputs
        response, at = await self._answered(
            partial(read, contact.address, count=1, device_id=unit_id)
        )
        return contact_answer_of(response, contact, at)

    async def _answered(
        self, request: "Callable[[], Awaitable[ModbusPDU]]"
    ) -> "tuple[ModbusPDU, int]":
        # Imported here, as pymodbus is an extra; after the first time it is a dictionary look-up.
        from pymodbus.exceptions import ModbusException  # noqa: PLC0415

        asked, begun = time.time(), time.monotonic()
        try:
            response = await request()
        except ModbusException as error:
            raise ConnectionFault(f"no answer in {self._timeout:g} s ({error})") from None
        # The reading was taken between request and answer: the middle is wrong by the least.
        return response, int((asked + (time.monotonic() - begun) / 2) * 1000)

    async def connect(self) -> "AsyncModbusTcpClient":
        """Return the open connection, a new one where there is none."""
        if self._client is not None and self._client.connected:
            return self._client
        self.drop()
        try:
            from pymodbus.client import AsyncModbusTcpClient  # noqa: PLC0415 - an extra
        except ImportError:
            raise GatewayFault("pymodbus is missing: pip install 'meterhouse[modbus]'") from None
        # No reconnecting behind our back: a new connection begins with a new client, so that
        # nothing of an old one can be left in it.
        self._client = AsyncModbusTcpClient(
            self._host,
            port=self._port,
            timeout=self._timeout,
            retries=0,
            reconnect_delay=0,
        )
        if not await self._client.connect():
            self.drop()
            raise GatewayFault(f"no connection in {self._timeout:g} s")
        end_at_damage(self._client)
        return self._client

    def drop(self) -> None:
        """Close the connection, and forget what may still come on it."""
        client, self._client = self._client, None
        if client is not None:
            client.close()


def end_at_damage(client: "AsyncModbusTcpClient") -> None:
    """Have what is no frame end its request; the library would end in the loop, with a traceback.

    A gateway could fill the log so, at each request.
    """
    from pymodbus.exceptions import ModbusException  # noqa: PLC0415 - as above

    link = client.ctx
    hear = link.callback_data

    def heard(data: bytes, addr: tuple[str, int] | None = None) -> int:
        try:
            return hear(data, addr)
        except ModbusException as error:
            if not link.response_future.done():
                fault = ConnectionFault(f"an answer that is none ({error})")
                link.response_future.set_exception(fault)
                # Where no request waits for it, it is not to be told either.
                link.response_future.exception()
            return len(data)

    link.callback_data = heard  # type: ignore[method-assign] # it offers no other place


def answer_of(response: "ModbusPDU", register: Register, at_milliseconds: int) -> Answer:
    """Return what a response says of a register; raise ``ConnectionFault`` where it is not one.

    A gateway may answer with another function, or with more or fewer words than were asked for.
    """
    if response.isError():
        return _refused(response, at_milliseconds)
    if (
        response.function_code != register.function_code
        or len(response.registers) != register.words
    ):
        raise ConnectionFault(
            f"asked for {register.words} words by function {register.function_code}, got "
            f"{len(response.registers)} by function {response.function_code}"
        )
    return Answer(decode(response.registers, register), at_milliseconds, "holds no value")


def contact_answer_of(response: "ModbusPDU", contact: Contact, at_milliseconds: int) -> Answer:
    """Return what a response says of a contact; raise ``ConnectionFault`` where it is not one."""
    if response.isError():
        return _refused(response, at_milliseconds)
    if response.function_code != contact.function_code or len(response.bits) != _BITS:
        raise ConnectionFault(
            f"asked for one bit by function {contact.function_code}, got "
            f"{len(response.bits)} by function {response.function_code}"
        )
    return Answer(int(response.bits[0]), at_milliseconds)


def _refused(response: "ModbusPDU", at_milliseconds: int) -> Answer:
    code = response.exception_code
    text = f"exception {code} ({_EXCEPTIONS.get(code, 'unknown')})"
    return Answer(None, at_milliseconds, text, meter_gone=code not in _NO_SUCH_REGISTER)
