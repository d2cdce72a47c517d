"""A webhook that can be told how to answer, and alerts to tell of."""

import json
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import web

from meterhouse_collector.alerts.book import Open
from meterhouse_collector.alerts.state import Key, Rule, State

AT = 1_700_000_000.0


def fires(
    kind: str = "idle", since: float = AT, *, value: float = 0.5, **labels: str
) -> dict[Key, Open]:
    """Return one alert that fires."""
    about = tuple(sorted({"site": "site-a", **labels}.items()))
    rule = Rule(f"always:{kind}", kind, "ticket", 60.0)
    return {Key(rule.name, about): Open(rule, State("firing", since, value, 0.4), "ratio")}


class Hook:
    """A server that takes what is posted; it answers each alert by ``status``."""

    def __init__(self) -> None:
        self.status = 200
        self.refused_site = ""
        self.asked: list[dict[str, str]] = []
        self.bodies: list[Any] = []
        self.address = ""

    @property
    def told(self) -> list[tuple[str, str]]:
        """What was told: kind and status of each alert, in order."""
        return [
            (alert["labels"]["alertname"], alert["status"])
            for body in self.bodies
            for alert in body["alerts"]
        ]

    async def _take(self, request: web.Request) -> web.Response:
        self.asked.append(dict(request.headers))
        body = json.loads(await request.text())
        sites = {alert["labels"]["site"] for alert in body["alerts"]}
        if self.refused_site in sites:
            return web.Response(status=422, text="not this one")
        if self.status == 302:
            return web.Response(status=302, headers={"Location": self.address + "/elsewhere"})
        if self.status != 200:
            return web.Response(status=self.status, text="come again")
        self.bodies.append(body)
        return web.Response()

    @asynccontextmanager
    async def served(
        self, context: ssl.SSLContext | None = None, port: int = 0
    ) -> AsyncIterator[str]:
        """Serve, and yield the address."""
        application = web.Application()
        application.router.add_post("/hook", self._take)
        application.router.add_post("/hook/elsewhere", self._take)
        runner = web.AppRunner(application, access_log=None)
        await runner.setup()
        try:
            await web.TCPSite(runner, "127.0.0.1", port, ssl_context=context).start()
            scheme = "http" if context is None else "https"
            self.address = f"{scheme}://127.0.0.1:{runner.addresses[0][1]}/hook"
            yield self.address
        finally:
            await runner.cleanup()
