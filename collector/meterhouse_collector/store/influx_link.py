"""The connections to InfluxDB, and the token they carry."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import aiohttp
from influxdb_client.client.influxdb_client_async import InfluxDBClientAsync
from influxdb_client.service.write_service import WriteService

from meterhouse_collector.store.config import InfluxConfig


@dataclass(slots=True)
class Connection:
    """One client for what is written and one for what is read, with the same token."""

    client: InfluxDBClientAsync
    writes: WriteService
    session: aiohttp.ClientSession
    users: int = 0
    retired: bool = False

    async def close_if_unused(self) -> None:
        """Close once it is retired and nobody uses it."""
        if self.retired and self.users == 0:
            await self.client.close()  # type: ignore[no-untyped-call]
            await self.session.close()


class InfluxLink:
    """Connects when first used, and again, with the token read anew, after it was closed."""

    def __init__(self, config: InfluxConfig) -> None:
        self._config = config
        self._connection: Connection | None = None
        self._connecting = asyncio.Lock()

    @asynccontextmanager
    async def used(self) -> AsyncIterator[Connection]:
        """Lend the connection; raise ``ValueError`` or ``OSError`` where there can be none."""
        async with self._connecting:
            if self._connection is None:
                self._connection = await self._connect()
            connection = self._connection
        connection.users += 1
        try:
            yield connection
        finally:
            connection.users -= 1
            await connection.close_if_unused()

    async def close(self) -> None:
        """Let go of the connection; its last user closes it.

        Closed under a request, aiohttp would cancel that request's task.
        """
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.retired = True
            await connection.close_if_unused()

    async def _connect(self) -> Connection:
        config = self._config
        token = (await asyncio.to_thread(config.token.read)).get_secret_value()
        context = await asyncio.to_thread(config.ssl_context)
        client = InfluxDBClientAsync(
            config.url,
            token,
            config.org,
            timeout=config.timeout * 1000,
            ssl_context=context,
            allow_redirects=False,
        )
        headers = {"Authorization": f"Token {token}"}
        headers["Accept-Encoding"] = "gzip" if config.compresses() else "identity"
        session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(ssl=context),
            headers=headers,
            # Each use has its own deadline, which moves while an answer comes in.
            timeout=aiohttp.ClientTimeout(total=None),
        )
        writes = WriteService(client.api_client)  # type: ignore[no-untyped-call]
        return Connection(client, writes, session)
