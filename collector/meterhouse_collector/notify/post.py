"""Posts JSON to a receiver, and says in words why it was not taken."""

import asyncio
import base64
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from http import HTTPStatus
from typing import Final

import aiohttp

from meterhouse_collector.notify.config import Receiver

_SHOWN: Final = 200
# These say that the request is not acceptable; any other failure may pass.
_REFUSED: Final = frozenset(
    {HTTPStatus.BAD_REQUEST, HTTPStatus.REQUEST_ENTITY_TOO_LARGE, HTTPStatus.UNPROCESSABLE_ENTITY}
)


class NotTakenError(Exception):
    """The receiver did not take it; ``final`` where it never will."""

    def __init__(self, text: str, *, final: bool = False) -> None:
        super().__init__(text)
        self.final = final


class Post:
    """One receiver's address, with what proves who posts."""

    def __init__(self, session: aiohttp.ClientSession, address: str) -> None:
        self._session = session
        self._address = address

    async def send(self, body: bytes) -> None:
        """Post a body; raise ``NotTakenError`` unless it was taken."""
        try:
            # A redirect could carry the secret elsewhere.
            async with self._session.post(
                self._address, data=body, allow_redirects=False
            ) as answer:
                if answer.status < HTTPStatus.MULTIPLE_CHOICES:
                    return
                said = (await answer.content.read(_SHOWN)).decode(errors="replace")
                text = f"{self._address}: {answer.status} {answer.reason}: {' '.join(said.split())}"
                raise NotTakenError(text, final=answer.status in _REFUSED)
        except TimeoutError:
            raise NotTakenError(f"{self._address}: no answer in time") from None
        except (aiohttp.ClientError, OSError) as error:
            raise NotTakenError(f"{self._address}: {error}") from None


@asynccontextmanager
async def posting(receiver: Receiver, path: str) -> AsyncIterator[Post]:
    """Open what posts to a receiver; raises ``OSError`` or ``ValueError`` for a missing file."""
    context = await asyncio.to_thread(receiver.ssl_context)
    headers = {"Content-Type": "application/json", **_authorization(receiver)}
    async with aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(ssl=context, limit=1),
        timeout=aiohttp.ClientTimeout(total=receiver.timeout),
        headers=headers,
    ) as session:
        yield Post(session, receiver.url + path)


def _authorization(receiver: Receiver) -> dict[str, str]:
    if receiver.token is not None:
        return {"Authorization": f"Bearer {receiver.token.read().get_secret_value()}"}
    if receiver.username is not None and receiver.password is not None:
        login = f"{receiver.username}:{receiver.password.read().get_secret_value()}"
        return {"Authorization": f"Basic {base64.b64encode(login.encode()).decode()}"}
    return {}
