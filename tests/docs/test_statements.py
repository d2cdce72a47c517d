"""The page about statements, done as it says, on a store with two months of its site."""

import json
import re
import time
from collections.abc import Iterator
from datetime import date
from pathlib import Path

from meterhouse_collector.settlement.books import Books
from meterhouse_collector.settlement.documents import document
from meterhouse_collector.settlement.statement import statement
from meterhouse_collector.store.config import SqliteConfig
from meterhouse_collector.store.sqlite import SqliteStore
from tests.collector.settled import fill, site
from tests.docs import shell
from tests.docs.pages import ROOT, Block, blocks

PAGE = ROOT / "docs" / "statements.md"
# Two months of 31 days without a change of clocks: July and August, or December and January.
_PAIRS = ((7, 8), (12, 1))


def recent() -> tuple[date, date, date]:
    """Return the first days of such a pair that is over, and of the month after it."""
    today = date.fromtimestamp(time.time() - 86_400)  # noqa: DTZ012 - a day off does no harm
    found = []
    for year in (today.year - 2, today.year - 1, today.year):
        for first, second in _PAIRS:
            following = year + (second < first)
            days = date(year, first, 1), date(following, second, 1), date(following, second + 1, 1)
            found += [days] if days[2] < today else []
    return max(found)


def placed(text: str) -> str:
    """Return a text of the page with its months put into the time that a store still takes."""
    first, second, third = recent()
    months = {"2026-07": first, "2026-08": second, "2026-09": third}
    text = text.replace("2026-01-01", f"{first.year}-01-01")
    return re.sub("|".join(months), lambda found: f"{months[found[0]]:%Y-%m}", text)


def of_page(language: str, word: str) -> Iterator[Block]:
    return (b for b in blocks(PAGE) if b.language == language and word in (b.words or ("",)))


async def filled(folder: Path, months: int) -> Books:
    """Write the files of the page, and a store with so many of its months; return its books."""
    for block in blocks(PAGE):
        name = block.option("file")
        if name is not None:
            (folder / name).write_text(placed(block.text), encoding="utf-8")
    index = site((folder / "site.toml").read_text(encoding="utf-8"))
    begins, *ends = (int(index.model.instant(day)) for day in recent())
    store = SqliteStore(SqliteConfig(path=str(folder / "meterhouse.sqlite")))
    await store.open()
    await fill(store, index, range(begins, ends[months - 1], 900))
    return Books(store, index, time.time())


async def test_the_page_shows_what_the_commands_print(tmp_path: Path) -> None:
    books = await filled(tmp_path, 2)
    await books.store.close()
    for block in of_page("console", "statements"):
        shell.run(block, tmp_path, placed(block.text))


async def test_the_json_on_the_page_has_the_keys_of_a_statement(tmp_path: Path) -> None:
    books = await filled(tmp_path, 1)
    first, second, _ = (int(books.index.model.instant(day)) for day in recent())
    found = statement(await books.account((first, second)), "site")
    await books.store.close()
    (block,) = of_page("json", "")
    shown, real = json.loads(block.text), json.loads(json.dumps(document(found)))
    assert list(shown) == list(real)
    for name in ("cells", "bill", "registers"):
        assert list(shown[name][0]) == list(real[name][0])
    assert list(shown["adjustments"][0]) == ["adjusts", *shown["cells"][0]]
    assert shown["quantities"] == real["quantities"]
    assert shown["figures"]["total"][0] in real["figures"]["total"]
    assert (shown["money"], shown["cells"][0]) == (real["money"], real["cells"][0])
