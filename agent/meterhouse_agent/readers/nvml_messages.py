"""What the NVML child tells of a device, in the driver's own units: conversion is the parent's."""

from typing import Literal

from msgspec import Struct


class Options(Struct, kw_only=True):
    """How the child reads; seconds."""

    processes_every: float
    lost_retry_every: float


class Identity(Struct, omit_defaults=True, kw_only=True):
    """Who a device is; ``power_limit_milliwatts`` is the highest that can be set."""

    uuid: str
    name: str
    serial: str = ""
    memory_total_bytes: int | None = None
    power_limit_milliwatts: int | None = None
    capabilities: list[str] = []


class MigDevice(Struct, omit_defaults=True, kw_only=True):
    """One MIG device; ``sm_activity_percent`` is of the whole GPU ``instance``."""

    slices: int
    instance: int | None = None
    held: bool | None = None
    memory_used_bytes: int | None = None
    sm_activity_percent: float | None = None


class MigDevices(Struct, omit_defaults=True, kw_only=True):
    """A GPU in MIG mode: its compute slices (0: not known), and the MIG devices made of them."""

    slices: int
    complete: bool = True
    parts: list[MigDevice] = []


class Reading(Struct, omit_defaults=True, kw_only=True):
    """What one device showed; ``at_milliseconds`` (UTC) is when its energy counter was read.

    In MIG mode it has ``mig`` instead of ``held``, its utilization and its activities.
    ``xids`` are the driver's fault codes since the reading before, oldest first; ``notes`` are
    texts for the log, each given once.
    """

    at_milliseconds: int
    health: Literal["ok", "lost", "failed"] = "ok"
    health_reason: str = ""
    held: bool | None = None
    energy_millijoules: int | None = None
    power_milliwatts: int | None = None
    utilization_percent: int | None = None
    sm_activity_percent: float | None = None
    tensor_activity_percent: float | None = None
    memory_used_bytes: int | None = None
    temperature_celsius: int | None = None
    memory_temperature_celsius: int | None = None
    sm_clock_megahertz: int | None = None
    throttle_reasons: int | None = None
    ecc_corrected_errors: int | None = None
    ecc_uncorrected_errors: int | None = None
    mig: MigDevices | None = None
    xids: list[int] = []
    notes: list[str] = []
