"""The store in InfluxDB 2: one write request per policy, read back through InfluxQL."""

import asyncio
import gzip
import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from http import HTTPStatus
from typing import Final, NamedTuple, get_args

import aiohttp
import msgspec
from influxdb_client.rest import ApiException

from meterhouse_collector.rows import PackedRow, Point, Policy, Row, Table, singles
from meterhouse_collector.store import Rejection, StoreUnavailableError
from meterhouse_collector.store.config import InfluxConfig
from meterhouse_collector.store.influx_link import InfluxLink
from meterhouse_collector.store.influxql import (
    CHUNK_ROWS,
    AnswerError,
    AnyAnswer,
    NoAnswer,
    OldestAnswer,
    PackedAnswer,
    PointsAnswer,
    oldest_query,
    packed_query,
    points_query,
    probe_query,
    window,
)
from meterhouse_collector.store.line_protocol import LineEncoder

MAX_REQUEST_LINES: Final = 5000
MAX_REQUEST_BYTES: Final = 4 * 1024 * 1024
_POLICIES: Final[tuple[Policy, ...]] = get_args(Policy)
# A receipt hangs on the ledger alone, so nothing else may stand in its way; and the detail, which
# is most of what is written, not in that of the figures that somebody looks at.
_WRITE_ORDER: Final = (
    "ledger",
    *(policy for policy in _POLICIES if policy not in {"ledger", "detail"}),
    "detail",
)
_DROPPED: Final = re.compile(r"dropped=(\d+)")
_RETENTION: Final = "outside retention policy"
_MEASUREMENT: Final = re.compile(rb"\w+")

# A ValueError is a token that cannot be read.
_TROUBLES: Final = (aiohttp.ClientError, OSError, ValueError)
# A server that ends breaks a connection off, then refuses it; a proxy before it answers for it.
_NO_SERVER: Final = "no server"
_BROKEN_OFF: Final = (aiohttp.ClientPayloadError, ConnectionError)
_FROM_PROXIES: Final = (
    HTTPStatus.BAD_GATEWAY,
    HTTPStatus.SERVICE_UNAVAILABLE,
    HTTPStatus.GATEWAY_TIMEOUT,
)


class _Line(msgspec.Struct, frozen=True, gc=False):
    """A line, or those of one table, and where its row stands in the batch."""

    row_index: int
    text: bytes
    lines: int = 1


class _Refusal(NamedTuple):
    """What the server said of a request that it did not take whole."""

    reason: str
    dropped: int | None


class _Failure(msgspec.Struct):
    """The body of an error: of the API, or of InfluxQL."""

    message: str = ""
    error: str = ""


