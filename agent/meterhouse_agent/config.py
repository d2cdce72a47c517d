"""The agent's config: TOML in, frozen models out, and one line for each fault."""

import socket
import tomllib
from pathlib import Path
from typing import Annotated, Any, Final

from pydantic import (
    AfterValidator,
    Field,
    ValidationError,
    field_validator,
    model_validator,
)

from meterhouse_agent import sources
from meterhouse_agent.settings import (
    DurationSeconds,
    Secret,
    Section,
    SourceConfig,
    is_loopback,
    parse_server,
)
from meterhouse_agent.wire import INTERVAL_LENGTHS_SECONDS, MAX_DEVICES, is_name


class ConfigError(Exception):
    """A config that cannot be used; ``faults`` has one line each: file, key, found, allowed."""

    def __init__(self, faults: list[str]) -> None:
        super().__init__("\n".join(faults))
        self.faults = faults


def _name(text: str) -> str:
    if not is_name(text):
        raise ValueError("a name has 1 to 63 of a-z, 0-9, _ and -, and begins with a-z or 0-9")
    return text


NameText = Annotated[str, AfterValidator(_name)]


def _host_name() -> str:
    return socket.gethostname().split(".")[0].lower()


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
    """The broker; ``username`` is the node's name unless given.

    ``others`` are more servers of the same cluster.
    """

    host: str
    port: Annotated[int, Field(ge=1, le=65535)] = 8883
    others: tuple[str, ...] = ()
    username: str | None = None
    password: Secret | None = None
    tls: TlsConfig | None = None
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

    @property
    def keepalive_seconds(self) -> int:
        """The MQTT keepalive."""
        return max(1, round(self.keepalive))


class SocketConfig(Section):
    """The collector's Unix socket, in place of a broker."""

    path: Path


class SpoolConfig(Section):
    """Where reports wait, one file per node."""

    directory: Path
    max_bytes: Annotated[int, Field(ge=64 * 1024)] = 256 * 1024 * 1024


class MetricsConfig(Section):
    """The agent's own /metrics; beyond the loopback with a login and TLS, unless ``open``."""

    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65535)] = 9464
    token: Secret | None = None
    username: str | None = None
    password: Secret | None = None
    certificate_file: Path | None = None
    key_file: Path | None = None
    open: bool = False

    @model_validator(mode="after")
    def _closed(self) -> "MetricsConfig":
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


class AgentConfig(Section):
    """All of an agent's config."""

    site: NameText
    node: NameText = Field(default_factory=_host_name)
    play: tuple[NameText, ...] = ()
    interval: DurationSeconds = Field("5s", validate_default=True)
    resend_after: DurationSeconds = Field("90s", validate_default=True)
    mqtt: MqttConfig | None = None
    socket: SocketConfig | None = None
    spool: SpoolConfig
    metrics: MetricsConfig | None = None
    source: tuple[SourceConfig, ...]

    @field_validator("interval")
    @classmethod
    def _on_grid(cls, value: float) -> float:
        if value not in INTERVAL_LENGTHS_SECONDS:
            allowed = ", ".join(f"{s}s" for s in INTERVAL_LENGTHS_SECONDS)
            raise ValueError(f"an interval is one of {allowed}")
        return value

    @model_validator(mode="after")
    def _one_transport(self) -> "AgentConfig":
        if (self.mqtt is None) == (self.socket is None):
            raise ValueError("give either [mqtt] or [socket]")
        if len(self.play) > MAX_DEVICES:
            raise ValueError(f"play: at most {MAX_DEVICES} nodes in one process")
        return self

    @property
    def interval_seconds(self) -> int:
        """The length of an interval."""
        return round(self.interval)

    @property
    def nodes(self) -> tuple[str, ...]:
        """The nodes this process speaks for: its own, or those it plays in a test or demo."""
        return self.play or (self.node,)

    def secrets(self) -> dict[str, Secret]:
        """Return the secrets that it names, by key."""
        mqtt, metrics = self.mqtt, self.metrics
        found = {
            "mqtt.password": None if mqtt is None else mqtt.password,
            "metrics.token": None if metrics is None else metrics.token,
            "metrics.password": None if metrics is None else metrics.password,
        }
        return {key: secret for key, secret in found.items() if secret is not None}


_KINDLY: Final = {
    "extra_forbidden": "no such key",
    "missing": "is missing",
}


def load_config(path: Path) -> AgentConfig:
    """Read and validate a config file; raise ``ConfigError`` with every fault."""
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError([f"{path}: {error.strerror}"]) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError([f"{path}: not TOML: {error}"]) from None
    return validate(table, str(path))


def validate(table: dict[str, Any], origin: str) -> AgentConfig:
    """Validate a config table; raise ``ConfigError`` with every fault."""
    faults: list[str] = []
    built = [_source(entry, f"source.{n}", origin, faults) for n, entry in _numbered(table)]
    try:
        sections = [section for section in built if section is not None]
        config = AgentConfig.model_validate({**table, "source": sections})
        faults += _secret_faults(config, origin)
    except ValidationError as error:
        faults += [_fault(origin, "", details) for details in error.errors()]
    if not built:
        faults.append(f"{origin}: source: give at least one [[source]]")
    if faults:
        raise ConfigError(faults)
    return config


def _secret_faults(config: AgentConfig, origin: str) -> list[str]:
    faults = []
    for key, secret in config.secrets().items():
        try:
            secret.read()
        except ValueError as error:
            faults.append(f"{origin}: {key}: {error}")
    return faults


def _numbered(table: dict[str, Any]) -> list[tuple[int, object]]:
    entries = table.get("source", [])
    return list(enumerate(entries, 1)) if isinstance(entries, list) else [(1, entries)]


def _source(entry: object, key: str, origin: str, faults: list[str]) -> SourceConfig | None:
    if not isinstance(entry, dict) or entry.get("kind") not in sources.SOURCES:
        found = entry.get("kind") if isinstance(entry, dict) else entry
        kinds = ", ".join(sources.SOURCES)
        faults.append(f"{origin}: {key}.kind: found {found!r}: allowed are {kinds}")
        return None
    try:
        return sources.load(entry["kind"]).Config.model_validate(entry)
    except ValidationError as error:
        faults += [_fault(origin, f"{key}.", details) for details in error.errors()]
        return None


def _fault(origin: str, prefix: str, details: Any) -> str:  # noqa: ANN401 - pydantic exports no type for it
    key = prefix + ".".join(str(part) for part in details["loc"]) or "(whole file)"
    kind = details["type"]
    if kind in _KINDLY:
        return f"{origin}: {key}: {_KINDLY[kind]}"
    message = details["msg"].removeprefix("Value error, ")
    secret = {"url", "token", "password"} & {str(part) for part in details["loc"]}
    plain = not secret and not isinstance(details["input"], dict | list)
    found = f"found {details['input']!r}: " if plain else ""
    return f"{origin}: {key}: {found}{message}"
