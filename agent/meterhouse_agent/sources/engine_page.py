"""From the text of a metrics page to samples per served model.

A page has hundreds of series and the parser takes about 15 microseconds for each, nearly all of
it for the labels. So only the wanted lines are looked at, and the labels of a series are parsed
when it is first seen: a vLLM page of 430 lines costs 0.3 ms, where parsing it whole costs 5.
"""

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

from prometheus_client.parser import text_string_to_metric_families

from meterhouse_agent.samples import EngineSample, HistogramSample
from meterhouse_agent.sources.engine_profiles import Combine, EngineProfile, Gauge

MAX_SERIES: Final = 16_384
MAX_SERIES_BYTES: Final = 4_096
MAX_MODELS: Final = 256
MAX_MODEL_NAME: Final = 128
MAX_FINITE_EDGES: Final = 64
MAX_COUNT: Final = 2**53
PROCESS_START: Final = "process_start_time_seconds"
# Possessive throughout: a label that never ends must not make it try every way to split the text.
_LABELS: Final = r'(?:\{(?:[^"}\n]++|"(?:[^"\\\n]++|\\.)*+")*+\})?+'


class PageError(ValueError):
    """The text is no metrics page of this kind of server; says what was found."""


@dataclass(frozen=True, slots=True)
class _Series:
    name: str
    labels: Mapping[str, str]
    under_ray: bool


@dataclass(slots=True)
class _Values:
    """The values of one quantity of one model, and the engines they came from."""

    values: list[float] = field(default_factory=list)
    engines: set[str] = field(default_factory=set)

    def add(self, engine: str, value: float) -> None:
        self.values.append(value)
        self.engines.add(engine)


@dataclass(slots=True)
class _Model:
    plain: dict[str, _Values] = field(default_factory=dict)
    reasons: dict[str, _Values] = field(default_factory=dict)
    buckets: dict[str, dict[str, _Values]] = field(default_factory=dict)
    engines: set[str] = field(default_factory=set)

    def complete(self, values: _Values | None) -> list[float] | None:
        """Return the values, or ``None`` where an engine is missing or a number is none."""
        if values is None or values.engines != self.engines:
            return None
        return values.values if all(map(math.isfinite, values.values)) else None

    def count(self, values: _Values | None) -> int | None:
        numbers = self.complete(values)
        if numbers is None or min(numbers) < 0.0:
            return None
        total = round(math.fsum(numbers))
        return total if total <= MAX_COUNT else None

    def gauge(self, name: str, combine: Combine) -> float | None:
        numbers = self.complete(self.plain.get(name))
        if numbers is None:
            return None
        if combine == "max":
            return max(numbers)
        total = math.fsum(numbers)
        return total / len(numbers) if combine == "mean" else total