class InfluxStore:
    """Keeps rows in the buckets ``DATABASE/POLICY``; every request is bounded by the timeout.

    The token is read again after the server refused it.
    """

    def __init__(self, config: InfluxConfig, *, series_kept: int = 131_072) -> None:
        self._config = config
        self._encoder = LineEncoder(series_kept)
        self._compresses = config.compresses()
        self._link = InfluxLink(config)

    async def open(self) -> None:
        """Prove that every bucket can be written and read, or raise ``StoreUnavailableError``."""
        for policy in _POLICIES:
            refusal = await self._post(policy, [])
            if refusal is not None:
                what = f"writing bucket {self._bucket(policy)}"
                raise self._unavailable(what, refusal.reason, "refused")
        await self._ask(probe_query(_POLICIES), NoAnswer(), "reading all buckets")

    async def write(self, rows: Sequence[Row]) -> list[Rejection]:
        """Write rows, the ledger's first; return those the server will never take.

        Raises ``StoreUnavailableError`` when it is not sure that all others are written.
        """
        rejections: list[Rejection] = []
        lines: dict[str, list[_Line]] = {}
        for index, row in enumerate(rows):
            mine = lines.get(row.policy)
            if mine is None:
                mine = lines[row.policy] = []
            try:
                if type(row) is PackedRow:
                    # Of a large site nearly all are such.
                    mine.append(_Line(index, self._encoder.packed(row)))
                else:
                    mine += self._lines(index, row, rejections)
            except ValueError as error:
                rejections.append(Rejection(index, str(error)))
        for policy in _WRITE_ORDER:
            for request in _requests(lines.get(policy, [])):
                rejections += await self._write_request(policy, request)
        return sorted(rejections, key=lambda rejection: rejection.index)

    def _lines(self, index: int, row: Row, rejections: list[Rejection]) -> list[_Line]:
        """Return the lines of a row, those of a table in one unless any of them is refused."""
        if isinstance(row, Table):
            with suppress(ValueError):
                text = self._encoder.lines(row)
                return [_Line(index, text, text.count(b"\n") + 1)] if text else []
        lines = []
        for single in singles(row):
            try:
                lines.append(_Line(index, self._encoder.line(single)))
            except ValueError as error:
                rejections.append(Rejection(index, str(error)))
        return lines

    async def packed(
        self,
        policy: Policy,
        measurement: str,
        *,
        start_seconds: int,
        end_seconds: int,
        thing: str | None = None,
    ) -> list[PackedRow]:
        """Read packed rows with a start in [start, end), by thing, reader and start."""
        answer = PackedAnswer(policy, measurement)
        query = packed_query(policy, measurement, window(start_seconds, end_seconds), thing)
        await self._ask(query, answer, f"reading {measurement} from {self._bucket(policy)}")
        return answer.rows()

    async def points(
        self,
        policy: Policy,
        measurement: str,
        *,
        start_seconds: int,
        end_seconds: int,
        node: str | None = None,
    ) -> list[Point]:
        """Read plain points with a start in [start, end), by start and tags."""
        answer = PointsAnswer(policy, measurement)
        query = points_query(policy, measurement, window(start_seconds, end_seconds), node)
        await self._ask(query, answer, f"reading {measurement} from {self._bucket(policy)}")
        return answer.rows()

    async def oldest(self, policy: Policy, measurement: str) -> int | None:
        """Return the start of the oldest row of a measurement, None where it has none."""
        answer = OldestAnswer()
        what = f"reading {measurement} from {self._bucket(policy)}"
        await self._ask(oldest_query(policy, measurement), answer, what)
        return answer.start_seconds

    async def close(self) -> None:
        """Let go of the connections, once nothing uses them."""
        try:
            async with asyncio.timeout(self._config.timeout):
                await self._link.close()
        except TimeoutError:
            reason = f"not in {self._config.timeout:g} s"
            raise self._unavailable("closing", reason, _NO_SERVER) from None

    async def _write_request(self, policy: str, request: list[_Line]) -> list[Rejection]:
        """Write lines; where some are refused, halve until the rest was taken without a word.

        A line counts as written only in a request that was taken whole: after a partial write
        the server may still be at work on the others, and may yet fail.
        """
        rejections: list[Rejection] = []
        waiting = [request]
        while waiting:
            lines = waiting.pop()
            refusal = await self._post(policy, lines)
            if refusal is None:
                continue
            if len(lines) == 1:
                lines = _apart(lines[0])
            if len(lines) == 1 or refusal.dropped == _count(lines):
                too_old = _RETENTION in refusal.reason
                rejections += [Rejection(line.row_index, refusal.reason, too_old) for line in lines]
                continue
            lines = _gathered(lines, refusal)
            middle = len(lines) // 2
            waiting += [lines[middle:], lines[:middle]]
        return rejections

    async def _post(self, policy: str, lines: list[_Line]) -> _Refusal | None:
        """Send one request; return what was refused, None where everything is written."""
        what = f"writing {_count(lines)} rows to bucket {self._bucket(policy)}"
        try:
            async with asyncio.timeout(self._config.timeout), self._link.used() as connection:
                body = b"\n".join([line.text for line in lines])
                headers = {}
                if self._compresses:
                    body = await asyncio.to_thread(gzip.compress, body, 1, mtime=0)
                    headers["content_encoding"] = "gzip"
                await connection.writes.post_write_async(  # type: ignore[no-untyped-call]
                    self._config.org, self._bucket(policy), body, precision="s", **headers
                )
        except ApiException as error:
            reason = _reason(error.body)
            refusal = _refusal(error.status, reason, len(lines))
            if refusal is None:
                raise await self._refused(what, error.status, reason) from None
            return refusal
        except _TROUBLES as error:
            raise self._failed(what, error) from None
        return None

    async def _ask(self, query: str, answer: AnyAnswer, what: str) -> None:
        """Send a query and let the answer take what comes; the timeout holds between pieces."""
        timeout = self._config.timeout
        parameters = {"db": self._config.database, "q": query, "epoch": "s"}
        parameters |= {"chunked": "true", "chunk_size": str(CHUNK_ROWS)}
        try:
            async with (
                asyncio.timeout(timeout) as deadline,
                self._link.used() as connection,
                connection.session.post(
                    f"{self._config.url}/query", data=parameters, allow_redirects=False
                ) as response,
            ):
                if response.status != HTTPStatus.OK:
                    reason = _reason(await response.read())
                    raise await self._refused(what, response.status, reason)
                async for data in response.content.iter_any():
                    answer.feed(data)
                    deadline.reschedule(asyncio.get_running_loop().time() + timeout)
                answer.end()
        except AnswerError as error:
            raise self._unavailable(what, str(error), "answer") from None
        except _TROUBLES as error:
            raise self._failed(what, error) from None

    def _bucket(self, policy: str) -> str:
        return f"{self._config.database}/{policy}"

    def _failed(self, what: str, error: Exception) -> StoreUnavailableError:
        if isinstance(error, TimeoutError):
            reason = f"no answer in {self._config.timeout:g} s: check that the server runs"
            return self._unavailable(what, reason, _NO_SERVER)
        text = str(error) or type(error).__name__
        trouble = text if isinstance(error, aiohttp.ClientSSLError) else _NO_SERVER
        if isinstance(error, aiohttp.ClientConnectionError):
            return self._unavailable(
                what, f"{text}: check that the server runs, and the url", trouble
            )
        return self._unavailable(what, text, trouble if isinstance(error, _BROKEN_OFF) else text)

    async def _refused(self, what: str, status: int | None, reason: str) -> StoreUnavailableError:
        advice = ""
        if status in {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN}:
            await self._link.close()
            source = self._config.token.file or f"the variable {self._config.token.env}"
            advice = (
                f": check that {source} holds the collector's token; "
                "meterhouse-collector init-influx makes one"
            )
        elif status == HTTPStatus.NOT_FOUND:
            advice = ": meterhouse-collector init-influx makes the buckets; check org and url"
        trouble = _NO_SERVER if status in _FROM_PROXIES else f"status {status}"
        return self._unavailable(what, f"{status} {reason}{advice}", trouble)

    def _unavailable(self, what: str, reason: str, trouble: str) -> StoreUnavailableError:
        if "not found: " in reason:
            reason += ": meterhouse-collector init-influx makes it; or the token may not read it"
        text = f"{what} at {self._config.url}: {reason}"
        return StoreUnavailableError(text, trouble=trouble)


