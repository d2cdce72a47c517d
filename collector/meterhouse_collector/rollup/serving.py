"""What served in one interval: tokens, and what the engines that made them cost and drew.

The numerator of a cost per token follows the holders (``definitions.md``): all device-seconds of
an engine, plus its pool's free, unhealthy and unknown by the share of what is held there.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from math import fsum
from typing import Final

from meterhouse_agent import wire
from meterhouse_collector.rollup.cells import Five
from meterhouse_collector.rollup.observed import METRICS, Buckets
from meterhouse_collector.rollup.site_energy import MEASURED, IntervalRows
from meterhouse_collector.rows import Served
from meterhouse_collector.site.index import GroupKey, Placement, SiteIndex

Fields = defaultdict[str, list[float]]

# Reasons of the engines' own metrics; an error or an abort is no success.
SUCCEEDED: Final = ("stop", "length")
_ACTIVE: Final = wire.STATES.index("active")
_HELD_IDLE: Final = wire.STATES.index("held_idle")
# It and all states after it are held by nobody.
_FREE: Final = wire.STATES.index("free")


class Terms:
    """The terms of every field of every group, kept apart so that their sum can be exact."""

    def __init__(self) -> None:
        self.groups: Final[dict[GroupKey, Fields]] = {}

    def fields(self, group: GroupKey) -> Fields:
        """Return the terms of one group by field, to add to."""
        fields = self.groups.get(group)
        if fields is None:
            fields = self.groups[group] = defaultdict(list)
        return fields

    def add(self, group: GroupKey, name: str, value: float) -> None:
        """Add a term to a field of a group."""
        self.fields(group)[name].append(value)


class _Held:
    """What one engine holds in one group."""

    def __init__(self) -> None:
        self.seconds: Final[list[float]] = []
        self.accrued: Final[list[float]] = []
        self.drawn: Final[list[float]] = []
        self.priced = True
        self.metered = True


class _Overhead:
    """What a pool's devices cost that no engine holds, and what is held there in all."""

    def __init__(self) -> None:
        self.held_seconds: Final[list[float]] = []
        self.accrued: Final[list[float]] = []
        self.drawn: Final[list[float]] = []
        self.priced = True
        self._totals: tuple[int, tuple[float, float, float]] = (0, (0.0, 0.0, 0.0))

    def totals(self) -> tuple[float, float, float]:
        """Return the sums of held seconds, accrued money and drawn joules."""
        terms = len(self.held_seconds) + len(self.accrued)
        if self._totals[0] != terms:
            sums = fsum(self.held_seconds), fsum(self.accrued), fsum(self.drawn)
            self._totals = terms, sums
        return self._totals[1]