class PageReader:
    """Reads pages of one kind of server; remembers the series of the last one."""

    def __init__(self, profile: EngineProfile) -> None:
        self._profile = profile
        names = "|".join(map(re.escape, sorted(profile.names(), reverse=True)))
        series = rf"(?:{profile.prefix}(?:{names})|{PROCESS_START}){_LABELS}"
        # A literal first character lets the search skip other lines at the speed of memchr.
        self._wanted = re.compile(rf"\n({series})[ \t]++(\S++)".encode())
        self._prefix = re.compile(profile.prefix)
        self._known: dict[bytes, _Series] = {}

    def read(self, page: bytes, engine: str, at_milliseconds: int) -> tuple[EngineSample, ...]:
        """Return one sample per served model; raise ``PageError`` for what is no such page."""
        _check(page)
        found = self._wanted.findall(b"\n" + page)
        if len(found) > MAX_SERIES:
            raise PageError(f"{len(found)} series: at most {MAX_SERIES} are read")
        series: dict[bytes, _Series] = {}
        models: dict[str, _Model] = {}
        starts: list[float] = []
        for head, text in found:
            if head in series:
                raise PageError(f"the series {head[:200].decode(errors='replace')} is there twice")
            entry = series[head] = self._known.get(head) or self._parse(head)
            value = _number(text)
            if entry.name == PROCESS_START:
                starts.append(value)
            else:
                self._put(models, entry, value)
        self._known = series
        if not models:
            raise PageError("no series of a served model")
        if len({entry.under_ray for entry in series.values() if entry.name != PROCESS_START}) > 1:
            raise PageError("the same series under two names, with and without ray_")
        # Under Ray the process is not the engine, and its start says nothing of the counters.
        under_ray = any(entry.under_ray for entry in series.values())
        start = _epoch([] if under_ray else starts)
        return tuple(
            self._sample(model, name, engine, at_milliseconds, start)
            for name, model in sorted(models.items())
        )

    def _parse(self, head: bytes) -> _Series:
        if len(head) > MAX_SERIES_BYTES:
            raise PageError(f"a series of {len(head)} bytes: at most {MAX_SERIES_BYTES} are read")
        try:
            families = list(text_string_to_metric_families(head.decode() + " 0\n"))
            sample = families[0].samples[0]
        except (ValueError, IndexError) as error:
            raise PageError(f"no series: {head[:200]!r} ({error})") from None
        bare = self._prefix.sub("", sample.name, count=1)
        return _Series(bare, sample.labels, sample.name.startswith("ray_"))

    def _put(self, models: dict[str, _Model], entry: _Series, value: float) -> None:
        profile, labels = self._profile, entry.labels
        served_model = labels.get(profile.model_label, "")[:MAX_MODEL_NAME]
        if not served_model:
            return
        model = models.setdefault(served_model, _Model())
        if len(models) > MAX_MODELS:
            raise PageError(f"more than {MAX_MODELS} served models")
        engine = labels.get(profile.engine_label, "")
        model.engines.add(engine)
        if entry.name == profile.requests:
            reason = labels.get(profile.reason_label, "")
            key = reason if reason in profile.reasons else "other"
            model.reasons.setdefault(key, _Values()).add(engine, value)
        elif entry.name.endswith("_bucket"):
            edges = model.buckets.setdefault(entry.name.removesuffix("_bucket"), {})
            edges.setdefault(labels.get("le", ""), _Values()).add(engine, value)
        else:
            model.plain.setdefault(entry.name, _Values()).add(engine, value)

    def _sample(
        self, model: _Model, served_model: str, engine: str, at_milliseconds: int, start: str
    ) -> EngineSample:
        profile = self._profile
        reasons = {reason: model.count(values) for reason, values in model.reasons.items()}
        latency = {
            key: _histogram(model, model.buckets.get(name, {}), model.plain.get(f"{name}_sum"))
            for key, name in profile.latency.items()
        }
        created = model.plain.get(profile.created)
        return EngineSample(
            engine=engine,
            served_model=served_model,
            at_milliseconds=at_milliseconds,
            epoch=start or _epoch([] if created is None else created.values),
            input_tokens=model.count(model.plain.get(profile.input_tokens)),
            cached_input_tokens=model.count(model.plain.get(profile.cached_input_tokens)),
            output_tokens=model.count(model.plain.get(profile.output_tokens)),
            requests={key: count for key, count in reasons.items() if count is not None},
            running_requests=_gauge(model, profile.running_requests),
            waiting_requests=_gauge(model, profile.waiting_requests),
            kv_cache_used_ratio=_gauge(model, profile.kv_cache_used_ratio),
            latency={key: value for key, value in latency.items() if value is not None},
        )


def _check(page: bytes) -> None:
    body = page.lstrip()
    if not body:
        raise PageError("the page is empty")
    if not (body[:1].isalpha() or body[:1] in (b"#", b"_", b":")):
        raise PageError(f"no metrics page, it begins with {body[:40]!r}")
    # A page that was cut ends within a line, and the beginning of a number is a number, too.
    if not page.endswith(b"\n"):
        raise PageError("the page was cut: its last line has no end")


def _number(text: bytes) -> float:
    try:
        # float() takes 1_000 for a number, the format does not.
        return math.nan if b"_" in text else float(text)
    except ValueError:
        return math.nan


def _epoch(starts: Iterable[float]) -> str:
    # The earliest: a rank that was added later must not look as if all had begun again.
    known = [start for start in starts if math.isfinite(start)]
    return f"{min(known):.3f}" if known else ""


def _gauge(model: _Model, gauge: Gauge) -> float | None:
    return model.gauge(gauge.name, gauge.combine)


def _histogram(
    model: _Model, buckets: Mapping[str, _Values], sums: _Values | None
) -> HistogramSample | None:
    """Return the sum of all engines' histograms, if their edges are the same and all is there."""
    totals = {_number(edge.encode()): model.count(values) for edge, values in buckets.items()}
    edges = sorted(edge for edge in totals if not math.isnan(edge))
    counts = [totals[edge] for edge in edges]
    cumulative = [count for count in counts if count is not None]
    numbers = model.complete(sums)
    if (
        numbers is None
        or not edges
        or not math.isinf(edges[-1])
        or len(cumulative) != len(buckets)
        or len({len(values.values) for values in buckets.values()}) != 1
        or cumulative != sorted(cumulative)
    ):
        return None
    finite = list(zip(edges[:-1], cumulative[:-1], strict=True))
    while len(finite) > MAX_FINITE_EDGES:
        # Cumulative counts stay exact when an edge between them is left out.
        finite = finite[1::2]
    return HistogramSample(
        edges_seconds=(*(edge for edge, _ in finite), edges[-1]),
        cumulative_counts=(*(count for _, count in finite), cumulative[-1]),
        sum_seconds=math.fsum(numbers),
    )
