"""Names that one table takes from another, and currencies, must be there."""

import pytest

from meterhouse_collector.site.checks.references import REFERENCES, Reference
from meterhouse_collector.site.load import parse_site
from tests.collector.sites import ASSET, BASE, HEAD, POOLS, faults

CONTRACT = """
[[contract]]
name = "k"
side = "sold"
counterparty = "Acme"
tenant = "acme"
pools = ["chat"]
units = 2
rate = 2
valid_from = 2026-01-01
"""
# For each reference, a table that names what is not there.
TABLES = {
    "pool.cluster": '[[cluster]]\nname = "other"\n',
    "pool.tenant": '[[tenant]]\nname = "other"\n',
    "asset.pool": ASSET.replace("chat", "x"),
    "asset.contract": ASSET.replace('"chat"', '"chat"\ncontract = "x"'),
    "asset.rack": ASSET.replace('"chat"', '"chat"\nrack = "x"'),
    "meter.parent": '[[meter]]\nname = "m"\nrole = "water"\nparent = "x"\n',
    "meter.share": '[[meter]]\nname = "m"\nrole = "boundary"\nshare = { x = 0.5 }\n',
    "sensor.cluster": '[[sensor]]\nname = "s"\nkind = "leak"\ncluster = "x"\n',
    "power.parent": '[[power]]\nname = "u"\nkind = "ups"\nunit_watts = 1.0\nparent = "x"\n',
    "power.pair": '[[power]]\nname = "u"\nkind = "ups"\nunit_watts = 1.0\npair = "x"\n',
    "power.meters": '[[power]]\nname = "u"\nkind = "ups"\nunit_watts = 1.0\nmeters = ["x"]\n',
    "power.clusters": '[[power]]\nname = "u"\nkind = "ups"\nunit_watts = 1.0\nclusters = ["x"]\n',
    "generator.meters": '[[generator]]\nname = "g"\nrated_watts = 1.0\nmeters = ["x"]\n',
    "storage.meters": (
        '[[storage]]\nname = "b"\nrated_watts = 1.0\ncapacity_kwh = 1\nmeters = ["x"]\n'
    ),
    "cooling.clusters": (
        '[[cooling]]\nname = "c"\nkind = "cdu"\nunit_heat_watts = 1.0\nclusters = ["x"]\n'
    ),
    "water.meters": '[[water]]\nname = "w"\nvalid_from = 2026-01-01\nmeters = ["x"]\n',
    "grid_connection.meters": (
        '[[grid_connection]]\nname = "g"\ncontracted_watts = 1.0\nmeters = ["x"]\n'
    ),
    "shared_equipment.meters": (
        '[[shared_equipment]]\nname = "s"\nkind = "network"\nprice = 1\nlife = "1d"\n'
        'in_service = 2026-01-01\nmeters = ["x"]\n'
    ),
    "supply.source": (
        '[[energy_source]]\nname = "s"\nkind = "ppa"\n'
        '[[supply]]\nsource = "x"\nkind = "ppa"\nper_kwh = 1\nvalid_from = 2026-01-01\n'
    ),
    "colocation.tariff": (
        '[[colocation]]\nname = "c"\ncommitted_kw = 1\nper_kw = 1\ntariff = "x"\n'
        "valid_from = 2026-01-01\n"
    ),
    "contract.pools": CONTRACT.replace('["chat"]', '["x"]'),
    "contract.tenant": CONTRACT.replace('"acme"', '"x"'),
    "commitment.contract": (
        '[[commitment]]\nname = "c"\ncontract = "x"\ncategory = "spend"\namount = 1\n'
        "valid_from = 2026-01-01\n"
    ),
    "pipeline.contract": '[[pipeline]]\nname = "p"\nkind = "permit"\ncontract = "x"\n',
    "pipeline.pool": '[[pipeline]]\nname = "p"\nkind = "permit"\npool = "x"\n',
    "pipeline.needs": '[[pipeline]]\nname = "p"\nkind = "permit"\nneeds = ["x"]\n',
    "token_price.tenant": (
        '[[token_price]]\nserved_model = "m"\ntenant = "x"\ninput_per_million = 1\n'
        "output_per_million = 1\nvalid_from = 2026-01-01\n"
    ),
    "energy_source.meters": '[[energy_source]]\nname = "s"\nkind = "grid"\nmeters = ["x"]\n',
    "energy_source.tariffs": '[[energy_source]]\nname = "s"\nkind = "grid"\ntariffs = ["x"]\n',
    "emission_factor.energy_source": (
        '[[emission_factor]]\nenergy_source = "x"\nmethod = "market"\nkg_per_kwh = 1\n'
        'source = "s"\nvalid_from = 2026-01-01\n'
    ),
    "certificate.energy_source": (
        '[[certificate]]\nname = "c"\nenergy_source = "x"\nmwh = 1\nbegins = 2026-01-01\n'
        "ends = 2027-01-01\n"
    ),
    "fuel_use.generator": (
        '[[fuel_use]]\ngenerator = "x"\nbegins = 2026-01-01\nends = 2026-01-02\nlitres = 1\n'
        'kg_per_litre = 2\nsource = "s"\n'
    ),
    "refrigerant_loss.cooling_unit": (
        '[[refrigerant_loss]]\ncooling_unit = "x"\nnoticed_on = 2026-01-01\nrefrigerant = "r"\n'
        'kg = 1\ngwp = 1\nsource = "s"\n'
    ),
    "generator_run.generator": (
        '[[generator_run]]\ngenerator = "x"\nbegins = 2026-01-01\nends = 2026-01-02\nhours = 1\n'
        'reason = "test"\nsource = "s"\n'
    ),
    **{
        f"budget.scope.{part}": (
            '[[budget]]\nname = "b"\namount = 1\nvalid_from = 2026-01-01\n'
            f'scope = {{ {part} = "x" }}\n'
        )
        for part in ("site", "cluster", "pool", "tenant")
    },
    **{
        f"threshold.scope.{part}": (
            f'[[threshold]]\nname = "t"\nkind = "idle"\nabove = 0.5\nscope = {{ {part} = "x" }}\n'
        )
        for part in ("site", "cluster", "pool", "tenant")
    },
}


