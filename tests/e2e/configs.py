"""The config files of a test's site: its model, its collector, its agents."""

from collections.abc import Mapping
from datetime import date
from pathlib import Path

from meterhouse_agent.simulation.fleet import FleetSpec, node_names

SITE = "e2e"
DEVICE_PRICE = 25_000
DEVICE_LIFE_DAYS = 1825
PRICE_PER_KWH = 0.18
IN_SERVICE = date(2026, 1, 1)

Table = Mapping[str, object]


def document(table: Table) -> str:
    """Write a table as TOML: a list of tables as an array of tables, all else inline."""
    plain, arrays = [], []
    for key, value in table.items():
        if isinstance(value, list) and value and all(isinstance(each, dict) for each in value):
            for each in value:
                arrays.append(f"[[{key}]]")
                arrays += [f"{k} = {_value(v)}" for k, v in each.items()]
        else:
            plain.append(f"{key} = {_value(value)}")
    return "\n".join([*plain, *arrays, ""])


def _value(value: object) -> str:
    match value:
        case bool():
            return str(value).lower()
        case date():
            return value.isoformat()
        case dict():
            return "{" + ", ".join(f'"{key}" = {_value(v)}' for key, v in value.items()) + "}"
        case list() | tuple():
            return "[" + ", ".join(map(_value, value)) + "]"
        case str() | Path():
            text = str(value).replace("\\", "\\\\").replace('"', '\\"')
            return f'"{text}"'
        case _:
            return str(value)


def site_head() -> dict[str, object]:
    """Return the part of a site model that all tests share: one pool, one tariff."""
    return {
        "name": SITE,
        "currency": "EUR",
        "time_zone": "UTC",
        "pool": [{"name": "inference", "cluster": "cluster-a"}],
        "tariff": [{"per_kwh": PRICE_PER_KWH, "valid_from": IN_SERVICE}],
    }


def hardware(accelerator_model: str) -> dict[str, object]:
    """Return what a device of one model costs."""
    return {
        "accelerator_model": accelerator_model,
        "vendor": "simulated",
        "price_per_device": DEVICE_PRICE,
        "life": f"{DEVICE_LIFE_DAYS}d",
    }


def asset(node: str, devices: list[str], accelerator_model: str) -> dict[str, object]:
    """Return named devices of one node, in service since long ago."""
    return {
        "node": node,
        "pool": "inference",
        "accelerator_model": accelerator_model,
        "devices": devices,
        "in_service": IN_SERVICE,
    }


def fleet_site(fleet: FleetSpec) -> dict[str, object]:
    """Return the site model of a simulated fleet: an engine on each node, two meters."""
    nodes = node_names(fleet)
    devices = [f"d{index}" for index in range(fleet.devices_per_node)]
    return site_head() | {
        "hardware": [hardware(fleet.accelerator_model)],
        "asset": [asset(node, devices, fleet.accelerator_model) for node in nodes],
        "engine": [
            {
                "name": f"engine-{node}",
                "served_model": fleet.served_models[position % len(fleet.served_models)],
                "devices": [f"{node}/{device}" for device in devices[: fleet.engine_devices]],
            }
            for position, node in enumerate(nodes)
        ],
        "meter": [
            {"name": "utility", "role": "boundary", "readers": [fleet.facility_node]},
            {"name": "it-pdu", "role": "it", "category": 2, "readers": [fleet.facility_node]},
        ],
    }


def simulated(fleet: FleetSpec) -> dict[str, object]:
    """Return the section of a source that plays a fleet."""
    return {
        "kind": "simulated",
        "fleet": fleet.model_dump(mode="json", exclude_defaults=True, exclude_none=True),
    }


def agent_config(
    folder: Path, *, interval: int, broker_port: int, metrics_port: int, more: Table
) -> dict[str, object]:
    """Return an agent's config; ``more`` has its nodes and sources, or overrides a key."""
    return {
        "site": SITE,
        "interval": f"{interval}s",
        "resend_after": "5s",
        "mqtt": {"host": "127.0.0.1", "port": broker_port},
        "spool": {"directory": folder / "spool"},
        "metrics": {"port": metrics_port},
        **more,
    }


def collector_config(
    folder: Path, *, interval: int, broker_port: int, page_port: int, more: Table
) -> dict[str, object]:
    """Return a collector's config; ``more`` overrides a key."""
    return {
        "site": folder / "site.toml",
        "interval": f"{interval}s",
        "detail_every": f"{interval}s",
        "receipts_every": "1s",
        "mqtt": {"host": "127.0.0.1", "port": broker_port},
        "page": {"port": page_port},
        **more,
    }
