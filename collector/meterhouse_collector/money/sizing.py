"""How many servers a peak of requests needs, and what they cost in a year."""

from decimal import ROUND_CEILING, Decimal
from typing import Final, NamedTuple

from meterhouse_collector.kpi.catalogue import Kpi
from meterhouse_collector.money.exact import Number, amount, positive, precise


class Sizing(NamedTuple):
    """What a peak of requests needs; instances and servers are whole."""

    peak_requests_per_seconds: Decimal
    instances_count: int
    peak_devices: int
    servers_count: int


@precise
def serving_size(
    *,
    day_requests: Number,
    peak_hour_ratio: Number,
    instance_requests_per_seconds: Number,
    instance_devices: int,
    server_devices: int,
) -> Sizing:
    """Return instances, devices and servers for the peak hour of a day.

    ``peak_hour_ratio`` is the share of a day's requests that come in its busiest hour. Source:
    NVIDIA, Benchmarking LLM Inference Costs. Vector NVIDIA-TCO.
    """
    requests = amount("day_requests", day_requests)
    peak = requests * amount("peak_hour_ratio", peak_hour_ratio) / 3600
    rate = positive("instance_requests_per_seconds", instance_requests_per_seconds)
    instances = int((peak / rate).to_integral_value(rounding=ROUND_CEILING))
    devices = instances * int(positive("instance_devices", instance_devices))
    per_server = int(positive("server_devices", server_devices))
    return Sizing(peak, instances, devices, -(-devices // per_server))


@precise
def server_year_money(
    *,
    servers_count: int,
    price_money: Number,
    life_years: Number,
    hosting_year_money: Number,
    licence_year_money: Number,
) -> Decimal:
    """Return what servers cost in a year: price / life + hosting + licence, for each server.

    Source: NVIDIA, Benchmarking LLM Inference Costs. Vector NVIDIA-TCO.
    """
    one = amount("price_money", price_money) / positive("life_years", life_years)
    one += amount("hosting_year_money", hosting_year_money)
    one += amount("licence_year_money", licence_year_money)
    return amount("servers_count", servers_count) * one


KPIS: Final = (
    Kpi(
        "serving_size",
        "by name",
        "day_requests * peak_hour_ratio / 3600",
        "instance_requests_per_seconds",
        "instances, devices and servers for the busiest hour",
        "NVIDIA, Benchmarking LLM Inference Costs",
    ),
    Kpi(
        "server_year_money",
        "currency per year",
        "servers_count * (price_money / life_years + hosting + licence)",
        "1",
        "what servers cost in a year",
        "NVIDIA, Benchmarking LLM Inference Costs",
    ),
)
