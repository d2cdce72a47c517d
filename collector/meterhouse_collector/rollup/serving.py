"""What served in one interval: tokens, and what the engines that made them cost and drew.

The numerator of a cost per token follows the holders (``definitions.md``): all device-seconds of
an engine, plus its pool's free, unhealthy and unknown by the share of what is held there.
"""

from collections import defaultdict
from collections.abc import Sequence
from math import fsum
from typing import Final

from meterhouse_agent import wire
from meterhouse_collector.rollup.site_energy import MEASURED, IntervalRows
from meterhouse_collector.rows import Served
from meterhouse_collector.site.index import GroupKey, Placement, SiteIndex

Fields = defaultdict[str, list[float]]

# Reasons of the engines' own metrics; an error or an abort is no success.
SUCCEEDED: Final = ("stop", "length")
_ACTIVE: Final = wire.STATES.index("active")
_HELD_IDLE: Final = wire.STATES.index("held_idle")
_OVERHEAD: Final = tuple(wire.STATES.index(s) for s in ("free", "unhealthy", "unknown"))


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


class _Overhead:
    """What a pool's devices cost that no engine holds, and what is held there in all."""

    def __init__(self) -> None:
        self.held_seconds: Final[list[float]] = []
        self.accrued: Final[list[float]] = []
        self.drawn: Final[list[float]] = []
        self.priced = True


class Serving:
    """Gathers the cells of one interval, then adds what served to the sums."""

    def __init__(self, index: SiteIndex) -> None:
        self._index = index
        self._held: dict[str, dict[GroupKey, _Held]] = {}
        self._pools: dict[str, _Overhead] = {}

    def place(
        self,
        placement: Placement,
        seconds: Sequence[float],
        drawn: Sequence[float],
        *,
        per_second: float | None,
    ) -> None:
        """Take one placed cell: an engine's, or one of the rest of its pool.

        ``per_second`` is what its device-seconds cost, None where that is not known.
        """
        group, part = placement.group, placement.weight
        rate = 0.0 if per_second is None else per_second
        pool = self._pools.get(group.pool)
        if pool is None:
            pool = self._pools[group.pool] = _Overhead()
        if placement.engine:
            held = self._held.setdefault(placement.engine, {}).setdefault(group, _Held())
            held.seconds.append(sum(seconds) * part)
            held.accrued.append(sum(seconds) * part * rate)
            held.drawn.append(sum(drawn) * part)
            held.priced = held.priced and per_second is not None
            pool.held_seconds.append(sum(seconds) * part)
            return
        pool.held_seconds.append((seconds[_ACTIVE] + seconds[_HELD_IDLE]) * part)
        if any(map(seconds.__getitem__, _OVERHEAD)):
            pool.accrued.append(sum(seconds[state] for state in _OVERHEAD) * part * rate)
            pool.drawn.append(sum(drawn[state] for state in _OVERHEAD) * part)
            pool.priced = pool.priced and per_second is not None

    def add_to(self, terms: Terms, interval: IntervalRows) -> None:
        """Add tokens, requests, and the cost and joules of what served."""
        rows = {
            (engine, served.served_model): served
            for engine, row in interval.engines.items()
            for served in row.served
        }
        for (engine, model), served in rows.items():
            for group, part in self._targets(engine, model):
                _add_tokens(terms.fields(group), served, part)
        for engine, groups in self._held.items():
            for model in {group.served_model for group in groups}:
                self._add_cost(terms, engine, model, rows.get((engine, model)), interval)

    def _targets(self, engine: str, model: str) -> list[tuple[GroupKey, float]]:
        """Split an engine's tokens over its groups by the devices it holds there."""
        held = {
            group: fsum(part.seconds)
            for group, part in self._held.get(engine, {}).items()
            if group.served_model == model
        }
        total = fsum(held.values())
        if total == 0:
            return [(GroupKey(self._index.site, served_model=model), 1.0)]
        return [(group, seconds / total) for group, seconds in held.items()]

    def _add_cost(
        self, terms: Terms, engine: str, model: str, served: Served | None, interval: IntervalRows
    ) -> None:
        """Add what an engine costs and makes; without its tokens or its price it leaves both."""
        targets = self._targets(engine, model)
        mine = self._held[engine]
        held = {group: fsum(mine[group].seconds) for group, _ in targets if group in mine}
        for group, seconds in held.items():
            terms.add(group, "engine_installed_seconds", seconds)
        priced = all(mine[g].priced and self._pools[g.pool].priced for g in held)
        if served is None or not priced or served.quality not in MEASURED:
            return
        covered = served.covered_milliseconds / (interval.length_seconds * 1000)
        written, read = served.output_tokens, served.input_tokens
        if written is None or read is None or covered == 0:
            return
        for group, part in targets:
            if group not in held:
                continue
            # The tokens are those of the covered part, and so are money and joules.
            accrued, drawn = self._overhead(group, held[group])
            accrued = (fsum(mine[group].accrued) + accrued) * covered
            drawn = (fsum(mine[group].drawn) + drawn) * covered
            fields = terms.fields(group)
            fields["engine_covered_seconds"].append(held[group] * covered)
            fields["serving_accrued_money"].append(accrued)
            fields["serving_drawn_joules"].append(drawn)
            fields["serving_output_tokens"].append(written * part)
            fields["serving_input_tokens"].append(read * part)
            if served.cached_input_tokens is not None:
                fields["engine_computed_covered_seconds"].append(held[group] * covered)
                fields["serving_computed_accrued_money"].append(accrued)
                fields["serving_computed_drawn_joules"].append(drawn)
                fields["serving_computed_tokens"].append(
                    (read - served.cached_input_tokens + written) * part
                )

    def _overhead(self, group: GroupKey, seconds: float) -> tuple[float, float]:
        pool = self._pools[group.pool]
        held = fsum(pool.held_seconds)
        part = 0.0 if held == 0 else seconds / held
        return fsum(pool.accrued) * part, fsum(pool.drawn) * part


def _add_tokens(fields: Fields, served: Served, part: float) -> None:
    for name, value in (
        ("input_tokens", served.input_tokens),
        ("cached_input_tokens", served.cached_input_tokens),
        ("output_tokens", served.output_tokens),
    ):
        if value is not None:
            fields[name].append(value * part)
    for reason in SUCCEEDED:
        if reason in served.requests:
            fields["requests_succeeded"].append(served.requests[reason] * part)
