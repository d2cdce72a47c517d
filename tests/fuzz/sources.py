"""What an agent's sources are told: metrics pages, and answers of Modbus gateways."""

import asyncio
import math
from typing import Final

import msgspec
from pymodbus.client import AsyncModbusTcpClient
from pymodbus.pdu import ModbusPDU

from meterhouse_agent import wire
from meterhouse_agent.samples import EngineSample
from meterhouse_agent.sources.engine_page import (
    MAX_COUNT,
    MAX_FINITE_EDGES,
    MAX_MODEL_NAME,
    MAX_MODELS,
    PageError,
    PageReader,
)
from meterhouse_agent.sources.engine_profiles import PROFILES
from meterhouse_agent.sources.modbus_gateway import ConnectionFault, answer_of, end_at_damage
from meterhouse_agent.sources.modbus_profiles import (
    EnergyRegister,
    PowerRegister,
    Register,
    RegisterType,
    energy_ticks,
    power_watts,
)
from tests.fuzz.draw import Draw, check_error

_TYPES: Final[tuple[RegisterType, ...]] = (
    *("int16", "uint16", "int32", "uint32"),
    *("int64", "uint64", "float32", "float64"),
)
_UNIT: Final = 1
_TRANSACTION: Final = 1
_SERIES: Final = tuple(sorted(f"vllm:{name}" for name in PROFILES["vllm"].names()))
_PARTS: Final = (
    *('{model_name="m"}', '{engine="0",model_name="m"}', '{engine="1",model_name="m"}', "{", "}"),
    *(" 1\n", " 2.0\n", " NaN\n", " +Inf\n", " -1\n", " 1e300\n", " 1_0\n", " ", "\n", '"', "\\"),
    *('model_name="', 'le="', 'le="0.1"', 'le="+Inf"', ",", "# TYPE x counter\n", "ray_", "_", "="),
    *("process_start_time_seconds 1.5e9\n", "process_start_time_seconds", "\r", "\0", "é"),
)


class Pages:
    """A reader of pages that reads one page after the other, as an agent does."""

    def __init__(self) -> None:
        self._reader = PageReader(PROFILES["vllm"])

    def __call__(self, data: bytes) -> None:
        """Read bytes as a page: samples that the contract can carry, or an error."""
        page = data[1:] if data[:1] < b"\x80" else _drawn_page(Draw(data[1:]))
        try:
            samples = self._reader.read(page, "engine-1", 1_780_000_000_000)
        except PageError as error:
            check_error(error, longest=5_000)
            return
        assert 0 < len(samples) <= MAX_MODELS
        for sample in samples:
            _check_sample(sample)


def _drawn_page(draw: Draw) -> bytes:
    pieces = []
    while draw.left:
        number = draw.below(256)
        known = (*_SERIES, *_PARTS)
        pieces.append(known[number] if number < len(known) else draw.text())
    return ("".join(pieces) + "\n").encode(errors="replace")


def _check_sample(sample: EngineSample) -> None:
    assert 0 < len(sample.served_model) <= MAX_MODEL_NAME
    counts = (sample.input_tokens, sample.cached_input_tokens, sample.output_tokens)
    for count in (*counts, *sample.requests.values()):
        assert count is None or 0 <= count <= MAX_COUNT, sample
    for gauge in (sample.running_requests, sample.waiting_requests, sample.kv_cache_used_ratio):
        assert gauge is None or math.isfinite(gauge), sample
    for latency in sample.latency.values():
        assert len(latency.edges_seconds) <= MAX_FINITE_EDGES + 1
        assert list(latency.edges_seconds) == sorted(set(latency.edges_seconds)), sample
        assert math.isinf(latency.edges_seconds[-1])
        assert list(latency.cumulative_counts) == sorted(latency.cumulative_counts), sample
        assert math.isfinite(latency.sum_seconds), sample
    # The name has to fit into the message.
    msgspec.convert(sample.served_model, wire.Text)


class Gateways:
    """A Modbus client that hears one stream of bytes after the other in answer to a request."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        asyncio.set_event_loop(self._loop)
        self._client = self._loop.run_until_complete(_client())

    def __call__(self, data: bytes) -> None:
        """Take bytes for the answer to a request: a value that can be one, or a fault."""
        draw = Draw(data)
        register = _drawn_register(draw)
        receiving = self._client.ctx
        receiving.request_dev_id, receiving.request_transaction_id = _UNIT, _TRANSACTION
        receiving.recv_buffer = b""
        receiving.response_future = self._loop.create_future()
        stream = _drawn_answer(draw, register) if draw.chance() else draw.rest()
        cut = draw.below(len(stream) + 1)
        for part in (stream[:cut], stream[cut:]):
            receiving.data_received(part)
            assert len(receiving.recv_buffer) <= receiving.max_buffer_size
        heard = receiving.response_future
        if heard.done():
            fault = heard.exception()
            assert fault is None or isinstance(fault, ConnectionFault)
            if fault is None:
                _check_answer(heard.result(), register)


async def _client() -> AsyncModbusTcpClient:
    made = AsyncModbusTcpClient("127.0.0.1", port=502, timeout=1, retries=0, reconnect_delay=0)
    end_at_damage(made)
    return made


def _drawn_register(draw: Draw) -> EnergyRegister | PowerRegister:
    kind, order = draw.pick(_TYPES), draw.pick(("big", "little"))
    code = draw.pick((3, 4))
    if draw.chance():
        return EnergyRegister.model_construct(
            function_code=code, address=0, type=kind, word_order=order, joules_per_count=3600.0
        )
    return PowerRegister.model_construct(
        function_code=code, address=0, type=kind, word_order=order, watts_per_count=-1000.0
    )


def _drawn_answer(draw: Draw, register: Register) -> bytes:
    """Make up a frame with a length of its own choice, perhaps with others around it."""
    words = register.words if draw.chance() else draw.below(130)
    code = register.function_code if draw.chance() else draw.below(256)
    said = 2 * words if draw.chance() else draw.below(256)
    pdu = bytes([code, said % 256]) + draw.take(2 * words)
    length = len(pdu) + 1 if draw.chance() else abs(draw.integer(2))
    head = _TRANSACTION if draw.chance() else abs(draw.integer(2))
    frame = head.to_bytes(2, "big") + b"\0\0" + length.to_bytes(2, "big") + bytes([_UNIT]) + pdu
    return draw.take(draw.below(9)) + frame + draw.rest() if draw.chance(4) else frame


def _check_answer(response: ModbusPDU, register: Register) -> None:
    try:
        answer = answer_of(response, register, 0)
    except ConnectionFault:
        return
    if answer.value is None:
        assert answer.fault
        return
    assert math.isfinite(answer.value)
    if isinstance(register, EnergyRegister):
        ticks = energy_ticks(answer.value, register)
        assert ticks is None or 0 <= ticks[0] * ticks[1] <= 1e15 * (1 + 1e-9), ticks
    elif isinstance(register, PowerRegister):
        watts = power_watts(answer.value, register)
        assert watts is None or abs(watts) <= 1e15, watts
