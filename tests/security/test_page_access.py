"""The page lets in who proves it, over a real socket; the rest learn nothing but that it runs."""

import asyncio
import socket
import ssl
import stat
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urlsplit

import aiohttp
import pytest

from meterhouse_collector.config import PageConfig
from meterhouse_collector.web.server import PageServer
from tests.deploy.brokers import ADDRESS, made_authority
from tests.security.http_guarded import (
    PASSWORD,
    TOKEN,
    USER,
    WRONG,
    Answer,
    basic,
    bearer,
    get,
    secret_files,
)
from tests.stand_ins.live_site import LiveSite

PATHS = ("/", "/page.js", "/page.css", "/icon.svg", "/api/live", "/metrics", "/events", "/none")


@pytest.fixture
async def site() -> LiveSite:
    found = LiveSite()
    for number in range(3):
        await found.interval(number, tokens=900 + number)
    return found


@pytest.fixture
async def page(site: LiveSite, tmp_path: Path) -> AsyncIterator[PageServer]:
    config = PageConfig.model_validate({"port": 0, **secret_files(tmp_path)})
    async with site.served(config=config) as server:
        yield server


async def asked(
    page: PageServer,
    path: str,
    authorization: str | None = None,
    context: ssl.SSLContext | None = None,
) -> Answer:
    port = urlsplit(page.address).port
    assert port is not None
    return await asyncio.to_thread(get, port, path, authorization, context)


@pytest.mark.parametrize("path", PATHS)
async def test_without_a_login_there_is_nothing(page: PageServer, path: str) -> None:
    answer = await asked(page, path)
    assert answer.status == 401
    assert answer.body == b"give the token, or user and password\n"
    assert answer.headers.get_all("WWW-Authenticate") == [
        'Basic realm="meterhouse", charset="UTF-8"',
        'Bearer realm="meterhouse"',
    ]


@pytest.mark.parametrize("wrong", WRONG)
async def test_a_wrong_login_is_none(page: PageServer, wrong: str | None) -> None:
    assert (await asked(page, "/api/live", wrong)).status == 401


@pytest.mark.parametrize("right", [bearer(TOKEN), f"bearer  {TOKEN} ", basic(USER, PASSWORD)])
async def test_either_login_opens_all(page: PageServer, right: str) -> None:
    for path in PATHS:
        if path != "/events":
            expected = 404 if path == "/none" else 200
            assert (await asked(page, path, right)).status == expected, path


async def test_events_come_to_who_is_logged_in(page: PageServer) -> None:
    headers = {"Authorization": bearer(TOKEN)}
    async with (
        aiohttp.ClientSession(headers=headers) as session,
        session.get(page.address + "events") as answer,
    ):
        assert answer.status == 200
        assert (await answer.content.readline()).startswith(b"retry:")


@pytest.mark.parametrize("authorization", [None, "Bearer wrong", bearer(TOKEN)])
async def test_health_needs_no_login_and_says_no_figure(
    page: PageServer, authorization: str | None
) -> None:
    answer = await asked(page, "/healthz", authorization)
    assert (answer.status, answer.body) == (200, b"ok\n")


async def test_one_kind_of_login_does_not_open_the_other(site: LiveSite, tmp_path: Path) -> None:
    keys = secret_files(tmp_path)
    only_token = PageConfig.model_validate({"port": 0, "token": keys["token"]})
    async with site.served(config=only_token) as page:
        answer = await asked(page, "/metrics", basic(USER, PASSWORD))
        assert answer.status == 401
        assert answer.headers.get_all("WWW-Authenticate") == ['Bearer realm="meterhouse"']
        assert (await asked(page, "/metrics", basic("", TOKEN))).status == 401
        assert (await asked(page, "/metrics", bearer(TOKEN))).status == 200


@pytest.mark.parametrize("path", ["/", "/api/live", "/metrics", "/healthz", "/none"])
@pytest.mark.parametrize("authorization", [None, bearer(TOKEN)])
async def test_every_answer_is_closed_to_other_pages(
    page: PageServer, path: str, authorization: str | None
) -> None:
    headers = (await asked(page, path, authorization)).headers
    policy = dict(
        part.strip().split(" ", 1) for part in headers["Content-Security-Policy"].split(";")
    )
    assert policy["default-src"] == policy["frame-ancestors"] == policy["base-uri"] == "'none'"
    assert policy["form-action"] == "'none'"
    assert {policy[key] for key in ("script-src", "style-src", "connect-src")} == {"'self'"}
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Referrer-Policy"] == "no-referrer"
    assert headers["Cross-Origin-Resource-Policy"] == "same-origin"
    assert headers["Cache-Control"] == "no-store"
    assert headers["Server"] == "meterhouse"
    assert "Access-Control-Allow-Origin" not in headers


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion:DeprecationWarning")
async def test_the_page_speaks_tls(site: LiveSite, tmp_path: Path) -> None:
    authority = made_authority(tmp_path / "ca")
    authority.enroll("broker", ADDRESS, renew=False, now=datetime.now(UTC), days=1)
    paths = authority.paths("broker", ADDRESS)
    keys = secret_files(tmp_path)
    config = PageConfig.model_validate(
        {
            "port": 0,
            **keys,
            "certificate_file": str(paths.certificate),
            "key_file": str(paths.key),
        }
    )
    trusting = ssl.create_default_context(cafile=authority.certificate)
    async with site.served(config=config) as page:
        assert page.address.startswith("https://")
        assert (await asked(page, "/metrics", bearer(TOKEN), trusting)).status == 200
        assert (await asked(page, "/metrics", None, trusting)).status == 401
        with pytest.raises(ssl.SSLCertVerificationError):
            await asked(page, "/metrics", bearer(TOKEN), ssl.create_default_context())
        old = ssl.create_default_context(cafile=authority.certificate)
        old.minimum_version = ssl.TLSVersion.TLSv1
        old.maximum_version = ssl.TLSVersion.TLSv1_1
        old.set_ciphers("DEFAULT:@SECLEVEL=0")
        # The other side ends it, with an alert or without.
        with pytest.raises(ssl.SSLError, match=r"PROTOCOL_VERSION|EOF"):
            await asked(page, "/metrics", bearer(TOKEN), old)
    assert stat.S_IMODE(paths.key.stat().st_mode) == 0o600


@pytest.mark.parametrize("text", [None, "no certificate"])
async def test_a_certificate_that_is_none_is_one_line(
    site: LiveSite, tmp_path: Path, text: str | None
) -> None:
    file = tmp_path / "page.pem"
    if text is not None:
        file.write_text(text, encoding="utf-8")
    config = PageConfig.model_validate(
        {"port": 0, "certificate_file": str(file), "key_file": str(file)}
    )
    with pytest.raises(OSError, match=r"^page: certificate_file \S+, key_file \S+: ") as caught:
        await site.page(config=config).start()
    assert "\n" not in str(caught.value)


async def test_unless_told_otherwise_only_the_loopback_is_listened_on(site: LiveSite) -> None:
    async with site.served() as page:
        port = urlsplit(page.address).port
        assert (await asked(page, "/healthz")).status == 200
        for other in ("127.0.0.2", "::1", socket.gethostbyname(socket.gethostname())):
            if other != "127.0.0.1":
                with pytest.raises(OSError, match="Connect call failed"):
                    await asyncio.open_connection(other, port)


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.2", "::1", "localhost"])
def test_the_loopback_needs_no_login(host: str) -> None:
    assert PageConfig(host=host).host == host


def test_who_says_so_serves_it_to_all() -> None:
    assert PageConfig(host="192.0.2.1", open=True).open
