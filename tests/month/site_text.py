"""The site file of a scenario."""

from datetime import UTC, date, datetime, timedelta
from typing import Final

from meterhouse_agent.simulation.fleet import engine_name
from tests.month.scenario import (
    B200,
    CLUSTERS,
    DEMAND_HOURS,
    DEMAND_PER_KW,
    ENGINE_DEVICES,
    FABRIC,
    FABRIC_PURCHASED,
    FIXED_PER_MONTH,
    FLAT_AFTER,
    FLAT_BEFORE,
    H100,
    HARDWARE,
    INSTALLED,
    INSURANCE_PER_YEAR,
    LAST_TIER,
    NETWORK_LEVY_PER_CENT,
    OFF_HOURS_PER_KWH,
    PEAK_HOURS,
    PEAK_HOURS_PER_KWH,
    POOL,
    RENT_PER_UNIT_MONTH,
    RENTED,
    SERIES_LEVY_PER_CENT,
    SHARED,
    SHARED_NODE,
    SITE,
    SPARE,
    STAFF_PER_MONTH,
    TENANT_POOL,
    TIERS,
    USD_AFTER,
    USD_BEFORE,
    VENDOR,
    WATER_PER_CUBIC_METRE,
    Hardware,
    Scenario,
    instant,
    model_of,
    served_by,
    spot_price,
)

_WEEKDAYS: Final = '["mon", "tue", "wed", "thu", "fri"]'


def site_text(scenario: Scenario) -> str:
    """Return the whole file."""
    return "\n".join(
        [
            f'name = "{SITE}"\ncurrency = "EUR"\ntime_zone = "Europe/Berlin"',
            _pools(),
            *(_hardware(name, found) for name, found in HARDWARE.items()),
            *_assets(scenario),
            *(_engine(node) for node in scenario.names if scenario.has_engine(node)),
            _METERS,
            _tariffs(scenario),
            _costs(scenario),
        ]
    )


def _pools() -> str:
    kinds = {POOL: "own", TENANT_POOL: "own", SPARE: "spare"}
    tenants = {TENANT_POOL: 'tenant = "acme"\n'}
    return "".join(
        f'[[pool]]\nname = "{pool}"\ncluster = "{CLUSTERS[pool]}"\n{tenants.get(pool, "")}'
        f'kind = "{kind}"\n'
        for pool, kind in kinds.items()
    )


def _hardware(name: str, found: Hardware) -> str:
    how = ""
    if found.interest is not None:
        how = f'depreciation = "annuity"\ncost_of_capital = {found.interest}\n'
    return (
        f'[[hardware]]\naccelerator_model = "{name}"\nvendor = "{VENDOR}"\n'
        f"price_per_device = {found.price}\nsalvage_per_device = {found.salvage}\n"
        f'life = "{found.years * 365}d"\n{how}support_per_device_year = {found.support_per_year}\n'
    )


def _assets(scenario: Scenario) -> list[str]:
    parts = []
    for pool in (POOL, TENANT_POOL, SPARE):
        for model in (H100, B200):
            nodes = [n for n in scenario.names if scenario.pool(n) == pool and model_of(n) == model]
            apart = {scenario.newcomer, scenario.leaver, *RENTED}
            plain = [node for node in nodes if node not in apart]
            rented = [node for node in nodes if node in RENTED]
            parts += [_asset(group, pool, model) for group in (plain,) if group]
            parts += [_asset(rented, pool, model, 'contract = "rented"')] if rented else []
            for node in set(nodes) & apart - set(RENTED):
                parts.append(_moved(scenario, node, pool, model))
    return parts


def _moved(scenario: Scenario, node: str, pool: str, model: str) -> str:
    if node == scenario.leaver:
        return _asset([node], pool, model, f"retired = {scenario.retired}")
    more = f"delivered = {scenario.first}"
    return _asset([node], pool, model, more, in_service=scenario.changed)


def _asset(
    nodes: list[str], pool: str, model: str, more: str = "", in_service: date = INSTALLED
) -> str:
    listed = ", ".join(f'"{node}"' for node in nodes)
    # A register may name the devices, or only count them.
    devices = '["d0", "d1", "d2", "d3", "d4", "d5", "d6", "d7"]' if model == H100 else "8"
    return (
        f'[[asset]]\nnodes = [{listed}]\npool = "{pool}"\naccelerator_model = "{model}"\n'
        f"devices = {devices}\nin_service = {in_service}\n{more}\n"
    )


