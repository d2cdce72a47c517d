"""What the commands over the books of a site share: config, store, progress, and their errors."""

import argparse
import asyncio
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final, TextIO, TypeVar
from zoneinfo import ZoneInfo

from meterhouse_collector.config import CollectorConfig, load_config
from meterhouse_collector.installed import learn_installed
from meterhouse_collector.running import make_store
from meterhouse_collector.settlement.books import Books
from meterhouse_collector.settlement.periods import Period, parse_period
from meterhouse_collector.site.index import SiteIndex
from meterhouse_collector.site.load import load_site
from meterhouse_collector.store import Store, StoreUnavailableError

T = TypeVar("T")
_BAR_CELLS: Final = 24
_WHAT_CELLS: Final = 20


class UsageError(ValueError):
    """Arguments that a command cannot take: one line for each fault."""

    def __init__(self, faults: Sequence[str]) -> None:
        super().__init__("\n".join(faults))
        self.faults = tuple(faults)


class Bar:
    """Shows on a terminal which part is done, and of what; on anything else it shows nothing."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._shown = stream.isatty()
        self._last = ""

    def __call__(self, share: float, what: str) -> None:
        """Show that a share, from 0 to 1, of something is done."""
        cells = round(share * _BAR_CELLS)
        bar = "#" * cells + "." * (_BAR_CELLS - cells)
        text = f"\r[{bar}] {share:4.0%} {what:<{_WHAT_CELLS}}"
        if self._shown and text != self._last:
            self._stream.write(text)
            self._stream.flush()
            self._last = text

    def clear(self) -> None:
        """Leave an empty line behind."""
        if self._last:
            self._stream.write("\r" + " " * len(self._last) + "\r")
            self._stream.flush()


def with_books(options: argparse.Namespace, work: Callable[[Books], Awaitable[T]]) -> T:
    """Run a command's work with the books of its config.

    Raises ``ConfigError``, ``SiteModelError`` and ``StoreUnavailableError``.
    """
    config = load_config(options.config)
    _refuse_missing(config)
    index = SiteIndex(load_site(config.site))
    bar = Bar(sys.stderr)

    async def run() -> T:
        async with _opened(config) as store:
            await learn_installed(store, index)
            return await work(Books(store, index, time.time(), bar))

    try:
        return asyncio.run(run())
    finally:
        bar.clear()


@asynccontextmanager
async def _opened(config: CollectorConfig) -> AsyncIterator[Store]:
    store = make_store(config)
    try:
        await store.open()
        yield store
    finally:
        await store.close()


def _refuse_missing(config: CollectorConfig) -> None:
    # Opening it would make an empty one, and an empty statement of it.
    path = config.sqlite.path if config.sqlite is not None else "meterhouse.sqlite"
    if config.influx is None and not Path(path).exists():
        raise StoreUnavailableError(f"{path}: no such file: nothing was collected into it yet")


def period_of(text: str, books: Books) -> Period:
    """Return the period of a name by the site's clock; raise ``UsageError`` for what is none."""
    try:
        return parse_period(text, ZoneInfo(books.index.model.time_zone))
    except ValueError as error:
        raise UsageError([str(error)]) from None
