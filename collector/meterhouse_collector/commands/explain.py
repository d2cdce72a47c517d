"""The command ``explain``: one figure down to the rows of the ledger that it came from."""

import argparse
import asyncio
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec

from meterhouse_collector.config import CollectorConfig, load_config
from meterhouse_collector.explain.figure import explained
from meterhouse_collector.explain.model import Explanation, Period
from meterhouse_collector.explain.read import is_kept, read_interval, read_quarter
from meterhouse_collector.explain.request import (
    ROWS,
    ExplainError,
    NoRowsError,
    WindowKind,
    check_name,
    groups,
    instant,
    period,
)
from meterhouse_collector.explain.rows import with_readers, with_rows
from meterhouse_collector.explain.text import bracketed, text
from meterhouse_collector.installed import learn_installed
from meterhouse_collector.rollup.quarter import QUARTER
from meterhouse_collector.rows import POLICY_DAYS
from meterhouse_collector.running import make_store
from meterhouse_collector.site.index import SiteIndex
from meterhouse_collector.site.load import load_site
from meterhouse_collector.store import Store, StoreUnavailableError

_FAILED: Final = 1
_USAGE_ERROR: Final = 2
_TOP: Final = 20


def add_parser(commands: Any, parents: Sequence[argparse.ArgumentParser]) -> None:  # noqa: ANN401 - argparse has no public type for it
    """Add the command ``explain`` to the program."""
    parser = commands.add_parser(
        "explain",
        parents=parents,
        help="show one figure down to the rows that it came from",
    )
    parser.add_argument("kpi", nargs="?", metavar="KPI", help="a name that --list shows")
    parser.add_argument(
        "-c", "--config", type=Path, metavar="FILE", help="the collector's config; not for --list"
    )
    parser.add_argument("--list", action="store_true", help="list what can be explained")
    parser.add_argument("--at", metavar="TIME", help="local time of the site, ISO, or now")
    parser.add_argument(
        "--group", action="append", default=[], metavar="TAG=VALUE", help="like pool=inference"
    )
    parser.add_argument("--window", choices=("quarter", "interval"), default="quarter")
    parser.add_argument("--format", choices=("text", "json"), default="text")
    parser.add_argument("--top", type=int, default=_TOP, metavar="N", help="lines of each table")
    parser.add_argument("--rows", action="store_true", help="the rows themselves, decoded")
    parser.set_defaults(do=explain)


def explain(options: argparse.Namespace) -> int:
    """Print the explanation of a figure, or the list of those that have one."""
    if options.list:
        width = max(map(len, ROWS))
        lines = (
            f"{name:<{width}}  {bracketed(row.numerator)} / {bracketed(row.denominator)}"
            for name, row in ROWS.items()
        )
        sys.stdout.write("\n".join(lines) + "\n")
        return 0
    try:
        _check(options)
        config = load_config(options.config)
        index = SiteIndex(load_site(config.site))
        found = asyncio.run(_explained(options, config, index, time.time))
    except ExplainError as error:
        sys.stderr.write(f"{error}\n")
        return _USAGE_ERROR
    except NoRowsError as error:
        sys.stderr.write(f"{error}\n")
        return _FAILED
    if options.format == "json":
        sys.stdout.write(msgspec.json.format(msgspec.json.encode(found)).decode() + "\n")
    else:
        sys.stdout.write(text(found, options.top))
    return 0


def _check(options: argparse.Namespace) -> None:
    """Raise ``ExplainError`` for what can be seen to be wrong without config or store."""
    if options.kpi is None:
        raise ExplainError("the name of a KPI is missing; --list shows them")
    check_name(options.kpi)
    for name in ("at", "config"):
        if getattr(options, name) is None:
            raise ExplainError(f"--{name} is missing")
    if options.top < 1:
        raise ExplainError(f"--top {options.top}: at least 1")


async def _explained(
    options: argparse.Namespace,
    config: CollectorConfig,
    index: SiteIndex,
    clock: Callable[[], float],
) -> Explanation:
    wanted = groups(options.group)
    length = round(config.interval) if options.window == "interval" else QUARTER
    window = _window(options, length, index, clock())
    if config.influx is None:
        _check_file(config)
    store = make_store(config)
    await store.open()
    try:
        await learn_installed(store, index)
        return await _read(store, index, (options, wanted, window), clock())
    finally:
        await store.close()


async def _read(
    store: Store,
    index: SiteIndex,
    asked: tuple[argparse.Namespace, dict[str, str], Period],
    now: float,
) -> Explanation:
    options, wanted, window = asked
    money = ROWS[options.kpi].numerator.endswith("_money")
    evidence, fallen = None, ""
    if window.kind == "interval":
        if is_kept("ledger", window, now):
            evidence = await read_interval(store, index, window, money=money)
        if evidence is None:
            fallen = _gone(window, now)
            window = period("quarter", window.start_seconds, QUARTER, index.model.time_zone)
            if window.end_seconds > now:
                raise NoRowsError(f"{fallen}, and its quarter has not ended yet")
            fallen += ": the quarter is explained instead"
    if evidence is None:
        evidence = await read_quarter(store, index, window, now, money=money)
    found = explained(options.kpi, evidence, index, wanted)
    if fallen:
        found = msgspec.structs.replace(found, notes=(fallen, *found.notes))
    if window.kind == "quarter" and is_kept("ledger", window, now):
        found = await with_readers(store, index, found, options.top)
    return await with_rows(store, index, found, options.top) if options.rows else found


def _window(
    options: argparse.Namespace, length_seconds: int, index: SiteIndex, now: float
) -> Period:
    """Return the window of a time; ``now`` is the last one that has ended."""
    kind: WindowKind = options.window
    zone = index.model.time_zone
    at = instant(options.at, zone, now)
    if options.at == "now":
        at -= length_seconds
    found = period(kind, at, length_seconds, zone)
    if found.end_seconds > now:
        raise NoRowsError(f"the {kind} from {found.local} has not ended yet")
    return found


def _gone(window: Period, now: float) -> str:
    if is_kept("ledger", window, now):
        return f"the ledger has no rows from {window.local}"
    return f"the ledger keeps {POLICY_DAYS['ledger']} days"


def _check_file(config: CollectorConfig) -> None:
    """Raise ``StoreUnavailableError`` where opening would begin a new file."""
    path = "meterhouse.sqlite" if config.sqlite is None else config.sqlite.path
    if not Path(path).exists():
        raise StoreUnavailableError(f"{path}: there is no such file; run where the collector runs")
