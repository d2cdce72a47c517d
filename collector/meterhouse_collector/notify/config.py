"""The section of the collector's config that says whom it tells of its alerts."""

import ssl
from pathlib import Path
from typing import Annotated, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, ConfigDict, Field, model_validator

from meterhouse_collector.settings import DurationSeconds, Secret, Section, is_loopback

Seconds = Annotated[DurationSeconds, Field(gt=0, le=600)]
Repeat = Annotated[DurationSeconds, Field(ge=1, le=3600)]


def _url(text: str) -> str:
    # The text must not come back in the error: it may hold a password.
    parts = urlsplit(text)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ValueError("must be http://HOST:PORT/PATH or https://HOST:PORT/PATH")
    if parts.username or parts.password or parts.query or parts.fragment:
        raise ValueError("must hold no user, password, query or fragment: these have keys")
    return text.rstrip("/")


Url = Annotated[str, AfterValidator(_url)]


class Receiver(Section):
    """Where alerts are posted to, and how to prove who posts; the timeout bounds each request."""

    model_config = ConfigDict(hide_input_in_errors=True)

    url: Url
    token: Secret | None = None
    username: str | None = None
    password: Secret | None = None
    timeout: Seconds = Field("10s", validate_default=True)
    ca_file: Path | None = None

    @model_validator(mode="after")
    def _not_overheard(self) -> Self:
        if (self.username is None) != (self.password is None):
            raise ValueError("username and password go together")
        if self.token is not None and self.password is not None:
            raise ValueError("either token, or username and password")
        parts = urlsplit(self.url)
        secret = self.token is not None or self.password is not None
        if secret and parts.scheme == "http" and not is_loopback(parts.hostname or ""):
            raise ValueError("https: the secret could be overheard")
        return self

    def ssl_context(self) -> ssl.SSLContext:
        """Return what certificates are trusted; reads files, so not on the event loop."""
        context = ssl.create_default_context(cafile=self.ca_file)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        return context

    def secrets(self) -> dict[str, Secret]:
        """Return the secrets that are named."""
        named = {"token": self.token, "password": self.password}
        return {name: secret for name, secret in named.items() if secret is not None}


class AlertmanagerConfig(Receiver):
    """An Alertmanager: what is not repeated it takes to be over."""

    repeat: Repeat = Field("1m", validate_default=True)


class WebhookConfig(Receiver):
    """Any HTTP server that takes JSON; it is told once that an alert fires, and once of its end."""


class AlertsConfig(Section):
    """Whom the collector tells of its alerts, and where boards and runbooks are."""

    model_config = ConfigDict(hide_input_in_errors=True)

    boards_url: Url | None = None
    runbooks_url: Url | None = None
    alertmanager: AlertmanagerConfig | None = None
    webhook: WebhookConfig | None = None

    def secrets(self) -> dict[str, Secret]:
        """Return the secrets of both, by their key."""
        receivers = {"alertmanager": self.alertmanager, "webhook": self.webhook}
        return {
            f"{name}.{key}": secret
            for name, receiver in receivers.items()
            if receiver is not None
            for key, secret in receiver.secrets().items()
        }
