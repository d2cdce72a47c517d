"""The page's own files, and what it asks for beside the events."""

from collections.abc import Awaitable, Callable
from importlib import resources
from typing import Final

from aiohttp import web

from meterhouse_collector.store import StoreUnavailableError
from meterhouse_collector.web.api import Answers

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

PAGE: Final = "page.html"
_KINDS: Final = {
    "html": "text/html",
    "css": "text/css",
    "js": "text/javascript",
    "svg": "image/svg+xml",
}


def add_files(application: web.Application) -> None:
    """Serve every file of the page under its name, and the page itself at the root."""
    for file in resources.files(__package__).joinpath("static").iterdir():
        kind = _KINDS.get(file.name.rpartition(".")[2])
        if kind is not None:
            path = "/" if file.name == PAGE else f"/{file.name}"
            application.router.add_get(path, _file(file.read_bytes(), kind))


def _file(body: bytes, kind: str) -> Handler:
    async def serve(_: web.Request) -> web.Response:
        return web.Response(body=body, content_type=kind, charset="utf-8")

    return serve


def add_api(application: web.Application, answers: Answers) -> None:
    """Serve what is known now, its history, the map's layout, and the nodes."""
    for path, answer in (
        ("/api/live", answers.encoded),
        ("/api/layout", answers.layout),
        ("/api/formulas", answers.formulas),
        ("/api/nodes", answers.nodes),
    ):
        application.router.add_get(path, _now(answer))
    application.router.add_get("/api/nodes/{name}", _node(answers))
    application.router.add_get("/api/history", _history(answers))
    application.router.add_get("/api/windows", _windows(answers))


def _now(answer: Callable[[], bytes]) -> Handler:
    async def serve(_: web.Request) -> web.Response:
        return _json(answer())

    return serve


def _node(answers: Answers) -> Handler:
    async def serve(request: web.Request) -> web.Response:
        try:
            found = await answers.node(request.match_info["name"])
        except StoreUnavailableError as error:
            return _said(503, f"the node's past cannot be read: {error}")
        return _said(404, "no node of that name is on the map") if found is None else _json(found)

    return serve


def _history(answers: Answers) -> Handler:
    async def serve(request: web.Request) -> web.Response:
        try:
            return _json(await answers.history(request.query.get("span", "window")))
        except KeyError:
            return _said(400, "span: allowed: window, hour, day")
        except StoreUnavailableError as error:
            return _said(503, f"the history cannot be read: {error}")

    return serve


def _windows(answers: Answers) -> Handler:
    async def serve(_: web.Request) -> web.Response:
        try:
            return _json(await answers.windows())
        except StoreUnavailableError as error:
            return _said(503, f"the kept quarter hours cannot be read: {error}")

    return serve


def _json(body: bytes) -> web.Response:
    return web.Response(body=body, content_type="application/json")


def _said(status: int, text: str) -> web.Response:
    return web.Response(status=status, text=f"{text}\n")
