"""Tokens, requests and latencies of an inference server, from its own metrics page."""

import asyncio
import time
from typing import TYPE_CHECKING, Annotated, Final, cast
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, StringConstraints, model_validator

from meterhouse_agent.samples import Readings, Things
from meterhouse_agent.settings import DurationSeconds, SourceConfig
from meterhouse_agent.sources import SourceError
from meterhouse_agent.sources.engine_page import PageError, PageReader
from meterhouse_agent.sources.engine_profiles import PROFILES, EngineProfileName
from meterhouse_agent.wire import NAME_PATTERN

if TYPE_CHECKING:
    import aiohttp

MAX_PAGE_BYTES: Final = 4 * 1024 * 1024
_CHUNK_BYTES: Final = 64 * 1024
_MARGIN_SECONDS: Final = 0.1
_HEADERS: Final = {
    "Accept": "text/plain;version=0.0.4",
    # A compressed page could grow without bound on this side.
    "Accept-Encoding": "identity",
}
_NO_PAGE_TYPES: Final = ("application/json", "text/html")
_OK: Final = 200


def _checked_url(url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"} or not parts.hostname or parts.fragment:
        raise ValueError("a URL is http://HOST:PORT/PATH or https://HOST:PORT/PATH")
    if parts.username is not None or parts.password is not None:
        raise ValueError("no user or password in the URL: it is printed in messages")
    return url


class Config(SourceConfig):
    """One engine's metrics page; ``served_models`` limits what is read, else all are."""

    sample_every: DurationSeconds = "5s"  # type: ignore[assignment] # validated default
    deadline: DurationSeconds = "4s"  # type: ignore[assignment] # validated default
    engine: Annotated[str, StringConstraints(pattern=NAME_PATTERN)]
    url: Annotated[str, Field(max_length=2000), AfterValidator(_checked_url)]
    profile: EngineProfileName = "vllm"
    served_models: Annotated[list[str], Field(min_length=1, max_length=256)] | None = None

    @model_validator(mode="after")
    def _time_enough(self) -> "Config":
        if self.deadline <= _MARGIN_SECONDS:
            raise ValueError("deadline must be above 100ms")
        return self


class PrometheusEngineSource:
    """The served models of one engine."""

    replayable = False

    def __init__(self, config: Config) -> None:
        self._config = config
        self._reader = PageReader(PROFILES[config.profile])
        self._session: aiohttp.ClientSession | None = None

    async def open(self) -> None:
        """Make the client; the page itself is asked for when reading."""
        try:
            # Imported here: an agent without an engine must not pay for it.
            import aiohttp  # noqa: PLC0415
        except ImportError:
            raise SourceError("aiohttp is missing: pip install 'meterhouse[engine]'") from None
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=1),
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
        )

    def things(self) -> Things:
        """Name the engine of the config."""
        return Things(engines=(self._config.engine,))

    async def read(self, at_milliseconds: int) -> Readings:  # noqa: ARG002 - samples have their own time
        """Read the page once; raise ``SourceError`` where it is none."""
        try:
            async with asyncio.timeout(self._config.deadline - _MARGIN_SECONDS):
                page, at = await self._scrape()
            samples = self._reader.read(page, self._config.engine, at)
        except TimeoutError:
            raise self._error(
                f"no whole page in {self._config.deadline - _MARGIN_SECONDS:g} s",
                "raise deadline if the server is only slow",
            ) from None
        except PageError as error:
            raise self._error(str(error), "check the URL's path and the profile") from None
        wanted = self._config.served_models
        if wanted is not None:
            found = ", ".join(sample.served_model for sample in samples[:5])
            samples = tuple(sample for sample in samples if sample.served_model in wanted)
            if not samples:
                raise self._error(
                    f"none of served_models is there, but {found}", "correct served_models"
                )
        return Readings(engines=samples)

    async def close(self) -> None:
        """Close the connection."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    async def _scrape(self) -> tuple[bytes, int]:
        import aiohttp  # noqa: PLC0415 - imported by open already

        if self._session is None:
            raise SourceError(f"engine {self._config.engine}: read before open")
        asked, begun = time.time(), time.monotonic()
        try:
            async with self._session.get(
                self._config.url, headers=_HEADERS, allow_redirects=False
            ) as response:
                # The page was written between request and answer: the middle is wrong by the least.
                at = int((asked + (time.monotonic() - begun) / 2) * 1000)
                self._check(response)
                return await self._body(response), at
        except aiohttp.ClientError as error:
            raise self._error(
                f"{type(error).__name__}: {str(error)[:200]}", "check that the server is up"
            ) from None

    def _check(self, response: "aiohttp.ClientResponse") -> None:
        if 300 <= response.status < 400:  # noqa: PLR2004 - HTTP's own classes
            raise self._error(
                f"redirect {response.status}, which is not followed", "give the final URL"
            )
        if response.status != _OK:
            raise self._error(f"HTTP status {response.status}", "check the URL and the server")
        if response.content_type in _NO_PAGE_TYPES:
            raise self._error(
                f"content of type {response.content_type} is no metrics page",
                "check the URL's path",
            )
        encoding = response.headers.get("Content-Encoding", "identity")
        if encoding != "identity":
            raise self._error(f"content in {encoding[:40]}, which was not asked for", "disable it")

    async def _body(self, response: "aiohttp.ClientResponse") -> bytes:
        page = bytearray()
        async for chunk in response.content.iter_chunked(_CHUNK_BYTES):
            page += chunk
            if len(page) > MAX_PAGE_BYTES:
                raise self._error(
                    f"the page is longer than {MAX_PAGE_BYTES} bytes", "check the URL's path"
                )
        return bytes(page)

    def _error(self, found: str, advice: str) -> SourceError:
        return SourceError(
            f"engine {self._config.engine}: GET {self._config.url}: {found}; {advice}"
        )


def create(config: SourceConfig, *, node: str) -> PrometheusEngineSource:  # noqa: ARG001 - engines have their own names
    """Return the source of one engine, not yet open."""
    return PrometheusEngineSource(cast("Config", config))
