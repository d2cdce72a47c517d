"""What one registered device costs per second, live and so in floats; statements use decimals."""

from decimal import Decimal
from typing import Final

from meterhouse_collector.money.capital import annuity_year_money, straight_line_per_second
from meterhouse_collector.money.currency import convert_currency
from meterhouse_collector.site.dated import DatedTables
from meterhouse_collector.site.hardware import Hardware
from meterhouse_collector.site.model import SiteModel
from meterhouse_collector.site.places import Asset

_YEAR_SECONDS: Final = 365 * 86_400


class Capital:
    """The price of each asset: that which was in force on the day it was purchased."""

    def __init__(self, model: SiteModel, dated: DatedTables) -> None:
        self._model: Final = model
        self._dated: Final = dated

    def hardware(self, asset: Asset) -> Hardware | None:
        """Return the price that an asset was purchased at, or None where none was in force."""
        bought = self._model.instant(asset.priced_on)
        return self._dated.hardware.get(asset.accelerator_model, bought)

    def ends(self, asset: Asset) -> float | None:
        """Return the instant at which an asset's life ends, None where no life is known.

        It begins with the delivery, as hardware ages from there.
        """
        hardware = self.hardware(asset)
        if hardware is None or asset.contract is not None:
            return None
        return self._model.instant(asset.delivered or asset.in_service) + hardware.life

    def per_second(self, asset: Asset, at_seconds: float) -> float | None:
        """Return what a device costs per second in the reporting currency; None has no price.

        It is zero after the end of its life, and where a contract rents it.
        """
        if asset.contract is not None:
            return 0.0
        hardware, ends = self.hardware(asset), self.ends(asset)
        if hardware is None or ends is None:
            return None
        if at_seconds >= ends:
            return 0.0
        currencies = (hardware.currency or self._model.currency, self._model.currency)
        one = convert_currency(
            Decimal(1), currencies, asset.priced_on, self._model.exchange_rate
        ).amount
        return None if one is None else _per_second(hardware) * float(one)


def _per_second(hardware: Hardware) -> float:
    price, salvage = hardware.price_per_device, hardware.salvage_per_device
    if hardware.cost_of_capital is None or hardware.depreciation == "straight_line":
        return straight_line_per_second(float(price), float(salvage), hardware.life)
    yearly = annuity_year_money(
        price_money=price,
        salvage_money=salvage,
        interest_ratio=hardware.cost_of_capital,
        life_years=Decimal(hardware.life) / _YEAR_SECONDS,
    )
    return float(yearly) / _YEAR_SECONDS
