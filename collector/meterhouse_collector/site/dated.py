"""Every table of a site model whose entries follow each other, by name and time."""

from typing import Final

from meterhouse_collector.site.model import SiteModel
from meterhouse_collector.site.timeline import Timeline


class DatedTables:
    """One timeline for each table, under the table's name in the site file."""

    def __init__(self, model: SiteModel) -> None:
        day = model.instant
        self.cluster: Final = Timeline(model.cluster, lambda e: e.name, day)
        self.tenant: Final = Timeline(model.tenant, lambda e: e.name, day)
        self.pool: Final = Timeline(model.pool, lambda e: e.name, day)
        self.engine: Final = Timeline(model.engine, lambda e: e.name, day)
        self.hardware: Final = Timeline(model.hardware, lambda e: e.accelerator_model, day)
        self.meter: Final = Timeline(model.meter, lambda e: e.name, day)
        self.sensor: Final = Timeline(model.sensor, lambda e: e.name, day)
        self.power: Final = Timeline(model.power, lambda e: e.name, day)
        self.generator: Final = Timeline(model.generator, lambda e: e.name, day)
        self.storage: Final = Timeline(model.storage, lambda e: e.name, day)
        self.cooling: Final = Timeline(model.cooling, lambda e: e.name, day)
        self.water: Final = Timeline(model.water, lambda e: e.name, day)
        self.grid_connection: Final = Timeline(model.grid_connection, lambda e: e.name, day)
        self.tariff: Final = Timeline(model.tariff, lambda e: e.name, day)
        self.supply: Final = Timeline(model.supply, lambda e: e.source, day)
        self.colocation: Final = Timeline(model.colocation, lambda e: e.name, day)
        self.operations: Final = Timeline(model.operations, lambda e: e.name, day)
        self.contract: Final = Timeline(model.contract, lambda e: e.name, day)
        self.commitment: Final = Timeline(model.commitment, lambda e: e.name, day)
        self.token_price: Final = Timeline(
            model.token_price, lambda e: (e.served_model, e.tenant), day
        )
        self.energy_source: Final = Timeline(model.energy_source, lambda e: e.name, day)
        self.emission_factor: Final = Timeline(
            model.emission_factor, lambda e: (e.energy_source, e.method, e.signal), day
        )
        self.carbon_price: Final = Timeline(model.carbon_price, lambda e: (e.kind, e.scope), day)
        self.slo: Final = Timeline(model.slo, lambda e: e.name, day)
        self.budget: Final = Timeline(model.budget, lambda e: e.name, day)
        self.threshold: Final = Timeline(model.threshold, lambda e: e.name, day)
        self.regional_capacity: Final = Timeline(model.regional_capacity, lambda e: e.region, day)
        self.water_stress: Final = Timeline(model.water_stress, lambda e: e.basin, day)
        self.land: Final = Timeline(model.land, lambda e: e.name, day)
