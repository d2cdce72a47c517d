"""Small site files, and what they parse to."""

import pytest

from meterhouse_agent import wire
from meterhouse_collector.site.index import SiteIndex
from meterhouse_collector.site.load import SiteModelError, parse_site

HEAD = 'name = "site"\ncurrency = "EUR"\ntime_zone = "Europe/Berlin"\n'
POOLS = """
[[pool]]
name = "chat"
cluster = "c1"
tenant = "acme"
[[pool]]
name = "spare"
cluster = "c1"
[[hardware]]
accelerator_model = "M"
vendor = "nvidia"
price_per_device = 35000
life = "1825d"
"""
ASSET = """
[[asset]]
node = "n1"
pool = "chat"
accelerator_model = "M"
devices = ["d0", "d1", "d2"]
in_service = 2026-01-01
"""
COUNTED = """
[[asset]]
nodes = ["n2", "n3"]
pool = "spare"
accelerator_model = "M"
devices = 2
in_service = 2026-01-01
retired = 2027-01-01
"""
ENGINE = """
[[engine]]
name = "e1"
served_model = "llama"
devices = ["n1/d0"]
"""
BASE = HEAD + POOLS + ASSET + COUNTED + ENGINE
IN_2026 = 1_780_000_000
IN_2025 = 1_760_000_000


def inventory(*devices: str, model: str = "M") -> wire.Inventory:
    return wire.Inventory(
        devices=[
            wire.Device(device=device, vendor="nvidia", accelerator_model=model)
            for device in devices
        ]
    )


def index(text: str = BASE) -> SiteIndex:
    return SiteIndex(parse_site(text, "site.toml"))


def faults(text: str) -> list[str]:
    with pytest.raises(SiteModelError) as caught:
        parse_site(text, "site.toml")
    return caught.value.faults
