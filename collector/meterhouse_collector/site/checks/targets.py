"""An alert that can never fire is a fault: it would be taken for a watch that is kept."""

from collections.abc import Iterator
from typing import Final

from meterhouse_collector.site.index import SiteIndex
from meterhouse_collector.site.model import SiteModel
from meterhouse_collector.site.most import most_burn, most_per_second
from meterhouse_collector.site.targets import RATIO_KINDS, Threshold

BURN_SHARE: Final = 0.9
_HOUR_SECONDS: Final = 3600


def faults(model: SiteModel) -> Iterator[str]:
    """Return a fault for each threshold that cannot be reached, or that cannot clear."""
    if not model.threshold and not model.budget:
        return
    index = SiteIndex(model)
    for position, threshold in enumerate(model.threshold):
        where = f"threshold.{position}"
        yield from _sides(where, threshold)
        yield from _range(where, threshold)
        yield from _reach(where, threshold, index)
    yield from _burns(index)


def _sides(where: str, threshold: Threshold) -> Iterator[str]:
    above, below, clear = threshold.above, threshold.below, threshold.clear
    if below is not None and threshold.kind == "temperature_out_of_class":
        # It counts from the bound that is passed, be it the lower or the higher one.
        yield f"{where}.below: found {below:g}, allowed: above, in degrees beyond the bound"
    if clear is None:
        return
    if above is not None and clear > above:
        yield f"{where}.clear: found {clear:g}, allowed: at most {above:g}, as it fires above that"
    if below is not None and clear < below:
        yield f"{where}.clear: found {clear:g}, allowed: at least {below:g}, as it fires below that"


def _range(where: str, threshold: Threshold) -> Iterator[str]:
    if threshold.kind in RATIO_KINDS:
        if threshold.above is not None and not 0 <= threshold.above < 1:
            yield f"{where}.above: found {threshold.above:g}, allowed: 0 or more and below 1"
        if threshold.below is not None and not 0 < threshold.below <= 1:
            yield f"{where}.below: found {threshold.below:g}, allowed: above 0 and at most 1"
    elif threshold.kind == "pue":
        if threshold.above is not None and threshold.above < 1:
            yield f"{where}.above: found {threshold.above:g}, allowed: 1 or more, as a PUE is"
        if threshold.below is not None and threshold.below <= 1:
            yield f"{where}.below: found {threshold.below:g}, allowed: above 1, as a PUE is"
    else:
        for key, value in (("above", threshold.above), ("below", threshold.below)):
            if value is not None and value < 0 and threshold.kind not in {"headroom", "delivery"}:
                yield f"{where}.{key}: found {value:g}, allowed: 0 or more"


def _reach(where: str, threshold: Threshold, index: SiteIndex) -> Iterator[str]:
    most, unit = None, ""
    if threshold.kind == "demand":
        most, unit = _most_watts(index), "W, the peak_watts of the boundary"
    elif threshold.kind == "idle_cost":
        # Before anything is installed there is nothing to watch.
        first = min(index.register_changes, default=float("-inf"))
        if threshold.valid_from is not None:
            first = index.model.instant(threshold.valid_from)
        rate = most_per_second(index, threshold.scope, first)
        most = None if rate is None else rate * _HOUR_SECONDS
        unit = f"{index.model.currency} per hour, the most that it can cost"
    if most is not None and threshold.above is not None and threshold.above >= most:
        yield f"{where}.above: found {threshold.above:g}, allowed: below {most:.6g} {unit}"


def _most_watts(index: SiteIndex) -> float | None:
    """Return the most that the boundary can draw at any time, None where a peak is not known."""
    peaks = []
    for at_seconds in (float("-inf"), *index.dated.meter.instants):
        terms = [term for term in index.metering(at_seconds).facility if term.factor > 0]
        known = [t.meter.peak_watts * t.factor for t in terms if t.meter.peak_watts is not None]
        if len(known) < len(terms):
            return None
        peaks.append(sum(known))
    return max(peaks) or None


def _burns(index: SiteIndex) -> Iterator[str]:
    for position, budget in enumerate(index.model.budget):
        if "burn" not in budget.model_fields_set:
            # The defaults are capped where they are used; only what was written can contradict.
            continue
        most = most_burn(index, budget)
        for number, burn in enumerate(budget.burn):
            if most is not None and burn.factor > BURN_SHARE * most:
                yield (
                    f"budget.{position}.burn.{number}.factor: found {burn.factor:g}, allowed: at"
                    f" most {BURN_SHARE * most:.3g}, as the most that can be spent is {most:.3g}"
                    " times the budget"
                )
