"""The sections of the collector's config file that say where its rows are kept."""

import ssl
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, ConfigDict, Field

from meterhouse_collector.settings import DurationSeconds, Secret, Section, is_loopback

Seconds = Annotated[DurationSeconds, Field(gt=0, le=600)]


def _plain_url(text: str) -> str:
    # The text must not come back in the error: it may hold a password.
    parts = urlsplit(text)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ValueError("must be http://HOST:PORT or https://HOST:PORT")
    if parts.username or parts.password or parts.query or parts.fragment:
        raise ValueError("must hold no user, password, query or fragment: the token has a key")
    return text.rstrip("/")


class InfluxConfig(Section):
    """An InfluxDB 2: buckets are named ``DATABASE/POLICY``; the timeout bounds each request.

    Requests are compressed when the server is not on the loopback, unless ``compress`` says so.
    """

    model_config = ConfigDict(hide_input_in_errors=True)

    url: Annotated[str, AfterValidator(_plain_url)]
    org: Annotated[str, Field(min_length=1)]
    token: Secret
    database: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,62}$")] = "meterhouse"
    timeout: Seconds = "10s"  # type: ignore[assignment] # validated default
    compress: bool | None = None
    ca_file: Path | None = None

    def compresses(self) -> bool:
        """Tell whether what is sent is compressed."""
        if self.compress is not None:
            return self.compress
        return not is_loopback(urlsplit(self.url).hostname or "")

    def is_overheard(self) -> bool:
        """Tell whether the token goes over a network in plain text."""
        parts = urlsplit(self.url)
        return parts.scheme == "http" and not is_loopback(parts.hostname or "")

    def ssl_context(self) -> ssl.SSLContext:
        """Return what certificates are trusted; reads files, so not on the event loop."""
        context = ssl.create_default_context(cafile=self.ca_file)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        return context


class SqliteConfig(Section):
    """A database file beside the collector; ``:memory:`` keeps nothing."""

    path: Annotated[str, Field(min_length=1)]
    timeout: Seconds = "10s"  # type: ignore[assignment] # validated default
