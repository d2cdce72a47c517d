"""Reads the dated prices of a tariff's series from CSV files beside the site file.

The header says the unit, since markets publish per MWh: ``begins,per_kwh`` or ``begins,per_mwh``.
Each instant has its offset from UTC, because a local hour is there twice when clocks go back.
"""

import csv
from collections.abc import Iterator
from datetime import datetime
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Final

from pydantic import ValidationError

from meterhouse_collector.money.decimals import CONTEXT
from meterhouse_collector.site.components import Component, Series, SeriesPoint
from meterhouse_collector.site.tariff import Tariff

KWH_PER_UNIT: Final = {"per_kwh": Decimal(1), "per_mwh": Decimal(1000)}


def with_prices(tariff: Tariff, folder: Path) -> Tariff:
    """Return a tariff whose series have their points, read from paths relative to a folder.

    Raise ``ValueError`` with the file and line of what cannot be read as a price.
    """
    components = tuple(_loaded(component, folder) for component in tariff.component)
    return tariff.model_copy(update={"component": components})


def _loaded(component: Component, folder: Path) -> Component:
    if not isinstance(component, Series) or component.path is None:
        return component
    points = read_points(folder / component.path)
    try:
        return Series(name=component.name, step=component.step, point=points)
    except ValidationError as error:
        message = error.errors()[0]["msg"].removeprefix("Value error, ")
        raise ValueError(f"{component.path}: allowed: {message}") from None


def read_points(path: Path) -> tuple[SeriesPoint, ...]:
    """Return the prices in a CSV file, in money per kWh; raise ``ValueError`` for any fault."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: {getattr(error, 'strerror', None) or 'no UTF-8'}") from None
    rows = list(csv.reader(text.splitlines()))
    header = [name.strip() for name in rows[0]] if rows else []
    if len(header) != 2 or header[0] != "begins" or header[1] not in KWH_PER_UNIT:  # noqa: PLR2004 - two columns
        raise ValueError(f"{path}:1: found {header}, allowed: begins,per_kwh or begins,per_mwh")
    return tuple(_points(path, rows[1:], KWH_PER_UNIT[header[1]]))


def _points(path: Path, rows: list[list[str]], kwh: Decimal) -> Iterator[SeriesPoint]:
    for number, row in enumerate(rows, start=2):
        if not row:
            continue
        try:
            begins, price = row
            instant, per_unit = datetime.fromisoformat(begins.strip()), Decimal(price.strip())
            yield SeriesPoint(begins=instant, per_kwh=CONTEXT.divide(per_unit, kwh))
        except (ValueError, InvalidOperation):
            raise ValueError(
                f"{path}:{number}: found {row}, allowed: an instant with its offset, and a price"
            ) from None