class Serving:
    """Gathers the cells of one interval, then adds what served to the sums."""

    def __init__(self, index: SiteIndex) -> None:
        self._index = index
        self.held: Final[dict[str, dict[GroupKey, _Held]]] = {}
        self.pools: Final[dict[str, _Overhead]] = {}
        self.buckets: Final[defaultdict[GroupKey, Buckets]] = defaultdict(Buckets)

    def place(
        self,
        placement: Placement,
        seconds: Sequence[Five],
        drawn: Sequence[Five],
        *,
        per_second: float | None,
        metered: bool = True,
    ) -> None:
        """Take cells with the same placement: of an engine, or of the rest of its pool.

        ``per_second`` is what their device-seconds cost, None where that is not known; ``metered``
        says that ``drawn`` is all of their energy.
        """
        group, part = placement.group, placement.weight
        rate = 0.0 if per_second is None else per_second
        pool = self.pools.get(group.pool)
        if pool is None:
            pool = self.pools[group.pool] = _Overhead()
        if placement.engine:
            held = self.held.setdefault(placement.engine, {}).setdefault(group, _Held())
            placed = [sum(each) * part for each in seconds]
            held.seconds.extend(placed)
            held.accrued.extend([amount * rate for amount in placed])
            held.drawn.extend([sum(each) * part for each in drawn])
            held.priced = held.priced and per_second is not None
            held.metered = held.metered and metered
            pool.held_seconds.extend(placed)
            return
        pool.held_seconds.extend([(s[_ACTIVE] + s[_HELD_IDLE]) * part for s in seconds])
        rest = [n for n, (_, _, *other) in enumerate(seconds) if any(other)]
        if rest:
            pool.accrued.extend([sum(seconds[n][_FREE:]) * part * rate for n in rest])
            pool.drawn.extend([sum(drawn[n][_FREE:]) * part for n in rest])
            pool.priced = pool.priced and per_second is not None

    def add_to(self, terms: Terms, interval: IntervalRows) -> None:
        """Add tokens, requests, and the cost and joules of what served."""
        for engine in dict.fromkeys((*interval.engines, *self.held)):
            self.add_engine(terms, engine, interval)

    def add_engine(self, terms: Terms, engine: str, interval: IntervalRows) -> None:
        """Add tokens, requests, and the cost and joules of one engine."""
        rows = _by_model(interval, engine)
        for model, served in rows.items():
            for group, part in self._targets(engine, model):
                _add_tokens(terms.fields(group), served, part)
                if served.latency:
                    self.buckets[group].add(served.latency, part)
        for model in {group.served_model for group in self.held.get(engine, ())}:
            self._add_cost(terms, engine, model, rows.get(model), interval)

    def _targets(self, engine: str, model: str) -> list[tuple[GroupKey, float]]:
        """Split an engine's tokens over its groups by the devices it holds there."""
        held = self._held_seconds(engine, model)
        if not held:
            return [(GroupKey(self._index.site, served_model=model), 1.0)]
        return _by_part(held)

    def _add_cost(
        self, terms: Terms, engine: str, model: str, served: Served | None, interval: IntervalRows
    ) -> None:
        """Add what an engine costs and makes; without its tokens or its price it leaves both."""
        held = self._held_seconds(engine, model)
        for group, seconds in held.items():
            terms.add(group, "engine_installed_seconds", seconds)
        told = _told(served, interval)
        if served is None or not told:
            return
        self._add_energy(terms, engine, held, (told, served))
        covered = self._counted(engine, held, served, interval)
        if not covered:
            return
        written, read = served.output_tokens or 0, served.input_tokens or 0
        self._add_money(terms, engine, held, (covered, served), self)
        for group, part in _by_part(held):
            fields = terms.fields(group)
            fields["engine_covered_seconds"].append(held[group] * covered)
            fields["serving_output_tokens"].append(written * part)
            fields["serving_input_tokens"].append(read * part)
            if served.cached_input_tokens is not None:
                fields["engine_computed_covered_seconds"].append(held[group] * covered)
                fields["serving_computed_tokens"].append(
                    (read - served.cached_input_tokens + written) * part
                )

    def _add_energy(
        self,
        terms: Terms,
        engine: str,
        held: Mapping[GroupKey, float],
        counted: tuple[float, Served],
    ) -> None:
        """Add what an engine drew for its tokens, priced or not; without its energy it leaves."""
        told, served = counted
        known = served.output_tokens is not None and served.input_tokens is not None
        metered = known and all(self.held[engine][group].metered for group in held)
        for group, part in _by_part(held):
            fields, seconds = terms.fields(group), held[group]
            fields["engine_told_seconds"].append(seconds * told)
            if metered:
                _, drawn = self._cost_of(engine, group, seconds, self)
                fields["served_covered_seconds"].append(seconds * told)
                fields["served_drawn_joules"].append(drawn * told)
                fields["served_output_tokens"].append((served.output_tokens or 0) * part)

    def add_money_of(self, terms: Terms, part: "Serving", interval: IntervalRows) -> None:
        """Add the cost and joules of what served that cells bring which ``part`` took, too."""
        # What no engine holds is borne by all engines of its pool.
        bearing = {pool for pool, rest in part.pools.items() if rest.accrued}
        for engine, groups in self.held.items():
            if engine not in part.held and not any(group.pool in bearing for group in groups):
                continue
            for model, served in _by_model(interval, engine).items():
                held = self._held_seconds(engine, model)
                covered = self._counted(engine, held, served, interval)
                if covered:
                    self._add_money(terms, engine, held, (covered, served), part)

    def _held_seconds(self, engine: str, model: str) -> dict[GroupKey, float]:
        held = {
            group: fsum(part.seconds)
            for group, part in self.held.get(engine, {}).items()
            if group.served_model == model
        }
        return held if any(held.values()) else {}

    def _counted(
        self,
        engine: str,
        held: Mapping[GroupKey, float],
        served: Served | None,
        interval: IntervalRows,
    ) -> float:
        """Return the part of the interval of which an engine's tokens and price are known."""
        priced = all(self.held[engine][g].priced and self.pools[g.pool].priced for g in held)
        if served is None or not priced:
            return 0.0
        if served.output_tokens is None or served.input_tokens is None:
            return 0.0
        return _told(served, interval)

    def _add_money(
        self,
        terms: Terms,
        engine: str,
        held: Mapping[GroupKey, float],
        counted: tuple[float, Served],
        source: "Serving",
    ) -> None:
        """Add what cells of ``source`` cost and drew: the engine's own, and its part of the rest.

        The tokens are those of the covered part, and so are money and joules.
        """
        covered, served = counted
        for group, seconds in held.items():
            accrued, drawn = self._cost_of(engine, group, seconds, source)
            fields = terms.fields(group)
            fields["serving_accrued_money"].append(accrued * covered)
            fields["serving_drawn_joules"].append(drawn * covered)
            if served.cached_input_tokens is not None:
                fields["serving_computed_accrued_money"].append(accrued * covered)
                fields["serving_computed_drawn_joules"].append(drawn * covered)

    def _cost_of(
        self, engine: str, group: GroupKey, seconds: float, source: "Serving"
    ) -> tuple[float, float]:
        """Return the money by time and the joules of an engine, and of its part of the pool."""
        whole, _, _ = self.pools[group.pool].totals()
        part = 0.0 if whole == 0 else seconds / whole
        mine, rest = source.held.get(engine, {}).get(group), source.pools.get(group.pool)
        _, accrued, drawn = (0.0, 0.0, 0.0) if rest is None else rest.totals()
        if mine is None:
            return accrued * part, drawn * part
        return fsum(mine.accrued) + accrued * part, fsum(mine.drawn) + drawn * part