def _requests(lines: list[_Line]) -> Iterator[list[_Line]]:
    """Cut lines into requests that the server takes."""
    first = size = count = 0
    for position, line in enumerate(lines):
        count += line.lines
        size += len(line.text) + 1
        if position > first and (count > MAX_REQUEST_LINES or size > MAX_REQUEST_BYTES):
            yield lines[first:position]
            first, size, count = position, len(line.text) + 1, line.lines
    if lines:
        yield lines[first:]


def _count(lines: list[_Line]) -> int:
    return sum(line.lines for line in lines)


def _apart(line: _Line) -> list[_Line]:
    """Return each of several lines by itself: a table's fields are numbers, without line breaks."""
    if line.lines == 1:
        return [line]
    return [_Line(line.row_index, text) for text in line.text.split(b"\n")]


def _gathered(lines: list[_Line], refusal: _Refusal) -> list[_Line]:
    """Put together what is likely refused together; lines of one key keep their order."""
    if _RETENTION in refusal.reason:
        return sorted(lines, key=lambda line: int(line.text[line.text.rindex(b" ") :]))
    if refusal.dropped is not None:
        return sorted(lines, key=lambda line: _MEASUREMENT.match(line.text)[0])  # type: ignore[index] # each starts with one
    return lines


def _refusal(status: int | None, reason: str, lines: int) -> _Refusal | None:
    """Tell whether an error speaks of rows; any other is the server's, and passes."""
    if lines == 0:
        return None
    if status == HTTPStatus.UNPROCESSABLE_ENTITY and "partial write" in reason:
        dropped = _DROPPED.search(reason)
        return _Refusal(reason, int(dropped[1]) if dropped else None)
    if status == HTTPStatus.BAD_REQUEST and "unable to parse" in reason:
        return _Refusal(reason, None)
    if status == HTTPStatus.REQUEST_ENTITY_TOO_LARGE:
        return _Refusal(f"413 {reason}", None)
    return None


def _reason(body: bytes | str | None) -> str:
    """Return what the server said, in one line of at most 500 characters."""
    if body is None:
        return ""
    try:
        failure = msgspec.json.decode(body, type=_Failure)
        text = failure.message or failure.error
    except msgspec.MsgspecError:
        text = body.decode(errors="replace") if isinstance(body, bytes) else body
    return " ".join(text.split())[:500]
