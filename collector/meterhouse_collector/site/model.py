"""The site model: what is installed, who holds it, what meters it and what it costs.

``load`` reads it from one TOML file, ``site.sample.toml`` being the only text about it; ``checks``
finds what its tables contradict; ``index`` compiles it into the look-ups that the rest uses.
"""

from datetime import date, datetime
from typing import Annotated
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import BeforeValidator

from meterhouse_collector.settings import Section
from meterhouse_collector.site.base import Currency, Name
from meterhouse_collector.site.carbon import (
    CarbonPrice,
    Certificate,
    EmissionFactor,
    EnergySource,
    FuelUse,
    RefrigerantLoss,
)
from meterhouse_collector.site.community import (
    GeneratorRun,
    Land,
    LocalPayment,
    RegionalCapacity,
    WaterStress,
)
from meterhouse_collector.site.contracts import CapacityContract, Coming, Commitment, TokenPrice
from meterhouse_collector.site.downtime import Downtime
from meterhouse_collector.site.hardware import Hardware, Operations, SharedEquipment
from meterhouse_collector.site.places import Asset, Cluster, Engine, Pool, Tenant
from meterhouse_collector.site.power import (
    CoolingUnit,
    Generator,
    GridConnection,
    Meter,
    PowerNode,
    Storage,
    WaterSupply,
)
from meterhouse_collector.site.retire import Retire
from meterhouse_collector.site.sensors import Sensor
from meterhouse_collector.site.targets import Budget, Slo, Threshold
from meterhouse_collector.site.tariff import Colocation, ExchangeRate, Supply, Tariff


def _time_zone(text: object) -> object:
    try:
        ZoneInfo(str(text))
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ValueError('a name of the IANA time zone database like "Europe/Berlin"') from None
    return text


class SiteModel(Section):
    """All that is known of a site without measuring it.

    Only name, currency and time zone are required: a figure whose tables are missing has no value.
    """

    name: Name
    currency: Currency
    time_zone: Annotated[str, BeforeValidator(_time_zone)]
    cluster: tuple[Cluster, ...] = ()
    tenant: tuple[Tenant, ...] = ()
    pool: tuple[Pool, ...] = ()
    hardware: tuple[Hardware, ...] = ()
    asset: tuple[Asset, ...] = ()
    retire: tuple[Retire, ...] = ()
    engine: tuple[Engine, ...] = ()
    downtime: tuple[Downtime, ...] = ()
    meter: tuple[Meter, ...] = ()
    sensor: tuple[Sensor, ...] = ()
    power: tuple[PowerNode, ...] = ()
    generator: tuple[Generator, ...] = ()
    storage: tuple[Storage, ...] = ()
    cooling: tuple[CoolingUnit, ...] = ()
    water: tuple[WaterSupply, ...] = ()
    grid_connection: tuple[GridConnection, ...] = ()
    tariff: tuple[Tariff, ...] = ()
    supply: tuple[Supply, ...] = ()
    colocation: tuple[Colocation, ...] = ()
    exchange_rate: tuple[ExchangeRate, ...] = ()
    shared_equipment: tuple[SharedEquipment, ...] = ()
    operations: tuple[Operations, ...] = ()
    contract: tuple[CapacityContract, ...] = ()
    commitment: tuple[Commitment, ...] = ()
    pipeline: tuple[Coming, ...] = ()
    token_price: tuple[TokenPrice, ...] = ()
    energy_source: tuple[EnergySource, ...] = ()
    emission_factor: tuple[EmissionFactor, ...] = ()
    certificate: tuple[Certificate, ...] = ()
    fuel_use: tuple[FuelUse, ...] = ()
    refrigerant_loss: tuple[RefrigerantLoss, ...] = ()
    carbon_price: tuple[CarbonPrice, ...] = ()
    slo: tuple[Slo, ...] = ()
    budget: tuple[Budget, ...] = ()
    threshold: tuple[Threshold, ...] = ()
    regional_capacity: tuple[RegionalCapacity, ...] = ()
    water_stress: tuple[WaterStress, ...] = ()
    land: tuple[Land, ...] = ()
    local_payment: tuple[LocalPayment, ...] = ()
    generator_run: tuple[GeneratorRun, ...] = ()

    def instant(self, day: date) -> float:
        """Return the Unix time at which a day begins in the site's time zone."""
        zone = ZoneInfo(self.time_zone)
        return datetime(day.year, day.month, day.day, tzinfo=zone).timestamp()

    def day(self, at_seconds: float) -> date:
        """Return the day of an instant in the site's time zone."""
        return datetime.fromtimestamp(at_seconds, ZoneInfo(self.time_zone)).date()
