"""Every query of plain points, run against a real database, shows what was put in."""

from collections.abc import Callable, Mapping
from typing import Final

import pytest

from tests.grafana import (
    plain,
    plain_events,
    plain_path,
    truth_goodput,
    truth_own,
    truth_plain,
    truth_region,
    truth_sensors,
)
from tests.grafana.asking import (
    ALL_LIVE,
    BOARDS,
    PANELS,
    Asker,
    Choice,
    Key,
    Value,
    choose,
    of_rollups,
)
from tests.grafana.fleet import SITES, STATES
from tests.grafana.truth_plain import Plain, expected

SHOWN: Final[Mapping[str, Plain]] = {
    **truth_plain.NODE,
    **truth_plain.LIMITS,
    **truth_own.BUDGETS,
    **truth_goodput.GOODPUT,
    **truth_region.REGION,
    **truth_sensors.SENSORS,
    **truth_own.OWN,
    **{title: truth_own.alerts(title) for title in truth_own.ALERTS},
}
CHOICES: Final[dict[str, Choice]] = {
    "all": {},
    "one node": {"node": ["node-1"]},
    "one device of each": {"device": ["gpu-1"]},
    "one served model": {"served_model": ["llama"]},
    "both": {"node": ["node-1", "node-2"], "device": ["gpu-0", "gpu-1"]},
}


def shown(asker: Asker, title: str, choices: Choice) -> dict[Key, Value]:
    panel = SHOWN[title]
    found = asker.shown(title, choices, ALL_LIVE, panel.by)
    if panel.over_time:
        return found
    # At which time of the window a single row stands, says nothing.
    return {(*key[:-1], ""): value for key, value in found.items()}


def texts(values: Mapping[Key, Value]) -> dict[Key, str]:
    return {key: value for key, value in values.items() if isinstance(value, str)}


def numbers(values: Mapping[Key, Value]) -> dict[Key, float]:
    return {key: value for key, value in values.items() if not isinstance(value, str)}


def test_the_truth_knows_every_panel() -> None:
    assert {title for title in PANELS if not of_rollups(title)} == SHOWN.keys()


@pytest.mark.parametrize("choice", CHOICES)
def test_every_panel_shows_the_truth(
    asker: Asker, choice: str, record_property: Callable[[str, object], None]
) -> None:
    choices = choose(plain_events.SITE, CHOICES[choice])
    compared = 0
    for title, panel in SHOWN.items():
        wanted = expected(panel, choices, ALL_LIVE)
        found = shown(asker, title, choices)
        assert texts(found) == texts(wanted), title
        assert numbers(found) == pytest.approx(numbers(wanted), rel=1e-9, abs=1e-12), title
        assert wanted, title
        compared += len(wanted)
    record_property("values compared", compared)


def test_a_site_without_any_of_it_shows_nothing(asker: Asker) -> None:
    for title in SHOWN:
        assert shown(asker, title, choose("north")) == {}, title


def test_the_power_path_shows_what_meters_of_cooling_and_of_pdus_told(asker: Asker) -> None:
    found = asker.shown("Power path", choose(plain_events.SITE), ALL_LIVE)
    of_meters = {key[0]: value for key, value in found.items() if key[0] in plain_path.WATTS}
    assert of_meters == pytest.approx(plain_path.WATTS, rel=1e-9)


def seconds(state: str, begin: int, end: int) -> float:
    """Return the device-seconds of a state by what was reported."""
    return float(
        plain.STEP
        * sum(
            STATES[int(truth_plain.place_of(node, device, start))] == state
            for start in plain.STARTS
            if begin <= start < end
            for node in plain.NODES
            for device in plain.DEVICES
        )
    )


def test_what_was_reported_is_what_the_boards_of_sums_show(asker: Asker) -> None:
    choices = choose(plain_events.SITE)
    wanted = {
        (state, str(begin)): seconds(state, begin, begin + ALL_LIVE.bucket) / ALL_LIVE.bucket
        for begin in range(ALL_LIVE.start, ALL_LIVE.end, ALL_LIVE.bucket)
        for state in STATES
    }
    assert asker.shown("States of the fleet", choices, ALL_LIVE) == pytest.approx(wanted)
    whole = {state: seconds(state, ALL_LIVE.start, ALL_LIVE.end) for state in STATES}
    idle = whole["held_idle"] + whole["free"]
    [ratio] = asker.shown("Idle capacity", choices, ALL_LIVE).values()
    assert ratio == pytest.approx(idle / (idle + whole["active"]))
    [available] = asker.shown("Availability", choices, ALL_LIVE).values()
    assert available == pytest.approx(1 - whole["unhealthy"] / sum(whole.values()))


def test_an_alert_stands_on_the_boards_when_it_fires_and_when_it_is_over(asker: Asker) -> None:
    choices = choose(plain_events.SITE)
    for board in BOARDS.values():
        notes = {
            note["name"]: asker.rows(note["target"]["query"], choices, ALL_LIVE)
            for note in board["annotations"]["list"]
        }
        fired = [(row["name"], row["time"]) for row in notes["Alerts that fire"]]
        assert fired == [
            (f"watch-{kind}", plain_events.fires_at(kind)) for kind in plain_events.KINDS
        ]
        over = {row["name"] for row in notes["Alerts that are over"]}
        assert over == {f"watch-{kind}" for kind in plain_events.OVER}


@pytest.mark.parametrize(
    ("variable", "site", "choice", "values"),
    [
        ("site", "north", {}, sorted([*SITES, plain_events.SITE])),
        ("cluster", "north", {}, ["c1", "c2", "none"]),
        ("pool", "north", {"cluster": ["c1"]}, ["serve", "train"]),
        ("tenant", "north", {"cluster": ["c1"]}, ["acme", "beta", "none"]),
        ("accelerator_model", "north", {}, ["AMD MI300X/OAM", "NVIDIA H100 80GB (HBM3)", "none"]),
        ("served_model", "north", {}, ["llama", "none"]),
        ("node", "site-a", {}, ["node-1", "node-2"]),
        ("node", "north", {}, []),
        ("device", "site-a", {"node": ["node-2"]}, ["gpu-0", "gpu-1"]),
    ],
)
def test_a_variable_offers_what_there_is(
    asker: Asker, variable: str, site: str, choice: Choice, values: list[str]
) -> None:
    asked = {
        found["query"]
        for board in BOARDS.values()
        for found in board["templating"]["list"]
        if found["name"] == variable
    }
    [query] = asked
    rows = asker.rows(query, choose(site, choice), ALL_LIVE)
    assert sorted(row[variable] for row in rows) == values
    if rows:
        # Grafana takes the first column beside time, of text.
        assert list(rows[0])[1] == variable