def _engine(node: str) -> str:
    devices = ", ".join(f'"{node}/d{place}"' for place in range(ENGINE_DEVICES))
    if node == SHARED_NODE:
        weights = ", ".join(f'"{name}" = {weight}' for name, weight in SHARED.items())
        serves = f"served_models = {{ {weights} }}"
    else:
        serves = f'served_model = "{next(iter(served_by(node)))}"'
    return f'[[engine]]\nname = "{engine_name(node)}"\n{serves}\ndevices = [{devices}]\n'


_METERS: Final = """
[[meter]]
name = "utility"
role = "boundary"
[[meter]]
name = "it-pdu"
role = "pdu"
category = 2
parent = "utility"
[[meter]]
name = "cooling"
role = "cooling"
parent = "utility"
[[meter]]
name = "water"
role = "water"
[[water]]
name = "city"
category = 1
meters = ["water"]
per_cubic_metre = WATER
valid_from = 2025-01-01
""".replace("WATER", str(WATER_PER_CUBIC_METRE))


def _tariffs(scenario: Scenario) -> str:
    month = scenario.first.replace(day=1)
    following = (month + timedelta(days=32)).replace(day=1)
    hours = range(instant(month), instant(following), 3600)
    points = ",\n".join(
        f"  {{ begins = {datetime.fromtimestamp(at, UTC):%Y-%m-%dT%H:%M:%SZ}, "
        f"per_kwh = {spot_price(at)} }}"
        for at in hours
    )
    steps = ", ".join(f"{{ up_to_kwh = {up_to}, per_kwh = {price} }}" for up_to, price in TIERS)
    return f"""
[[tariff]]
name = "supply"
valid_from = 2025-01-01
[[tariff.component]]
kind = "series"
name = "spot"
step = "60m"
point = [
{points}
]
[[tariff.component]]
kind = "fixed"
name = "metering"
per_month = {FIXED_PER_MONTH}
[[tariff.component]]
kind = "levy"
name = "duty"
per_cent = {SERIES_LEVY_PER_CENT}
of = ["spot"]

[[tariff]]
name = "network"
valid_from = 2025-01-01
[[tariff.component]]
kind = "time_of_use"
name = "hours"
per_kwh = {PEAK_HOURS_PER_KWH}
days = {_WEEKDAYS}
from_time = {PEAK_HOURS[0]:02}:00:00
to_time = {PEAK_HOURS[1]:02}:00:00
[[tariff.component]]
kind = "time_of_use"
name = "hours"
per_kwh = {OFF_HOURS_PER_KWH}
[[tariff.component]]
kind = "tier"
name = "concession"
step = [{steps}, {{ per_kwh = {LAST_TIER} }}]
[[tariff.component]]
kind = "demand"
name = "demand"
per_kw = {DEMAND_PER_KW}
interval = "15m"
days = {_WEEKDAYS}
from_time = {DEMAND_HOURS[0]:02}:00:00
to_time = {DEMAND_HOURS[1]:02}:00:00
[[tariff.component]]
kind = "levy"
name = "network-levy"
per_cent = {NETWORK_LEVY_PER_CENT}
of = ["hours", "tier"]

[[tariff]]
name = "flat"
per_kwh = {FLAT_BEFORE}
valid_from = 2025-01-01
[[tariff]]
name = "flat"
per_kwh = {FLAT_AFTER}
valid_from = {scenario.changed}
"""


def _costs(scenario: Scenario) -> str:
    rented = [node for node in scenario.names if node in RENTED]
    rent = f"""
[[contract]]
name = "rented"
side = "bought"
counterparty = "Neocloud Ltd"
pools = ["{SPARE}"]
unit = "node"
units = {len(RENTED)}
rate = {RENT_PER_UNIT_MONTH}
rate_per = "unit_month"
currency = "USD"
notice = "90d"
valid_from = 2025-01-01
"""
    return f"""
[[shared_equipment]]
name = "fabric"
kind = "network"
price = {FABRIC.price}
purchased = {FABRIC_PURCHASED}
in_service = {INSTALLED}
life = "{FABRIC.years * 365}d"
support_per_year = {FABRIC.support_per_year}
[[operations]]
name = "operators"
kind = "staff"
amount = {STAFF_PER_MONTH}
per = "month"
valid_from = 2025-01-01
[[operations]]
name = "fire"
kind = "insurance"
amount = {INSURANCE_PER_YEAR}
per = "year"
valid_from = {scenario.changed}
[[exchange_rate]]
from_currency = "USD"
to_currency = "EUR"
rate = {USD_BEFORE}
valid_from = 2025-01-01
source = "by hand"
[[exchange_rate]]
from_currency = "USD"
to_currency = "EUR"
rate = {USD_AFTER}
valid_from = {scenario.changed}
source = "by hand"
{rent if rented else ""}
"""
