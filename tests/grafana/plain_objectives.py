"""Latency objectives as points of ``event``, of what engines observed as is known here."""

from typing import Final

from meterhouse_agent import wire
from meterhouse_collector.quarters.objectives import objective_points
from meterhouse_collector.rows import EngineRow, Row, Served
from tests.collector.collecting import index
from tests.grafana.plain_events import BUDGET_STARTS, number

QUARTER: Final = 900
EDGES: Final = (0.25, 0.5, 1.0)
# By the name of the objective: served model, latency, threshold, and the part that is wanted.
OBJECTIVES: Final = {
    "first-token": ("llama", "time_to_first_token", 0.5, 0.9),
    "between-edges": ("llama", "time_to_first_token", 0.3, 0.8),
    "whole": ("mistral", "latency", 1.0, 0.95),
    "half-silent": ("mixtral", "latency", 0.5, 0.95),
    "nobody-asks": ("phi", "latency", 0.5, 0.95),
    "not-reported": ("llama", "inter_token_latency", 0.5, 0.95),
}
WORDS: Final = {"time_to_first_token": "ttft", "latency": "e2e"}
# Of the engine of the third model only half of the time is known.
TOLD_SECONDS: Final = {"llama": 900, "mistral": 870, "mixtral": 450, "phi": 900}
DEVICES: Final = {"mistral": "node-1/gpu-1", "mixtral": "node-2/gpu-0", "phi": "node-2/gpu-1"}
ENGINE: Final = """
[[engine]]
name = "engine-{model}"
served_model = "{model}"
devices = ["{device}"]
"""
SLO: Final = """
[[slo]]
name = "{name}"
served_model = "{model}"
metric = "{metric}"
threshold = "{milliseconds}ms"
objective_ratio = {wanted}
"""
SITE: Final = index(
    *(ENGINE.format(model=model, device=device) for model, device in DEVICES.items()),
    *(
        SLO.format(
            name=name, model=model, metric=metric, milliseconds=int(1000 * edge), wanted=wanted
        )
        for name, (model, metric, edge, wanted) in OBJECTIVES.items()
    ),
)
STARTS: Final = BUDGET_STARTS


def counts(model: str, start: int) -> tuple[int, int, int, int]:
    """Return the requests in each bucket, the last above the last edge."""
    n = number(start)
    if model == "phi":
        return 0, 0, 0, 0
    return 60 + n, 20, 10 + len(model), n % 7


def _row(model: str, start: int) -> EngineRow:
    histogram = wire.Histogram(
        edges_seconds=[*EDGES], counts=[*counts(model, start)], sum_seconds=1.0
    )
    latency = dict.fromkeys(WORDS.values(), histogram)
    covered = 1000 * TOLD_SECONDS[model]
    return EngineRow(QUARTER * 1000, (Served(model, covered, 1, 0, 1, latency=latency),))


def rows() -> list[Row]:
    """Return the points of all objectives, as they are written with the sums of a quarter."""
    return [
        point
        for start in STARTS
        for point in objective_points(
            SITE, start, {model: _row(model, start) for model in TOLD_SECONDS}
        )
    ]
