"""Formulas of the power path: what each of its stages loses."""

from collections.abc import Sequence
from math import fsum, prod
from typing import Final, NamedTuple

from meterhouse_collector.kpi.catalogue import Kpi
from meterhouse_collector.kpi.numbers import not_negative
from meterhouse_collector.kpi.value import Reasoned

MORE_OUT: Final = "more out than in: a meter is wrong, or storage discharges"


class Stage(NamedTuple):
    """What went into and came out of one stage: a transformer, a UPS, a PDU."""

    name: str
    input_joules: float
    output_joules: float


class StageLoss(NamedTuple):
    """What a stage lost, and the share it let through; without input it has no efficiency."""

    name: str
    loss_joules: float | None
    efficiency_ratio: float | None
    reason: str | None


class PathLoss(NamedTuple):
    """The stages of a power path, what they lost together, and what share reaches its end."""

    stages: tuple[StageLoss, ...]
    loss_joules: float | None
    efficiency_ratio: float | None
    reason: str | None


def stage_loss(*, input_joules: float, output_joules: float, name: str = "stage") -> StageLoss:
    """Return what a stage of the power path lost, and its efficiency: output / input.

    Raise ValueError for energy below zero (definition: a UPS between its input and its output).
    """
    not_negative(input_joules=input_joules, output_joules=output_joules)
    if output_joules > input_joules:
        return StageLoss(name, None, None, MORE_OUT)
    loss = input_joules - output_joules
    if input_joules == 0:
        return StageLoss(name, loss, None, "no energy went in")
    return StageLoss(name, loss, output_joules / input_joules, None)


def ups_efficiency(*, input_joules: float, output_joules: float) -> Reasoned:
    """Return output / input of a UPS over a window.

    Raise ValueError for energy below zero (definition: a UPS between its input and its output).
    """
    found = stage_loss(input_joules=input_joules, output_joules=output_joules)
    return Reasoned(found.efficiency_ratio, found.reason)


def power_path_losses(*, stages: Sequence[Stage]) -> PathLoss:
    """Return the losses by stage, their sum, and the product of the efficiencies.

    The product also holds where loads leave between two stages. Raise ValueError for energy below
    zero.
    """
    found = tuple(
        stage_loss(name=name, input_joules=into, output_joules=out) for name, into, out in stages
    )
    losses = [each.loss_joules for each in found if each.loss_joules is not None]
    ratios = [each.efficiency_ratio for each in found if each.efficiency_ratio is not None]
    reason = "; ".join(f"{each.name}: {each.reason}" for each in found if each.reason is not None)
    if not found:
        reason = "no stage"
    return PathLoss(
        stages=found,
        loss_joules=fsum(losses) if found and len(losses) == len(found) else None,
        efficiency_ratio=prod(ratios) if found and len(ratios) == len(found) else None,
        reason=reason or None,
    )


KPIS: Final = (
    Kpi(
        "stage_loss",
        "by name",
        "input_joules - output_joules; output_joules",
        "1; input_joules",
        "loss = in - out; efficiency = out / in",
        "definition",
    ),
    Kpi(
        "power_path_losses",
        "by name",
        "sum of losses; product of output_joules",
        "1; product of input_joules",
        "loss = sum of (in - out); efficiency = product of (out / in)",
        "definition",
    ),
)
