"""What every column of the overview must show, computed from sums alone; None: nothing."""

from collections.abc import Callable
from typing import Final

from tests.grafana.fleet import Sums

Truth = Callable[[Sums, float], float | None]
STATES: Final = ("active", "held_idle", "free", "unhealthy", "unknown")


def ratio(numerator: float, denominator: float, *, covered: bool = True) -> float | None:
    return numerator / denominator if denominator > 0 and covered else None


def pue(s: Sums, window: float) -> float | None:
    covered = pue_coverage(s, window)
    enough = covered is not None and covered >= 0.95
    return ratio(s["facility_joint_joules"], s["it_joint_joules"], covered=enough)


def pue_coverage(s: Sums, window: float) -> float | None:
    sized = s["interval_seconds"] - s["pue_unexpected_seconds"]
    time = max(window, s["interval_seconds"])
    energy = ratio(s["it_joint_joules"], s["it_expected_joules"])
    return None if energy is None else energy * sized / time


def idle(s: Sums) -> float:
    return max(0.0, s["free_seconds"] - s["stranded_seconds"]) + s["held_idle_seconds"]


def known(s: Sums) -> float:
    return s["active_seconds"] + idle(s)


def idle_coverage(s: Sums, _: float) -> float | None:
    available = s["installed_seconds"] - s["unhealthy_seconds"]
    return ratio(available - s["unknown_seconds"], available)


def idle_ratio(s: Sums, window: float) -> float | None:
    covered = idle_coverage(s, window)
    return ratio(idle(s), known(s), covered=covered is not None and covered >= 0.95)


def idle_low(s: Sums, _: float) -> float | None:
    return ratio(idle(s), known(s) + s["unknown_seconds"])


def idle_high(s: Sums, _: float) -> float | None:
    return ratio(idle(s) + s["unknown_seconds"], known(s) + s["unknown_seconds"])


def cost(s: Sums, _: float) -> float | None:
    covered = s["engine_covered_seconds"] >= 0.95 * s["engine_installed_seconds"] > 0
    return ratio(1e6 * s["serving_money"], s["serving_output_tokens"], covered=covered)


def money(s: Sums, *states: str) -> float:
    return sum(s[f"{state}_{kind}_money"] for state in states for kind in ("capital", "energy"))


def priced(s: Sums) -> bool:
    return s["installed_seconds"] > s["unpriced_seconds"]


def idle_money(s: Sums, _: float) -> float | None:
    hour = 3600 * money(s, "held_idle", "free")
    return ratio(hour, s["interval_seconds"], covered=priced(s))


def spent(*states: str) -> Truth:
    return lambda s, _: money(s, *states) if priced(s) else None


def kind(name: str) -> Truth:
    return lambda s, _: s[name] if priced(s) else None


def per_second(name: str) -> Truth:
    return lambda s, _: ratio(s[name], s["interval_seconds"])


def counted(name: str) -> Truth:
    return lambda s, _: s[name] if has_engine(s) else None


def token_rate(name: str) -> Truth:
    return lambda s, _: ratio(s[name], s["interval_seconds"], covered=has_engine(s))


def has_engine(s: Sums) -> bool:
    return s["engine_installed_seconds"] + s["input_tokens"] + s["output_tokens"] > 0


WINDOW: Final[dict[str, dict[str, Truth]]] = {
    "PUE, interim": {"pue": pue},
    "PUE: coverage": {"coverage": pue_coverage},
    "Idle capacity": {"ratio": idle_ratio},
    "Idle capacity: bounds and coverage": {
        "low": idle_low,
        "high": idle_high,
        "coverage": idle_coverage,
    },
    "Cost per million output tokens": {"cost": cost},
    "Cost: coverage": {
        "coverage": lambda s, _: ratio(s["engine_covered_seconds"], s["engine_installed_seconds"])
    },
    "Idle money per hour": {"idle": idle_money},
    "Money: coverage": {
        "priced": lambda s, _: ratio(
            s["installed_seconds"] - s["unpriced_seconds"], s["installed_seconds"]
        )
    },
    "Tokens": {"input": counted("input_tokens"), "output": counted("output_tokens")},
    "Where the money went": {
        "active_capital": kind("active_capital_money"),
        "active_energy": kind("active_energy_money"),
        **{state: spent(state) for state in STATES[1:]},
        "total": spent(*STATES),
    },
}
OVER_TIME: Final[dict[str, dict[str, Truth]]] = {
    "States of the fleet": {state: per_second(f"{state}_seconds") for state in STATES},
    "Power": {
        "facility": lambda s, _: ratio(s["facility_joint_joules"], s["pue_joint_seconds"]),
        "it": lambda s, _: ratio(
            s["it_expected_joules"], s["interval_seconds"] - s["pue_unexpected_seconds"]
        ),
    },
    "Tokens per second": {
        "input": token_rate("input_tokens"),
        "output": token_rate("output_tokens"),
    },
    "PUE over time, interim": {"pue": lambda s, _: pue(s, s["interval_seconds"])},
    "Idle capacity over time": {"ratio": idle_ratio, "low": idle_low, "high": idle_high},
    "Cost per million output tokens over time": {"cost": cost},
}
OF_SITE: Final = {"PUE, interim", "PUE: coverage", "Power", "PUE over time, interim"}
WITH_TIME: Final = {"Idle money per hour", "States of the fleet", "Tokens per second"}
