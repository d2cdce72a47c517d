"""Serves the /metrics of a collector that has no page: of an intake."""

from http import HTTPStatus

from aiohttp import web
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST

from meterhouse_collector.config import PageConfig
from meterhouse_collector.web.access import Guard, server_tls


class MetricsServer:
    """/metrics on one port, to those who may see the page."""

    def __init__(self, config: PageConfig, registry: CollectorRegistry) -> None:
        self._config = config
        self._registry = registry
        self._guard = Guard(token=None, login=None)
        self._runner: web.AppRunner | None = None

    async def start(self) -> None:
        """Listen; raise ``OSError`` with what to do where that cannot be."""
        config = self._config
        context = None
        try:
            if config.certificate_file is not None and config.key_file is not None:
                context = server_tls(config.certificate_file, config.key_file)
            self._guard = Guard(token=config.read_token(), login=config.read_login())
        except (OSError, ValueError) as error:
            raise OSError(f"page: {error}") from None
        application = web.Application()
        application.router.add_get("/metrics", self._metrics)
        runner = web.AppRunner(application, handle_signals=False, access_log=None)
        await runner.setup()
        try:
            await web.TCPSite(runner, config.host, config.port, ssl_context=context).start()
        except OSError as error:
            await runner.cleanup()
            why = error.strerror or str(error)
            raise OSError(
                f"page: cannot listen on port {config.port} of {config.host}: {why}; "
                "choose another port, or 0 for any that is free"
            ) from None
        self._runner = runner

    async def close(self) -> None:
        """Let go of the port."""
        runner, self._runner = self._runner, None
        if runner is not None:
            await runner.cleanup()

    async def _metrics(self, request: web.Request) -> web.Response:
        if not self._guard.lets_in(request.headers.get("Authorization")):
            challenges = [("WWW-Authenticate", each) for each in self._guard.challenges]
            text = "give the token, or user and password\n"
            return web.Response(status=HTTPStatus.UNAUTHORIZED, text=text, headers=challenges)
        body = generate_latest(self._registry)
        return web.Response(
            body=body,
            headers={
                "Content-Type": CONTENT_TYPE_LATEST,
                "Cache-Control": "no-store",
                "Server": "meterhouse",
            },
        )
