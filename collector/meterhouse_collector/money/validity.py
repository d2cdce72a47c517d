"""Which of several contracts that follow each other is in force on a day."""

from collections.abc import Iterable
from datetime import date
from typing import Protocol, TypeVar


class Dated(Protocol):
    """Something that is valid from a day, and until another or until the next begins."""

    @property
    def valid_from(self) -> date:
        """The first day."""

    @property
    def valid_to(self) -> date | None:
        """The first day without it, if it ends by itself."""


DatedT = TypeVar("DatedT", bound=Dated)


def in_force(versions: Iterable[DatedT], day: date) -> DatedT | None:
    """Return the latest that has begun, or None before the first and where the latest has ended."""
    begun = (version for version in versions if version.valid_from <= day)
    latest = max(begun, key=lambda version: version.valid_from, default=None)
    if latest is None or (latest.valid_to is not None and day >= latest.valid_to):
        return None
    return latest
