"""What the panels of plain points must show, computed from what was put in."""

from collections.abc import Callable, Iterable, Mapping
from math import fsum
from typing import Final, NamedTuple

from tests.grafana import plain
from tests.grafana.asking import Choice, Key, Value, Window
from tests.grafana.macros import ALL
from tests.grafana.plain import DEVICES, NODES, STARTS
from tests.grafana.plain_events import number

Made = dict[tuple[str, ...], Value]
# For a stretch of intervals: what is shown, by the values of the tags and the column.
Truth = Callable[[list[int], Choice], Made]


class Plain(NamedTuple):
    """A panel of plain points: the tags that tell its rows or series apart, and its truth."""

    truth: Truth
    by: tuple[str, ...] = ()
    over_time: bool = False


def expected(panel: Plain, choices: Choice, window: Window) -> dict[Key, Value]:
    """Return what is shown, with the time of each step; a whole window has no time."""
    if not panel.over_time:
        return {(*key, ""): value for key, value in panel.truth([*STARTS], choices).items()}
    found: dict[Key, Value] = {}
    for begin in range(window.start, window.end, window.bucket):
        starts = [start for start in STARTS if begin <= start < begin + window.bucket]
        for key, value in panel.truth(starts, choices).items():
            found[*key, str(begin)] = value
    return found


def mean(values: Iterable[float]) -> float:
    some = [*values]
    return fsum(some) / len(some)


def chosen(choices: Choice) -> list[tuple[str, str]]:
    """Return the chosen devices by node."""
    nodes, devices = choices["node"], choices["device"]
    return [
        (node, device)
        for node in NODES
        for device in DEVICES
        if (nodes == ALL or node in nodes) and (devices == ALL or device in devices)
    ]


def _device(value: Callable[[str, str, list[int]], float]) -> Plain:
    def truth(starts: list[int], choices: Choice) -> Made:
        return {(n, d, "value"): value(n, d, starts) for n, d in chosen(choices)}

    return Plain(truth, ("node", "device"), over_time=True)


def gauge(name: str) -> Plain:
    scale = plain.SCALES[name]
    return _device(lambda n, d, starts: mean(scale * plain.reading(n, d, s) for s in starts))


def summed(name: str) -> Plain:
    scale = plain.SCALES[name]
    return _device(lambda n, d, starts: fsum(scale * plain.reading(n, d, s) for s in starts))


def _highest() -> Plain:
    scale = plain.SCALES["power_watts_max"]
    return _device(lambda n, d, starts: max(scale * plain.reading(n, d, s) for s in starts))


def _errors(place: int) -> Plain:
    return _device(lambda n, d, starts: float(sum(plain.errors(n, d, s)[place] for s in starts)))


def place_of(node: str, device: str, start: int) -> float:
    order = ("active", "held_idle", "free", "unhealthy", "unknown")
    state = plain.state_of(node, device, start)
    # An engine of the site holds this device: it is never free.
    held = (node, device) == ("node-1", "gpu-0")
    return float(order.index("held_idle" if held and state == "free" else state))


def _states(starts: list[int], choices: Choice) -> Made:
    return {(n, d, "state"): place_of(n, d, starts[-1]) for n, d in chosen(choices)}


def _now(starts: list[int], choices: Choice) -> Made:
    columns = {
        "power": "power_watts",
        "utilization": "utilization_ratio",
        "temperature": "temperature_celsius",
        "memory": "memory_used_bytes",
    }
    found = _states(starts, choices)
    for n, d in chosen(choices):
        for column, name in columns.items():
            found[n, d, column] = plain.SCALES[name] * plain.reading(n, d, starts[-1])
    return found


def _fault_codes(starts: list[int], choices: Choice) -> Made:
    found: dict[tuple[str, ...], float] = {}
    for node, device in chosen(choices):
        for start in starts:
            for code in plain.xids(node, start).get(DEVICES.index(device), ()):
                # What no catalogue has makes no series of its own.
                key = (node, device, str(code) if code < 256 else "other", "times")
                found[key] = found.get(key, 0.0) + 1
    return {**found}


def _host(name: str) -> Plain:
    scale = plain.HOST_SCALES[name]

    def truth(starts: list[int], choices: Choice) -> Made:
        nodes = choices["node"]
        return {
            (node, "value"): mean(scale * plain.host_reading(node, s) for s in starts)
            for node in NODES
            if nodes == ALL or node in nodes
        }

    return Plain(truth, ("node",), over_time=True)


NODE: Final[Mapping[str, Plain]] = {
    "States": Plain(_states, ("node", "device"), over_time=True),
    "Accelerators": Plain(_now, ("node", "device")),
    "Utilization": gauge("utilization_ratio"),
    "SM activity": gauge("sm_activity_ratio"),
    "Tensor activity": gauge("tensor_activity_ratio"),
    "Memory used": gauge("memory_used_bytes"),
    "Clock": gauge("sm_clock_hertz"),
    "Power of accelerators": gauge("power_watts"),
    "Highest power of accelerators": _highest(),
    "Temperature": gauge("temperature_celsius"),
    "Memory temperature": gauge("memory_temperature_celsius"),
    "Throttled": summed("throttled_milliseconds"),
    "Throttled for power": summed("throttled_power_milliseconds"),
    "Throttled for heat": summed("throttled_thermal_milliseconds"),
    "Corrected memory errors": _errors(0),
    "Uncorrected memory errors": _errors(1),
    "Fault codes (XID)": Plain(_fault_codes, ("node", "device", "xid")),
    "CPU utilization": _host("cpu_utilization_ratio"),
    "Memory of hosts": _host("memory_used_bytes"),
    "CPU temperature": _host("temperature_celsius"),
    "Queue": Plain(
        lambda starts, _: {
            ("chat", "running"): mean(plain.queue(s)[0] for s in starts),
            ("chat", "waiting"): mean(plain.queue(s)[1] for s in starts),
        },
        ("engine",),
        over_time=True,
    ),
}


