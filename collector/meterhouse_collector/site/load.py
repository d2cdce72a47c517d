"""Reads a site file into a site model, or says every fault of it."""

import tomllib
from collections.abc import Sequence
from decimal import Decimal
from importlib import resources
from pathlib import Path
from typing import Final

from pydantic import ValidationError

from meterhouse_collector.site import checks
from meterhouse_collector.site.model import SiteModel
from meterhouse_collector.site.price_series import with_prices

_FOUND_CHARACTERS: Final = 80


class SiteModelError(ValueError):
    """A site file that cannot be used; ``faults`` says why, one line each."""

    def __init__(self, faults: Sequence[str]) -> None:
        self.faults = list(faults)
        super().__init__("\n".join(self.faults))


def sample() -> str:
    """Return the commented sample of a site file."""
    return resources.files("meterhouse_collector").joinpath("site.sample.toml").read_text("utf-8")


def load_site(path: Path) -> SiteModel:
    """Read a site file and its files of prices; raise ``SiteModelError`` with every fault."""
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise SiteModelError([f"{path}: {error.strerror or error}"]) from None
    except UnicodeDecodeError as error:
        raise SiteModelError([f"{path}: {error}"]) from None
    model = parse_site(text, str(path))
    try:
        tariffs = tuple(with_prices(tariff, path.parent) for tariff in model.tariff)
    except ValueError as error:
        raise SiteModelError([f"{path}: tariff: {error}"]) from None
    return model.model_copy(update={"tariff": tariffs})


def parse_site(text: str, source: str) -> SiteModel:
    """Build a site model from the text of a site file; faults name ``source``."""
    try:
        # Prices stay the decimals that were written.
        tables = tomllib.loads(text, parse_float=Decimal)
    except tomllib.TOMLDecodeError as error:
        raise SiteModelError([f"{source}: {error}"]) from None
    try:
        model = SiteModel.model_validate(tables)
    except ValidationError as error:
        raise SiteModelError(_faults(error, source)) from None
    faults = checks.faults(model)
    if faults:
        raise SiteModelError([f"{source}: {fault}" for fault in faults])
    return model


def _faults(error: ValidationError, source: str) -> list[str]:
    faults = []
    for entry in error.errors(include_url=False):
        key = ".".join(str(part) for part in entry["loc"])
        found = repr(entry["input"])
        if len(found) > _FOUND_CHARACTERS:
            found = found[:_FOUND_CHARACTERS] + "…"
        allowed = entry["msg"].removeprefix("Value error, ")
        faults.append(f"{source}: {key}: found {found}, allowed: {allowed}".replace("\n", " "))
    return faults
