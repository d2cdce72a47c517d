"""The command ``kpis``: the KPIs of a site over a window, with what each was divided from."""

import argparse
import sys
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final
from zoneinfo import ZoneInfo

import msgspec

from meterhouse_collector.commands.books import UsageError, with_books
from meterhouse_collector.kpi.value import KpiValue
from meterhouse_collector.quarters.slo_windows import (
    Reading,
    SloWindow,
    own_window_slos,
    window_slos,
)
from meterhouse_collector.quarters.windows import Stretch, named_windows, window_kpis
from meterhouse_collector.settlement.books import Books
from meterhouse_collector.settlement.columns import columns, figure_text
from meterhouse_collector.settlement.periods import local_text, parse_instant
from meterhouse_collector.site.by_hand import ByHand, by_hand

_WINDOWS: Final = ("hour", "day", "month_to_date", "trailing_year")
_WIDTH: Final = 98
_MET: Final = {True: "yes", False: "no", None: "-"}


def add_parser(commands: Any, parents: Sequence[argparse.ArgumentParser]) -> None:  # noqa: ANN401 - argparse has no public type for it
    """Add the command ``kpis`` to the program."""
    parser = commands.add_parser(
        "kpis", parents=parents, help="the KPIs of the site over the last hour, or any window"
    )
    parser.add_argument("--window", choices=_WINDOWS, help="one that ends now; by default the hour")
    instant = "a date or an instant by the site's clock, a full quarter hour"
    parser.add_argument("--from", dest="begins", metavar="WHEN", help=instant)
    parser.add_argument("--to", dest="ends", metavar="WHEN", help=f"{instant}; by default now")
    parser.add_argument("--format", choices=("table", "json"), default="table")
    parser.set_defaults(do=_kpis)


def _kpis(options: argparse.Namespace) -> int:
    if options.window is not None and (options.begins, options.ends) != (None, None):
        raise UsageError(["give either --window, or --from and --to"])

    async def work(books: Books) -> str:
        window = _window(options, books)
        found = await window_kpis(books.store, books.index, window, progress=books.progress)
        reading = Reading(progress=books.progress)
        slos = await window_slos(books.store, books.index, window, reading)
        own = await own_window_slos(books.store, books.index, window.end_seconds, reading)
        known = by_hand(books.index, *window)
        if options.format == "json":
            entries = [entry._asdict() for entry in known]
            document = {
                "site": books.index.site,
                **window._asdict(),
                "kpis": found,
                "slos": slos,
                "slos_own_window": own,
                "by_hand": entries,
            }
            return msgspec.json.format(msgspec.json.encode(document)).decode() + "\n"
        tables = [*_table(books, window, found), *_slos([*slos, *own]), *_by_hand(known)]
        return "\n".join(tables) + "\n"

    sys.stdout.write(with_books(options, work))
    return 0


def _window(options: argparse.Namespace, books: Books) -> Stretch:
    if options.begins is None:
        if options.ends is not None:
            raise UsageError(["give --from with --to"])
        return named_windows(books.now_seconds, books.index)[options.window or "hour"]
    zone = ZoneInfo(books.index.model.time_zone)
    try:
        begins = parse_instant(options.begins, zone)
        ends = int(books.now_seconds) if options.ends is None else parse_instant(options.ends, zone)
    except ValueError as error:
        raise UsageError([f"--from, --to: {error}"]) from None
    if not begins < ends <= books.now_seconds:
        raise UsageError(["--from, --to: allowed: a window that has a length, and is over"])
    return Stretch(begins, ends)


def _table(books: Books, window: Stretch, found: Mapping[str, KpiValue]) -> Iterator[str]:
    zone = ZoneInfo(books.index.model.time_zone)
    begins, ends = (local_text(at, zone) for at in window)
    yield f"{books.index.site}, {begins} to {ends}"
    yield ""
    head = ["KPI", "unit", "value", "low", "high", "numerator", "denominator", "coverage"]
    rows = [
        [
            kpi.name,
            kpi.unit,
            *(figure_text(value) for value in (kpi.value, kpi.low, kpi.high)),
            *(figure_text(value) for value in (kpi.numerator, kpi.denominator)),
            f"{kpi.coverage:.1%}",
        ]
        for kpi in found.values()
    ]
    yield from columns([head, *rows], texts=2)
    for kpi in found.values():
        if kpi.reason is not None:
            text = f"{kpi.name}: {kpi.reason}"
            yield from textwrap.wrap(text, _WIDTH, subsequent_indent="  ")


def _slos(slos: Sequence[SloWindow]) -> Iterator[str]:
    if not slos:
        return
    yield ""
    head = ["objective", "served model", "metric", "met", "hours", "seconds", "wanted"]
    head += ["share", "low", "high", "requests", "budget spent", "coverage"]
    rows = [
        [
            *(each.name, each.served_model, each.metric, _MET[each.met]),
            *(figure_text(value) for value in (each.window_seconds / 3600, each.threshold_seconds)),
            *(
                figure_text(value)
                for value in (each.objective_ratio, each.share, each.low, each.high)
            ),
            *(figure_text(value) for value in (each.requests, each.budget_spent_ratio)),
            "-" if each.coverage is None else f"{each.coverage:.1%}",
        ]
        for each in slos
    ]
    yield from columns([head, *rows], texts=4)
    for each in slos:
        if each.reason is not None:
            text = f"{each.name}, {figure_text(each.window_seconds / 3600)} hours: {each.reason}"
            yield from textwrap.wrap(text, _WIDTH, subsequent_indent="  ")


def _by_hand(known: Sequence[ByHand]) -> Iterator[str]:
    if not known:
        return
    yield ""
    head = ["by hand", "name", "source", "unit", "value", "limit"]
    rows = [
        [
            each.kind,
            each.name,
            each.source,
            each.unit,
            figure_text(each.value),
            figure_text(each.limit),
        ]
        for each in known
    ]
    yield from columns([head, *rows], texts=4)