Limit = tuple[list[float | None], float, float]


def loads(starts: list[int]) -> dict[tuple[str, str], Limit]:
    """Return of each limit the loads, None where not known, what it allows, and its ratio."""
    return {
        ("power", "ups"): ([plain.ups_watts(s) for s in starts], plain.UPS_LIMIT, 1.0),
        ("power", "feed"): (
            [plain.feed_watts(s) for s in starts],
            plain.FEED_LIMIT,
            plain.MARGINAL,
        ),
        ("power", "standby"): (
            [plain.standby_watts(s) for s in starts],
            plain.STANDBY_LIMIT,
            1.0,
        ),
        ("cooling", "chillers"): ([9.0e5 for _ in starts], 2.0e6, 1.0),
    }


def _used(starts: list[int], _: Choice) -> Made:
    found: Made = {}
    for name, (watts, limit, _ratio) in loads(starts).items():
        known = [each for each in watts if each is not None]
        if known:
            found[*name, "used"] = max(known) / limit
    return found


def _used_last(starts: list[int], _: Choice) -> Made:
    return {
        (*name, "used"): last / limit
        for name, (watts, limit, _) in loads(starts).items()
        if (last := watts[-1]) is not None
    }


def _limits(starts: list[int], _: Choice) -> Made:
    found: Made = {}
    for name, (watts, limit, marginal) in loads(starts).items():
        found[*name, "allowed"] = limit
        if (last := watts[-1]) is not None:
            found[*name, "load"] = last
            found[*name, "used"] = last / limit
            found[*name, "fits IT"] = (limit - last) / marginal
    return found


def fits(start: int) -> tuple[float | None, float]:
    """Return the IT power that fits, None where a load is not known, and its upper bound."""
    limits = loads([start]).values()
    rooms = [(lim - w) / m for [w], lim, m in limits if w is not None]
    least = min(rooms)
    return (least if len(rooms) == len(limits) else None), least


def _headroom(starts: list[int], _: Choice) -> Made:
    it, at_most = fits(starts[-1])
    # The meter of one limit is silent by then, and the last known figure is not now.
    assert it is None
    return {("at most",): at_most}


def _headroom_over_time(starts: list[int], _: Choice) -> Made:
    known = [it for s in starts if (it := fits(s)[0]) is not None]
    found: Made = {("at most",): min(fits(s)[1] for s in starts)}
    if known:
        found["it",] = min(known)
    return found


def projected(starts: list[int]) -> list[float]:
    return [watts for s in starts if (watts := plain.feed_watts(s)) is not None]


def _demand(starts: list[int], _: Choice) -> Made:
    found: Made = {("feed", "contracted"): plain.FEED_LIMIT}
    if projected(starts):
        found["feed", "projected"] = max(projected(starts))
    return found


LIMITS: Final[Mapping[str, Plain]] = {
    "Headroom for IT": Plain(_headroom),
    "Headroom for IT over time": Plain(_headroom_over_time, over_time=True),
    # At the end (1,200 - 1,059) kW at the UPS, and (1,000 - 829.5) / 1.25 kW at the grid.
    "What binds": Plain(
        lambda *_: {
            ("site-a", "binds"): "feed",
            ("site-a", "but"): "the load is not known at standby",
        },
        ("site",),
    ),
    "Power against limits": Plain(_used_last, ("kind", "limit")),
    "Limits": Plain(_limits, ("kind", "limit")),
    "Limits over time": Plain(_used, ("kind", "limit"), over_time=True),
    "Demand": Plain(
        lambda starts, _: {
            ("feed", "projected"): projected(starts)[-1],
            ("feed", "contracted"): plain.FEED_LIMIT,
            ("feed", "used"): projected(starts)[-1] / plain.FEED_LIMIT,
            ("feed", "known"): 290.0,
            ("feed", "elapsed"): 300.0,
        },
        ("connection",),
    ),
    "Demand over time": Plain(_demand, ("connection",), over_time=True),
    "Part of the connection": Plain(
        lambda starts, _: {("feed", "part"): mean(projected(starts)) / plain.FEED_LIMIT},
        ("connection",),
    ),
    "Batteries and generators": Plain(
        lambda starts, _: {("battery", "b1", "watts"): 100.0 * number(starts[-1])},
        ("kind", "source"),
        over_time=True,
    ),
    "Next increments": Plain(
        lambda *_: {("feed", "phase-2", "power"): 5.0e5, ("feed", "phase-2", "days"): 90.0},
        ("connection", "increment"),
    ),
    # 829.5 kW + 400 * 1 kW * 1.25 pass 1,000 kW in January; so do 1,059 + 400 kW 1,200 kW then.
    "Runway": Plain(
        lambda *_: {
            ("site-a", "month"): "2024-01",
            ("site-a", "binds"): "feed",
            ("site-a", "then"): "2024-01",
            ("site-a", "and then"): "ups",
        },
        ("site",),
    ),
    "What this PUE is": Plain(
        lambda *_: {
            ("site-a", "PUE"): "iPUE, IT energy from nodes: upper bound",
            ("site-a", "currency"): "EUR",
        },
        ("site",),
    ),
}