@pytest.mark.parametrize("reference", REFERENCES, ids=lambda r: f"{r.table}.{r.key}")
def test_name_that_is_not_there_is_a_fault(reference: Reference) -> None:
    table, key, _ = reference
    found = faults(BASE + TABLES[f"{table}.{key}"])
    assert any(f": {table}." in line and f".{key}: found " in line for line in found), found


def test_fault_says_what_is_there() -> None:
    assert faults(BASE + CONTRACT.replace('["chat"]', '["x"]')) == [
        "site.toml: contract.0.pools: found 'x', allowed: chat, spare"
    ]
    assert faults(HEAD + TABLES["pipeline.contract"]) == [
        "site.toml: pipeline.0.contract: found 'x', allowed: none, as there is no [[contract]]"
    ]


def test_names_that_are_there_are_none() -> None:
    parse_site(BASE + CONTRACT + TABLES["pipeline.contract"].replace('"x"', '"k"'), "site.toml")
    grid = (
        '[[grid_connection]]\nname = "g"\ncontracted_watts = 1.0\n[[grid_connection.increment]]\n'
        'name = "x"\nwatts = 1.0\npromised = [{ said = 2026-01-01, due = 2027-01-01 }]\n'
    )
    parse_site(BASE + grid + TABLES["pipeline.needs"], "site.toml")
    parse_site(BASE + '[[tenant]]\nname = "acme"\n' + CONTRACT, "site.toml")
    parse_site(BASE.replace('"c1"', '"x"') + TABLES["budget.scope.cluster"], "site.toml")


RATE = (
    '[[exchange_rate]]\nfrom_currency = "USD"\nto_currency = "EUR"\nrate = 0.9\n'
    'valid_from = 2026-01-01\nsource = "ECB"\n'
)


@pytest.mark.parametrize(
    "text",
    [
        BASE.replace("price_per_device", 'currency = "USD"\nprice_per_device'),
        BASE + CONTRACT + 'currency = "USD"\n',
        HEAD + '[[tariff]]\nper_kwh = 1\ncurrency = "USD"\nvalid_from = 2026-01-01\n',
        HEAD
        + '[[local_payment]]\npaid_on = 2026-01-01\nrecipient = "r"\npurpose = "p"\n'
        + 'amount = 1\ncurrency = "USD"\nsource = "s"\n',
    ],
)
def test_currency_without_a_rate_on_its_day_is_a_fault(text: str) -> None:
    expected = (
        ".0.currency: found 'USD', allowed: EUR, or a currency with an [[exchange_rate]] to it"
        " that is valid on 2026-01-01"
    )
    for rates in ("", RATE.replace("2026", "2027")):
        (fault,) = faults(text + rates)
        assert fault.endswith(expected)
    parse_site(text + RATE, "site.toml")


def test_hardware_that_nobody_bought_needs_a_rate_of_any_day() -> None:
    text = HEAD + POOLS.replace("price_per_device", 'currency = "USD"\nprice_per_device')
    (fault,) = faults(text)
    assert fault.endswith("an [[exchange_rate]] to it")