def _told(served: Served | None, interval: IntervalRows) -> float:
    """Return the part of the interval for which an engine told of a model."""
    if served is None or served.quality not in MEASURED:
        return 0.0
    return served.covered_milliseconds / (interval.length_seconds * 1000)


def _by_part(held: Mapping[GroupKey, float]) -> list[tuple[GroupKey, float]]:
    """Return the part of an engine that each of its groups has."""
    total = fsum(held.values())
    return [(group, seconds / total) for group, seconds in held.items()]


def _by_model(interval: IntervalRows, engine: str) -> dict[str, Served]:
    row = interval.engines.get(engine)
    return {} if row is None else {served.served_model: served for served in row.served}


def _add_tokens(fields: Fields, served: Served, part: float) -> None:
    for name, value in (
        ("input_tokens", served.input_tokens),
        ("cached_input_tokens", served.cached_input_tokens),
        ("output_tokens", served.output_tokens),
    ):
        if value is not None:
            fields[name].append(value * part)
    for reason, count in served.requests.items():
        good = "requests_succeeded" if reason in SUCCEEDED else "requests_failed"
        fields[good].append(count * part)
    for name, histogram in served.latency.items():
        if name in METRICS:
            fields[f"{METRICS[name]}_observed_requests"].append(sum(histogram.counts) * part)
