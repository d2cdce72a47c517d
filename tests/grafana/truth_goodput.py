"""What the panels of latency objectives must show, from the buckets that were put in."""

from collections.abc import Mapping
from typing import Final

from tests.grafana.asking import Choice
from tests.grafana.macros import ALL
from tests.grafana.plain_objectives import (
    EDGES,
    OBJECTIVES,
    QUARTER,
    STARTS,
    TOLD_SECONDS,
    counts,
)
from tests.grafana.truth_plain import Made, Plain


def chosen(choices: Choice) -> list[str]:
    """Return the objectives of the chosen served models of which something was observed."""
    models = choices["served_model"]
    return [
        name
        for name, (model, metric, *_) in OBJECTIVES.items()
        if (models == ALL or model in models) and model != "phi" and metric != "inter_token_latency"
    ]


def summed(starts: list[int]) -> list[int]:
    return [start for start in STARTS if start in starts]


def observed(name: str, at: list[int]) -> float:
    return float(sum(sum(counts(OBJECTIVES[name][0], start)) for start in at))


def within(name: str, at: list[int]) -> tuple[float, float]:
    """Return how many requests were within, at least and at most."""
    model, _, threshold, _ = OBJECTIVES[name]
    low = sum(edge <= threshold for edge in EDGES)
    high = low if threshold in EDGES else low + 1
    return tuple(  # type: ignore[return-value] # two of them
        float(sum(sum(counts(model, start)[:buckets]) for start in at)) for buckets in (low, high)
    )


def known(choices: Choice) -> list[str]:
    """Return the objectives on a bucket edge of which engines told nearly all of the time."""
    return [name for name in chosen(choices) if name in {"first-token", "whole"}]


def _goodput(starts: list[int], choices: Choice) -> Made:
    at = summed(starts)
    return {
        (name, "goodput"): within(name, at)[0] / observed(name, at) for name in known(choices) if at
    }


def _per_second(starts: list[int], choices: Choice) -> Made:
    at = summed(starts)
    return {
        (name, "goodput"): within(name, at)[0] / (QUARTER * len(at))
        for name in known(choices)
        if at
    }


def _table(starts: list[int], choices: Choice) -> Made:
    at, found = summed(starts), Made()
    for name in chosen(choices):
        model, metric, threshold, wanted = OBJECTIVES[name]
        low, high = within(name, at)
        values = {
            "within": threshold,
            "at least": low / observed(name, at),
            "at most": high / observed(name, at),
            "wanted": wanted,
            "requests": observed(name, at),
            "coverage": TOLD_SECONDS[model] / QUARTER,
        }
        found |= {(name, model, metric, column): value for column, value in values.items()}
    return found


GOODPUT: Final[Mapping[str, Plain]] = {
    "Goodput": Plain(_goodput, ("objective",)),
    "Goodput over time": Plain(_per_second, ("objective",), over_time=True),
    "Latency objectives": Plain(_table, ("objective", "served_model", "metric")),
}
