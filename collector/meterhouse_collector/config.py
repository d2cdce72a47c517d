"""The collector's config: TOML in, frozen models out, and one line for each fault."""

import tomllib
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from pydantic import Field, ValidationError, field_validator, model_validator

from meterhouse_agent import wire
from meterhouse_collector.gathered import SLOT_NAMES, parse_slots
from meterhouse_collector.notify.config import AlertsConfig
from meterhouse_collector.settings import (
    DurationSeconds,
    Secret,
    Section,
    is_loopback,
    parse_server,
)
from meterhouse_collector.store.config import InfluxConfig, SqliteConfig


class ConfigError(Exception):
    """A config that cannot be used; ``faults`` has one line each: file, key, found, allowed."""

    def __init__(self, faults: list[str]) -> None:
        super().__init__("\n".join(faults))
        self.faults = faults


class TlsConfig(Section):
    """TLS to the broker; the system's authorities unless a file is given."""

    ca_file: Path | None = None
    certificate_file: Path | None = None
    key_file: Path | None = None

    @model_validator(mode="after")
    def _both(self) -> "TlsConfig":
        if (self.certificate_file is None) != (self.key_file is None):
            raise ValueError("certificate_file and key_file go together")
        return self


class MqttConfig(Section):
    """The broker, and as whom to come; ``others`` are more servers of the same cluster."""

    host: str
    port: Annotated[int, Field(ge=1, le=65535)] = 8883
    others: tuple[str, ...] = ()
    client_id: str | None = None
    username: str | None = None
    password: Secret | None = None
    tls: TlsConfig | None = None
    qos: Annotated[int, Field(ge=0, le=1)] = 0
    keepalive: DurationSeconds = Field("30s", validate_default=True)

    @model_validator(mode="after")
    def _not_overheard(self) -> "MqttConfig":
        local = all(is_loopback(host) for host, _ in self.servers)
        if self.password is not None and self.tls is None and not local:
            raise ValueError("give [mqtt.tls]: without it the password can be overheard")
        return self

    @property
    def servers(self) -> tuple[tuple[str, int], ...]:
        """Host and port of each server of the cluster."""
        more = (parse_server(each, self.port) for each in self.others)
        return ((self.host, self.port), *more)

    def each_server(self) -> "list[MqttConfig]":
        """Return one config for each server of the cluster."""
        return [
            self.model_copy(update={"host": host, "port": port, "others": ()})
            for host, port in self.servers
        ]

    @property
    def keepalive_seconds(self) -> int:
        """The MQTT keepalive."""
        return max(1, round(self.keepalive))


class SocketConfig(Section):
    """A Unix socket of our own, in place of a broker."""

    path: Path


class PageConfig(Section):
    """Where the live page and /metrics are served, and to whom.

    Beyond the loopback with a login and TLS, unless ``open``.
    """

    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65535)] = 8424
    token: Secret | None = None
    username: str | None = None
    password: Secret | None = None
    certificate_file: Path | None = None
    key_file: Path | None = None
    open: bool = False

    @model_validator(mode="after")
    def _closed(self) -> "PageConfig":
        if (self.certificate_file is None) != (self.key_file is None):
            raise ValueError("certificate_file and key_file go together")
        if (self.username is None) != (self.password is None):
            raise ValueError("username and password go together")
        if self.username is not None and ":" in self.username:
            raise ValueError("username: a colon would end it")
        if self.open or is_loopback(self.host):
            return self
        if self.token is None and self.password is None:
            raise ValueError(
                f"{self.host} is not the loopback: give token, or username and password; "
                "or say open = true, where everybody there may read it"
            )
        if self.certificate_file is None:
            raise ValueError(
                f"{self.host} is not the loopback: give certificate_file and key_file, or the "
                "login can be overheard; or say open = true, where nobody there can listen"
            )
        return self

    def read_token(self) -> str | None:
        """Return the token; raise ``ValueError`` if it is not there."""
        return None if self.token is None else self.token.read().get_secret_value()

    def read_login(self) -> tuple[str, str] | None:
        """Return user and password; raise ``ValueError`` if that is not there."""
        if self.username is None or self.password is None:
            return None
        return self.username, self.password.read().get_secret_value()


