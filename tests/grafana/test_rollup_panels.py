"""Every query of sums, run against a real database, shows what the fleet did."""

from collections.abc import Callable, Iterable, Iterator
from typing import Final

import pytest

from meterhouse_collector.kpi.catalogue import LATENCIES, QUANTILES
from tests.grafana import fleet, truth_capacity, truth_money, truth_site
from tests.grafana.asking import (
    ALL_LIVE,
    PANELS,
    TAGS,
    Asker,
    Choice,
    Key,
    Value,
    Window,
    choose,
    of_rollups,
    window_of,
)
from tests.grafana.macros import ALL
from tests.grafana.truth import Shown

SHOWN: Final = (
    truth_money.MONEY
    | truth_capacity.CAPACITY
    | truth_capacity.SERVICE
    | truth_site.SITE
    | {"Power by state": truth_site.BY_STATE}
)
LATENCY_TITLES: Final = {meaning.capitalize(): metric for metric, meaning in LATENCIES.items()}
MIXED: Final = (
    Shown(truth_site.COVERAGE_OF_SITE, of_site=True),
    Shown(truth_site.COVERAGE_OF_GROUPS),
)
CHOICES: Final[dict[str, Choice]] = {
    "all": {},
    "one pool": {"pool": ["serve"]},
    "two models, one with a slash": {"accelerator_model": [fleet.H100, fleet.MI300]},
    "idle devices only": {"cluster": ["c2"], "tenant": ["none"]},
    "one served model": {"served_model": ["llama"]},
    "nothing": {"cluster": ["c1"], "pool": ["spare"]},
}
ROWS: Final = {resolution.policy: fleet.rows(resolution) for resolution in (fleet.LIVE, fleet.KEPT)}
CASES: Final = [
    *(("north", choice, fleet.LIVE) for choice in CHOICES),
    *((site, "all", fleet.LIVE) for site in fleet.SITES if site != "north"),
    ("silent", "one pool", fleet.LIVE),
    ("north", "all", fleet.KEPT),
    ("silent", "idle devices only", fleet.KEPT),
]


def chosen(choices: Choice, window: Window, *, of_site: bool = False) -> Iterator[fleet.Row]:
    tags = () if of_site else TAGS
    for row in ROWS[window.policy]:
        if row.group.site == choices["site"] and window.start <= row.start < window.end:
            wanted = (choices[tag] for tag in tags)
            names = (getattr(row.group, tag) for tag in tags)
            if all(w == ALL or name in w for w, name in zip(wanted, names, strict=True)):
                yield row


def steps(window: Window, *, over_time: bool) -> Iterator[Window]:
    if not over_time:
        yield window
        return
    for start in range(window.start, window.end, window.bucket):
        yield window._replace(start=start, end=start + window.bucket)


def expected(shown: Shown, choices: Choice, window: Window) -> dict[Key, Value]:
    found: dict[Key, Value] = {}
    for step in steps(window, over_time=shown.over_time):
        rows = list(chosen(choices, step, of_site=shown.of_site))
        for tag, some in parts(rows, shown.by):
            total = fleet.sums(some)
            if shown.timed:
                of_site = fleet.sums(chosen(choices, step, of_site=True))
                total["interval_seconds"] = of_site["interval_seconds"]
            for name, function in shown.columns.items():
                value = function(total, float(step.end - step.start))
                if value is not None:
                    found[*tag, name, str(step.start)] = value
    return found


def parts(
    rows: list[fleet.Row], by: str | None
) -> Iterable[tuple[tuple[str, ...], list[fleet.Row]]]:
    if by is None:
        return [((), rows)]
    names = {getattr(row.group, by) for row in rows}
    return [((name,), [r for r in rows if getattr(r.group, by) == name]) for name in names]


def test_the_truth_knows_every_panel() -> None:
    known = SHOWN.keys() | LATENCY_TITLES.keys() | {"Coverage"}
    assert {title for title in PANELS if of_rollups(title)} == known


