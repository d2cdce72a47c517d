"""The types a config file is made of: durations, secrets, and the base of a source's section."""

import os
import re
from pathlib import Path
from typing import Annotated, Final

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PrivateAttr,
    SecretStr,
    model_validator,
)

_DURATION: Final = re.compile(r"^(\d+(?:\.\d+)?)(ms|s|m|h|d)$")
_LOOPBACK: Final = re.compile(r"127(\.\d+){3}|::1|localhost")
_SERVER: Final = re.compile(
    r"(?:\[(?P<address>[0-9a-fA-F:]+)\]|(?P<host>[^\s:\[\]]+))(?::(?P<port>\d{1,5}))?"
)
_PORT_MAX: Final = 65535
_UNIT_SECONDS: Final = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


def parse_duration(text: object) -> object:
    """Turn "5s", "250ms", "2m", "1h" or "7d" into seconds; raise ``ValueError`` otherwise."""
    if not isinstance(text, str):
        raise ValueError('a duration is a text like "5s", "250ms" or "2m"')  # noqa: TRY004 - pydantic reports ValueError
    match = _DURATION.match(text)
    if match is None:
        raise ValueError('a duration is a text like "5s", "250ms" or "2m"')
    return float(match[1]) * _UNIT_SECONDS[match[2]]


DurationSeconds = Annotated[float, BeforeValidator(parse_duration)]


TickSeconds = Annotated[DurationSeconds, Field(ge=0.1, le=3600)]


def is_loopback(host: str) -> bool:
    """Tell whether only this machine can reach an address."""
    return _LOOPBACK.fullmatch(host) is not None


def parse_server(text: str, port: int) -> tuple[str, int]:
    """Take "host", "host:port" or "[address]:port" apart; raise ``ValueError`` otherwise."""
    match = _SERVER.fullmatch(text)
    if match is None or (match["port"] and not 1 <= int(match["port"]) <= _PORT_MAX):
        raise ValueError(f'{text!r} is no server: it is a text like "host" or "host:8883"')
    return match["address"] or match["host"], int(match["port"] or port)


class Section(BaseModel):
    """A table of a config file: frozen, and an unknown key is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True)


class Secret(Section):
    """A secret by file or by environment variable; never in the config file, never printed."""

    file: Path | None = None
    env: str | None = None
    _held: SecretStr | None = PrivateAttr(None)

    @model_validator(mode="after")
    def _one_of(self) -> "Secret":
        if (self.file is None) == (self.env is None):
            raise ValueError("give either file or env")
        return self

    def read(self) -> SecretStr:
        """Return the secret without surrounding space; raise ``ValueError`` if it is not there."""
        if self._held is not None:
            return self._held
        if self.env is not None:
            value = os.environ.get(self.env, "").strip()
            if not value:
                raise ValueError(f"environment variable {self.env} is not set")
            return SecretStr(value)
        try:
            value = Path(str(self.file)).read_text(encoding="utf-8").strip()
        except OSError as error:
            raise ValueError(f"secret file {self.file}: {error.strerror}") from None
        if not value:
            raise ValueError(f"secret file {self.file} is empty")
        return SecretStr(value)

    def hold(self) -> None:
        """Take a variable out of the environment, so that no child process gets it.

        Raises ``ValueError`` if it is not there.
        """
        if self.env is not None:
            self._held = self.read()
            os.environ.pop(self.env, None)


class SourceConfig(Section):
    """What every source's section has; the section's own keys are added by its module."""

    kind: str
    sample_every: TickSeconds = "1s"  # type: ignore[assignment] # validated default
    deadline: TickSeconds = "800ms"  # type: ignore[assignment] # validated default