class CollectorConfig(Section):
    """All of a collector's config."""

    site: Path
    role: Literal["all", "intake", "steward"] = "all"
    part: Annotated[str, Field(pattern=wire.NAME_PATTERN)] | None = None
    slots: str | None = None
    interval: DurationSeconds = Field("5s", validate_default=True)
    detail_every: DurationSeconds = Field("60s", validate_default=True)
    grace: DurationSeconds = Field("3s", validate_default=True)
    held: DurationSeconds = Field("5m", validate_default=True)
    window: DurationSeconds = Field("5m", validate_default=True)
    receipts_every: DurationSeconds = Field("30s", validate_default=True)
    flush_every: DurationSeconds = Field("250ms", validate_default=True)
    mqtt: MqttConfig | None = None
    socket: SocketConfig | None = None
    influx: InfluxConfig | None = None
    sqlite: SqliteConfig | None = None
    page: PageConfig | None = None
    alerts: AlertsConfig | None = None

    @field_validator("interval")
    @classmethod
    def _on_grid(cls, value: float) -> float:
        if value not in wire.INTERVAL_LENGTHS_SECONDS:
            allowed = ", ".join(f"{s}s" for s in wire.INTERVAL_LENGTHS_SECONDS)
            raise ValueError(f"an interval is one of {allowed}")
        return value

    @field_validator("slots")
    @classmethod
    def _slots(cls, value: str | None) -> str | None:
        if value is not None:
            parse_slots(value)
        return value

    @model_validator(mode="after")
    def _role_has_what_it_needs(self) -> "CollectorConfig":
        if self.role != "intake" and (self.part is not None or self.slots is not None):
            raise ValueError('part and slots are of role = "intake"')
        if self.role == "intake" and (self.part is None or self.slots is None):
            raise ValueError('role = "intake" needs part, a name of its own, and slots')
        if self.role != "all" and (self.mqtt is None or self.influx is None):
            raise ValueError(f'role = "{self.role}" needs [mqtt] and [influx], which all share')
        return self

    @model_validator(mode="after")
    def _consistent(self) -> "CollectorConfig":
        if (self.mqtt is None) == (self.socket is None):
            raise ValueError("give either [mqtt] or [socket]")
        if self.influx is not None and self.sqlite is not None:
            raise ValueError("give either [influx] or [sqlite]; without both, SQLite is used")
        if self.detail_every % self.interval:
            raise ValueError("detail_every must be a multiple of interval")
        return self

    @property
    def taken_slots(self) -> frozenset[str]:
        """The slots whose reports it takes: all, those of an intake, or of a steward none."""
        if self.role == "intake" and self.slots is not None:
            return parse_slots(self.slots)
        return frozenset(SLOT_NAMES if self.role == "all" else ())

    @property
    def client_id(self) -> str:
        """Its name to the broker, which lets each name in once."""
        given = None if self.mqtt is None else self.mqtt.client_id
        words = ("meterhouse-collector", self.part or (self.role if self.role != "all" else None))
        return given or "-".join(word for word in words if word is not None)


_KINDLY: Final = {"extra_forbidden": "no such key", "missing": "is missing"}


def sample() -> str:
    """Return the commented sample of a config file, the only text about it."""
    return resources.files(__package__).joinpath("collector.sample.toml").read_text("utf-8")


def load_config(path: Path, *, secrets: bool = True) -> CollectorConfig:
    """Read and validate a config file; raise ``ConfigError`` with every fault.

    Without ``secrets`` it is not looked whether they are there: they may be still to be made.
    """
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError([f"{path}: {error.strerror}"]) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError([f"{path}: not TOML: {error}"]) from None
    return validate(table, str(path), secrets=secrets)


def validate(table: dict[str, Any], origin: str, *, secrets: bool = True) -> CollectorConfig:
    """Validate a config table; raise ``ConfigError`` with every fault."""
    try:
        config = CollectorConfig.model_validate(table)
    except ValidationError as error:
        raise ConfigError([_fault(origin, details) for details in error.errors()]) from None
    faults = _secret_faults(config, origin) if secrets else []
    if faults:
        raise ConfigError(faults)
    return config


def _secret_faults(config: CollectorConfig, origin: str) -> list[str]:
    faults = []
    for key, secret in (
        ("mqtt.password", None if config.mqtt is None else config.mqtt.password),
        ("influx.token", None if config.influx is None else config.influx.token),
        ("page.token", None if config.page is None else config.page.token),
        ("page.password", None if config.page is None else config.page.password),
        *_alert_secrets(config.alerts),
    ):
        try:
            if secret is not None:
                secret.read()
        except ValueError as error:
            faults.append(f"{origin}: {key}: {error}")
    return faults


def _alert_secrets(config: AlertsConfig | None) -> list[tuple[str, Secret]]:
    if config is None:
        return []
    return [(f"alerts.{key}", secret) for key, secret in config.secrets().items()]


def _fault(origin: str, details: Any) -> str:  # noqa: ANN401 - pydantic exports no type for it
    key = ".".join(str(part) for part in details["loc"]) or "(whole file)"
    if details["type"] in _KINDLY:
        return f"{origin}: {key}: {_KINDLY[details['type']]}"
    message = details["msg"].removeprefix("Value error, ")
    secret = {"url", "token", "password"} & {str(part) for part in details["loc"]}
    plain = not secret and not isinstance(details.get("input"), dict | list | None)
    found = f"found {details['input']!r}: " if plain else ""
    return f"{origin}: {key}: {found}{message}"
