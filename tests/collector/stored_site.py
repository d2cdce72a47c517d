"""Two quarters of a small priced site in a SQLite file, with the configs that name it."""

import asyncio
from datetime import UTC, datetime
from pathlib import Path

from meterhouse_collector.quarters.settle import settle_quarters
from meterhouse_collector.site.index import SiteIndex
from meterhouse_collector.site.load import parse_site
from meterhouse_collector.store.config import SqliteConfig
from meterhouse_collector.store.sqlite import SqliteStore
from tests.collector.collecting import SITE
from tests.collector.settling import FIRST, STEP, inventories, rows_of, told

QUARTER = 900
PRICED = """
[[hardware]]
accelerator_model = "h100"
vendor = "nvidia"
price_per_device = 3650000
life = "3650d"
[[tariff]]
per_kwh = 0.25
valid_from = 2020-01-01
"""


def stored_site(tmp_path: Path) -> Path:
    """Collect two quarters of the site, summed and priced; return the collector's config."""
    (tmp_path / "site.toml").write_text(SITE + PRICED)
    path = tmp_path / "collector.toml"
    path.write_text(
        f'site = "{tmp_path}/site.toml"\n[socket]\npath = "{tmp_path}/s"\n'
        f'[sqlite]\npath = "{tmp_path}/rows.sqlite"\n'
    )
    asyncio.run(_collected(tmp_path / "rows.sqlite"))
    return path


async def _collected(path: Path) -> None:
    store = SqliteStore(SqliteConfig(path=str(path)))
    await store.open()
    entries = [
        told(node, at, joules=60_000.0)
        for at in range(FIRST, FIRST + 2 * QUARTER, STEP)
        for node in ("node-1", "node-2")
    ]
    await store.write([*inventories(), *rows_of(entries)])
    index = SiteIndex(parse_site(SITE + PRICED, "site.toml"))
    await settle_quarters(store, index, [FIRST, FIRST + QUARTER])
    await store.close()


def instant(at_seconds: int) -> str:
    """Return an instant as commands take it."""
    return datetime.fromtimestamp(at_seconds, UTC).strftime("%Y-%m-%dT%H:%M")


def since() -> str:
    """Return when the first quarter begins."""
    return instant(FIRST)
