"""What Grafana 11 does with an alert rule: query, reduce, threshold, then the states over time."""

import re
from collections.abc import Callable, Mapping
from typing import Any, Literal

State = Literal["Normal", "Pending", "Alerting"]
Labels = tuple[tuple[str, str], ...]
Series = dict[Labels, list[float | None]]
Ask = Callable[[str], list[dict[str, Any]]]

_NOW = re.compile(r"time\((\d+)m, now\(\)\)")
# A series that is missing for so many evaluations resolves.
MISSING = 2


def macros(query: str, start_seconds: float, end_seconds: float, now_seconds: float) -> str:
    """Replace what Grafana's server replaces, and the offset ``now()`` by what it is then."""
    window = f"time >= {round(start_seconds * 1000)}ms and time <= {round(end_seconds * 1000)}ms"

    def offset(step: re.Match[str]) -> str:
        return f"time({step[1]}m, {round(now_seconds) % (60 * int(step[1]))}s)"

    return _NOW.sub(offset, query.replace("$timeFilter", window))


def series_of(found: list[dict[str, Any]]) -> Series:
    """Return the numeric columns of an answer of InfluxQL, by their labels."""
    made: Series = {}
    for one in found:
        labels = tuple(sorted((k, v) for k, v in one.get("tags", {}).items()))
        for column, name in enumerate(one["columns"]):
            if name != "time":
                made[labels] = [row[column] for row in one["values"]]
    return made


class Rule:
    """One provisioned rule, evaluated tick after tick."""

    def __init__(self, rule: Mapping[str, Any]) -> None:
        self.rule = rule
        self.states: dict[Labels, tuple[State, float]] = {}
        self.missing: dict[Labels, int] = {}
        self.values: dict[str, dict[Labels, float]] = {}

    def evaluate(self, ask: Ask, at_seconds: float) -> dict[Labels, State]:
        """Evaluate once; return the state of every instance."""
        answers: dict[str, Series] = {}
        self.values = {}
        for part in self.rule["data"]:
            model, ref = part["model"], part["refId"]
            if part["datasourceUid"] != "__expr__":
                window = part["relativeTimeRange"]
                start, end = at_seconds - window["from"], at_seconds - window["to"]
                text = macros(model["query"], start, end, at_seconds)
                answers[ref] = series_of(ask(text))
            elif model["type"] == "reduce":
                self.values[ref] = _reduced(answers[model["expression"]], model)
            else:
                self.values[ref] = _compared(self.values[model["expression"]], model)
        found = self.values[self.rule["condition"]]
        if found:
            self._step(found, at_seconds)
        else:
            self._no_data(at_seconds)
        return {labels: state for labels, (state, _) in self.states.items()}

    def _step(self, found: Mapping[Labels, float], at_seconds: float) -> None:
        for labels, value in found.items():
            self.missing.pop(labels, None)
            self.states[labels] = self._next(labels, value > 0, at_seconds)
        for labels in [labels for labels in self.states if labels not in found]:
            self.missing[labels] = self.missing.get(labels, 0) + 1
            if self.missing[labels] >= self.rule.get("missing_series_evals_to_resolve", MISSING):
                del self.states[labels], self.missing[labels]

    def _next(self, labels: Labels, fires: bool, at_seconds: float) -> tuple[State, float]:  # noqa: FBT001 - what was found
        state, since = self.states.get(labels, ("Normal", at_seconds))
        if not fires:
            return "Normal", at_seconds
        if state == "Normal":
            since = at_seconds
        lasted = at_seconds - since >= _seconds(self.rule["for"])
        return ("Alerting" if lasted else "Pending"), since

    def _no_data(self, at_seconds: float) -> None:
        keeps = self.rule["noDataState"] == "KeepLast"
        for labels in self.states or [()]:
            if keeps:
                self.states.setdefault(labels, ("Normal", at_seconds))
            else:
                assert self.rule["noDataState"] == "Alerting"
                self.states[labels] = self._next(labels, True, at_seconds)  # noqa: FBT003 - see above


def _reduced(series: Series, model: Mapping[str, Any]) -> dict[Labels, float]:
    assert (model["reducer"], model["settings"]) == ("last", {"mode": "dropNN"})
    found = {}
    for labels, values in series.items():
        numbers = [value for value in values if value is not None]
        if numbers:
            found[labels] = numbers[-1]
    return found


def _compared(values: Mapping[Labels, float], model: Mapping[str, Any]) -> dict[Labels, float]:
    [condition] = model["conditions"]
    kind, [limit] = condition["evaluator"]["type"], condition["evaluator"]["params"]
    assert kind in {"gt", "lt"}
    return {
        labels: float(value > limit if kind == "gt" else value < limit)
        for labels, value in values.items()
    }


def _seconds(text: str) -> float:
    assert text.endswith("s")
    return float(text[:-1])
