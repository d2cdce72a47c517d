"""Asks a collector's page for JSON, with the login and the authority that it wants."""

import argparse
import base64
import http.client
import json
import ssl
import urllib.error
import urllib.request
from http import HTTPStatus
from pathlib import Path
from typing import Any, Final, NamedTuple
from urllib.parse import urlsplit

from meterhouse_collector.commands.books import UsageError
from meterhouse_collector.settings import Secret, is_loopback

ADDRESS: Final = "http://127.0.0.1:8424/"
_TIMEOUT_SECONDS: Final = 10.0
_ANSWER_BYTES: Final = 64 * 1024 * 1024


class PageClient(NamedTuple):
    """Where a page is and how to come in; ``authorization`` is empty where none is given."""

    address: str
    authorization: str
    context: ssl.SSLContext | None

    def get(self, path: str) -> Any:  # noqa: ANN401 - JSON
        """Return the JSON of a path; raise ``OSError`` that says what to do."""
        request = urllib.request.Request(self.address + path)  # noqa: S310 - of http or https
        if self.authorization:
            request.add_header("Authorization", self.authorization)
        try:
            with urllib.request.urlopen(  # noqa: S310 - of http or https
                request, timeout=_TIMEOUT_SECONDS, context=self.context
            ) as answer:
                return json.loads(answer.read(_ANSWER_BYTES))
        except urllib.error.HTTPError as error:
            raise OSError(f"{self.address}: {_refused(error.code)}") from None
        except (OSError, http.client.HTTPException) as error:
            reason = error.reason if isinstance(error, urllib.error.URLError) else error
            raise OSError(f"{self.address}: {_unreachable(reason)}") from None
        except ValueError:
            raise OSError(f"{self.address}: no collector's page answers there") from None


def _refused(status: int) -> str:
    if status == HTTPStatus.UNAUTHORIZED:
        return "it wants a login: give --token-file, or --username and --password-file"
    if status == HTTPStatus.NOT_FOUND:
        return "no collector's page of this version answers there"
    return f"it answers {status}"


def _unreachable(reason: object) -> str:
    if isinstance(reason, ssl.SSLCertVerificationError):
        return f"its certificate is not trusted ({reason.verify_message}): give --ca-file"
    text = reason.strerror if isinstance(reason, OSError) and reason.strerror else str(reason)
    return f"cannot be reached ({text}): is the collector running, and has its config a [page]?"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add where the page is, and how to come in."""
    parser.add_argument(
        "address", nargs="?", metavar="ADDRESS", default=ADDRESS, help=f"by default {ADDRESS}"
    )
    parser.add_argument("--token-file", type=Path, metavar="FILE", help="the page's token")
    parser.add_argument("--username", help="the page's user")
    parser.add_argument("--password-file", type=Path, metavar="FILE", help="its password")
    parser.add_argument("--ca-file", type=Path, metavar="FILE", help="who signed its certificate")


def client_of(options: argparse.Namespace) -> PageClient:
    """Return the client of some options; raise ``UsageError`` where they contradict each other."""
    parts = urlsplit(options.address)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise UsageError([f"address: found {options.address!r}: like {ADDRESS}"])
    if (options.username is None) != (options.password_file is None):
        raise UsageError(["give --username and --password-file together"])
    authorization = _authorization(options)
    if authorization and parts.scheme == "http" and not is_loopback(parts.hostname):
        raise UsageError([f"address: found {options.address!r}: a login wants https"])
    context = None
    if parts.scheme == "https":
        try:
            context = ssl.create_default_context(cafile=options.ca_file)
        except (OSError, ssl.SSLError) as error:
            raise UsageError([f"--ca-file: {options.ca_file}: {error}"]) from None
    return PageClient(options.address.rstrip("/") + "/", authorization, context)


def _authorization(options: argparse.Namespace) -> str:
    if options.token_file is not None:
        return f"Bearer {_secret('--token-file', options.token_file)}"
    if options.username is None:
        return ""
    login = f"{options.username}:{_secret('--password-file', options.password_file)}"
    return f"Basic {base64.b64encode(login.encode()).decode()}"


def _secret(option: str, path: Path) -> str:
    try:
        return Secret(file=path).read().get_secret_value()
    except ValueError as error:
        raise UsageError([f"{option}: {error}"]) from None