@pytest.mark.parametrize(
    ("site", "choice", "resolution"),
    CASES,
    ids=[f"{site}, {choice}, {r.policy}" for site, choice, r in CASES],
)
def test_every_panel_shows_the_truth(
    asker: Asker,
    site: str,
    choice: str,
    resolution: fleet.Resolution,
    record_property: Callable[[str, object], None],
) -> None:
    choices, window = choose(site, CHOICES[choice]), window_of(resolution)
    compared = 0
    for title, shown in SHOWN.items():
        by = () if shown.by is None else (shown.by,)
        found = asker.shown(title, choices, window, by)
        wanted = expected(shown, choices, window)
        assert found == pytest.approx(wanted, rel=1e-9, abs=1e-12), title
        compared += len(wanted)
    mixed = asker.shown("Coverage", choices, window)
    wanted = {key: v for shown in MIXED for key, v in expected(shown, choices, window).items()}
    assert mixed == pytest.approx(wanted, rel=1e-9, abs=1e-12)
    record_property("values compared", compared + len(mixed))


@pytest.mark.parametrize("choice", ["all", "one served model", "nothing"])
@pytest.mark.parametrize("resolution", [fleet.LIVE, fleet.KEPT], ids=["live", "kept"])
def test_a_latency_is_the_highest_stored_quantile(
    asker: Asker, choice: str, resolution: fleet.Resolution
) -> None:
    choices, window = choose("north", CHOICES[choice]), window_of(resolution)
    for title, metric in LATENCY_TITLES.items():
        wanted: dict[Key, Value] = {}
        for step in steps(window, over_time=True):
            observed = [
                fleet.quantiles(row)
                for row in chosen(choices, step)
                if row.fields[f"{metric}_observed_requests"] > 0
            ]
            for name in QUANTILES:
                if observed:
                    highest = max(each[f"{metric}_{name}_seconds"] for each in observed)
                    wanted[name, str(step.start)] = highest
        assert asker.shown(title, choices, window) == pytest.approx(wanted), title
        assert bool(wanted) == (choice != "nothing")


def test_the_fleet_makes_every_panel_show_every_column(asker: Asker) -> None:
    for title, shown in SHOWN.items():
        by = () if shown.by is None else (shown.by,)
        columns = {key[-2] for key in asker.shown(title, choose("north"), ALL_LIVE, by)}
        assert columns == shown.columns.keys(), title


def test_without_tokens_there_is_no_cost(asker: Asker) -> None:
    choices = choose("no-tokens")
    for title in (
        "Cost per million output tokens",
        "Cost per million output tokens over time",
        "Margin",
        "Energy per output token",
    ):
        assert asker.shown(title, choices, ALL_LIVE) == {}, title
    start = str(fleet.START)
    assert asker.shown("Tokens", choices, ALL_LIVE) == {("input", start): 0, ("output", start): 0}


def test_below_the_floor_only_bounds_and_coverage_are_shown(asker: Asker) -> None:
    choices, start = choose("silent"), str(fleet.START)
    assert asker.shown("Idle capacity", choices, ALL_LIVE) == {}
    bounds = asker.shown("Idle capacity: bounds and coverage", choices, ALL_LIVE)
    assert float(bounds["coverage", start]) < 0.95
    assert float(bounds["low", start]) < float(bounds["high", start])


def test_a_window_that_was_not_rolled_up_has_no_pue(asker: Asker) -> None:
    choices = choose("north")

    def longer(title: str, seconds: int) -> dict[Key, Value]:
        return asker.shown(title, choices, ALL_LIVE._replace(end=fleet.END + seconds))

    assert longer("PUE, interim", 10) != {}
    assert longer("PUE, interim", 30) == {}
    assert longer("PUE: coverage", 300) == pytest.approx({("coverage", str(fleet.START)): 0.5})


def test_the_parts_of_the_money_are_its_total(asker: Asker) -> None:
    for title in ("Where the money went", "Money by kind", "Cost of idle capacity"):
        values = asker.shown(title, choose("north"), ALL_LIVE)
        total = values.pop(("total", str(fleet.START)))
        assert sum(map(float, values.values())) == pytest.approx(float(total)), title
