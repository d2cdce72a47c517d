"""What every table of a site file is made of: names, amounts, and the days it holds."""

from collections.abc import Callable, Hashable, Sequence
from datetime import date
from decimal import Decimal
from itertools import pairwise
from typing import Annotated, TypeVar

from pydantic import Field, model_validator

from meterhouse_agent import wire
from meterhouse_collector.settings import DurationSeconds, Section

Name = Annotated[str, Field(pattern=wire.NAME_PATTERN)]
Text = Annotated[str, Field(min_length=1, max_length=128)]
Currency = Annotated[str, Field(pattern=r"^[A-Z]{3}$")]
Money = Annotated[Decimal, Field(ge=0)]
Duration = Annotated[DurationSeconds, Field(gt=0)]
Watts = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Amount = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Ratio = Annotated[float, Field(ge=0, le=1)]
Share = Annotated[float, Field(gt=0, le=1)]
Count = Annotated[int, Field(ge=1)]


class Lasting(Section):
    """An entry that holds from ever and for ever, unless dates say otherwise.

    ``valid_to`` is the first day without it; without one it ends where the next of its name begins.
    """

    valid_from: date | None = None
    valid_to: date | None = None

    @model_validator(mode="after")
    def _dates(self) -> "Lasting":
        begins, ends = self.valid_from, self.valid_to
        if begins is not None and ends is not None and ends <= begins:
            raise ValueError(f"a valid_to after valid_from, {begins}")
        return self


class Dated(Lasting):
    """An entry that holds from a day on; money and promises never hold from ever."""

    valid_from: date


DatedT = TypeVar("DatedT", bound=Dated)


def until_next(entries: Sequence[DatedT], key: Callable[[DatedT], Hashable]) -> list[DatedT]:
    """Return entries that each end where the next of their key begins, if they do not before."""
    versions: dict[Hashable, list[DatedT]] = {}
    for entry in sorted(entries, key=lambda entry: entry.valid_from):
        versions.setdefault(key(entry), []).append(entry)
    ends = {
        id(one): min(other.valid_from, one.valid_to or other.valid_from)
        for same in versions.values()
        for one, other in pairwise(same)
    }
    return [
        entry.model_copy(update={"valid_to": ends[id(entry)]}) if id(entry) in ends else entry
        for entry in entries
    ]


class Promise(Section):
    """A date that was promised, and the day on which that was said."""

    said: date
    due: date


def revised(promised: tuple[Promise, ...]) -> tuple[Promise, ...]:
    """Return promises as given; raise ``ValueError`` unless each was said after the one before."""
    said = [promise.said for promise in promised]
    if said != sorted(set(said)):
        raise ValueError("promises in the order in which they were said, one for each day")
    return promised
