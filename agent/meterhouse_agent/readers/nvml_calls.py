"""Single calls to NVML, each remembering what its device or driver does not support."""

import contextlib
import ctypes
import math
import struct
import time
from collections.abc import Callable
from typing import Any, Final

import pynvml

from meterhouse_agent.readers.serve import LibraryError

# Field ids of nvml.h; those that nvidia-ml-py has no name for in older releases stand here too.
ECC_UNCORRECTED_VOLATILE: Final = 4
ECC_CORRECTED: Final = 5
ECC_UNCORRECTED: Final = 6
MEMORY_TEMPERATURE: Final = 82
ENERGY: Final = 83
REMAP_PENDING: Final = 144
REMAP_FAILURE: Final = 145
POWER_AVERAGE: Final = 185
POWER_INSTANT: Final = 186
RECOVERY_ACTION: Final = 230

_GPM_VERSION: Final = 1
_GPM_SM_UTIL: Final = 2
_GPM_ANY_TENSOR: Final = 5
# NVML asks for more than 100 ms between two samples.
_GPM_LEAST_SECONDS: Final = 0.12

# These do not change while the driver is loaded, so they are not asked for again.
_NEVER: Final = frozenset(
    {
        pynvml.NVML_ERROR_NOT_SUPPORTED,
        pynvml.NVML_ERROR_NO_PERMISSION,
        pynvml.NVML_ERROR_FUNCTION_NOT_FOUND,
        pynvml.NVML_ERROR_ARGUMENT_VERSION_MISMATCH,
    }
)
_LIBRARY_LOST: Final = frozenset(
    {
        pynvml.NVML_ERROR_UNINITIALIZED,
        pynvml.NVML_ERROR_DRIVER_NOT_LOADED,
        pynvml.NVML_ERROR_LIB_RM_VERSION_MISMATCH,
    }
)
# nvmlFieldValue_t: id, scope, time, latency, type of the value, result, value.
_FIELD: Final = struct.Struct("@IIqqII8s")
# nvmlValueType_t: how each type of value is laid out.
_UNPACK: Final = {
    kind: struct.Struct(f"@{layout}").unpack_from for kind, layout in enumerate("dILQqi")
}

Handle = Any
Number = int | float
# The binding's structures look at each value for text; half the time of a reading went into that.
_plain: Final = object.__getattribute__


def function(name: str) -> Any:  # noqa: ANN401 - of the library, which has no types
    """Return a function of the library; raise ``NVMLError`` where the driver is too old for it."""
    try:
        return getattr(pynvml.nvmlLib, name)
    except AttributeError:
        raise pynvml.NVMLError(pynvml.NVML_ERROR_FUNCTION_NOT_FOUND) from None


def call(of: Any, *arguments: Any) -> None:  # noqa: ANN401 - of the library, which has no types
    """Call a function of the library; raise ``NVMLError`` where it returns one."""
    code = of(*arguments)
    if code != pynvml.NVML_SUCCESS:
        raise pynvml.NVMLError(code)


class GpuLostError(Exception):
    """The driver no longer reaches the GPU."""


class GpuFailedError(Exception):
    """The GPU needs a reset; the text is the driver's."""


class Refused:
    """What was refused on one device: how often in this round, and once each for the log."""

    def __init__(self) -> None:
        self.failures: list[str] = []
        self.notes: list[str] = []
        self._noted: set[str] = set()

    def take(self, name: str, code: int) -> bool:
        """Take note of an error code; tell whether the call is never to be made again."""
        text = f"{name}: {pynvml.NVMLError(code)}"
        if code == pynvml.NVML_ERROR_GPU_IS_LOST:
            raise GpuLostError(text)
        if code == pynvml.NVML_ERROR_RESET_REQUIRED:
            raise GpuFailedError(text)
        if code in _LIBRARY_LOST:
            raise LibraryError(f"NVML {text}")
        if code == pynvml.NVML_ERROR_NO_PERMISSION and name not in self._noted:
            self._noted.add(name)
            self.notes.append(
                f"{name}: no permission; run the agent as root, or grant it CAP_SYS_ADMIN"
            )
        if code not in _NEVER:
            self.failures.append(text)
        return code in _NEVER

    def take_notes(self) -> list[str]:
        """Return the notes that were not returned before."""
        notes, self.notes = self.notes, []
        return notes


class Metric:
    """One metric of one device: the calls that may give it, each until it is known not to."""

    def __init__(self, name: str, refused: Refused, *calls: Callable[[Handle], Any]) -> None:
        self._name = name
        self._refused = refused
        self._calls = list(calls)

    @property
    def is_there(self) -> bool:
        """Whether any of its calls is still to be made."""
        return bool(self._calls)

    def read(self, handle: Handle) -> Any:  # noqa: ANN401 - the binding has no types
        """Return the metric, or None where it was not to be had."""
        while self._calls:
            try:
                return self._calls[0](handle)
            except pynvml.NVMLError as error:
                if not self._refused.take(self._name, error.value):
                    return None
                del self._calls[0]
        return None


class Fields:
    """Many values in one call, without those that this device turned out not to have."""

    def __init__(self, refused: Refused, *ids: int) -> None:
        self._refused = refused
        self._ids = list(ids)
        self._batch = Metric("field values", refused, self._ask)
        self._request = b""
        self._values: Any = None

    def read(self, handle: Handle) -> dict[int, Number]:
        """Return the values by field id; what could not be read is not in it."""
        found: dict[int, Number] = {}
        answer: bytes = (self._batch.read(handle) if self._ids else None) or b""
        for field, _, _, _, kind, code, value in _FIELD.iter_unpack(answer):
            if code == pynvml.NVML_SUCCESS:
                unpack = _UNPACK.get(kind)
                if unpack is not None:
                    (found[field],) = unpack(value)
            elif code == pynvml.NVML_ERROR_INVALID_ARGUMENT:
                # So an older driver answers to a field it does not know.
                self.drop(field)
            elif self._refused.take(f"field {field}", code):
                self.drop(field)
        return found

    def _ask(self, handle: Handle) -> bytes:
        """Fill one array in; the binding makes a new one each time, and an object of each value."""
        if len(self._request) != len(self._ids) * _FIELD.size:
            self._request = b"".join(_FIELD.pack(each, 0, 0, 0, 0, 0, b"") for each in self._ids)
            self._values = ctypes.create_string_buffer(len(self._request))
        self._values[:] = self._request
        call(function("nvmlDeviceGetFieldValues"), handle, len(self._ids), self._values)
        return bytes(self._values)

    def drop(self, field: int) -> None:
        """Do not ask for a field again."""
        if field in self._ids:
            self._ids.remove(field)


class Activity:
    """SM and tensor activity of one device from GPM, between its last two samples.

    ``sample`` fills a buffer, where it is not the whole device that is sampled.
    """

    def __init__(
        self, handle: Handle, refused: Refused, sample: Callable[[Handle, Any], Any] | None = None
    ) -> None:
        self._fill = pynvml.nvmlGpmSampleGet if sample is None else sample
        support = Metric("activity (GPM)", refused, _gpm_buffers)
        self._sample = Metric("activity (GPM)", refused, self._take)
        self._compare = Metric("activity (GPM)", refused, self._between)
        self._taken: float | None = None
        buffers = support.read(handle)
        self.supported = buffers is not None
        if buffers is not None:
            self._request, self._older, self._newer = buffers
            self._metrics = self._request.metrics[0], self._request.metrics[1]

    @property
    def is_too_soon(self) -> bool:
        """Whether the sample before is so fresh that none may be taken yet."""
        return self._taken is not None and time.monotonic() - self._taken < _GPM_LEAST_SECONDS

    def read(self, handle: Handle) -> tuple[float | None, float | None]:
        """Return SM and tensor activity in percent since the last read; None for the first."""
        if not self.supported or self.is_too_soon:
            return None, None
        now = time.monotonic()
        if self._sample.read(handle) is None:
            self._taken = None
            return None, None
        first, self._taken = self._taken is None, now
        found = None if first else self._compare.read(handle)
        self._older, self._newer = self._newer, self._older
        return (None, None) if found is None else found

    def close(self) -> None:
        """Give its buffers back; nothing can be read any more."""
        if self.supported:
            self.supported = False
            with contextlib.suppress(pynvml.NVMLError):
                pynvml.nvmlGpmSampleFree(self._older)
            with contextlib.suppress(pynvml.NVMLError):
                pynvml.nvmlGpmSampleFree(self._newer)

    def _take(self, handle: Handle) -> bool:
        self._fill(handle, self._newer)
        return True

    def _between(self, _handle: Handle) -> tuple[float | None, float | None]:
        request = self._request
        request.sample1, request.sample2 = self._older, self._newer
        pynvml.nvmlGpmMetricsGet(request)
        sm, tensor = self._metrics
        return _percent(sm), _percent(tensor)


def _gpm_buffers(handle: Handle) -> tuple[Any, Any, Any] | None:
    if not pynvml.nvmlGpmQueryDeviceSupport(handle).isSupportedDevice:
        return None
    request = pynvml.c_nvmlGpmMetricsGet_t()
    request.version, request.numMetrics = _GPM_VERSION, 2
    request.metrics[0].metricId, request.metrics[1].metricId = _GPM_SM_UTIL, _GPM_ANY_TENSOR
    return request, pynvml.nvmlGpmSampleAlloc(), pynvml.nvmlGpmSampleAlloc()


def _percent(metric: Any) -> float | None:  # noqa: ANN401 - the binding has no types
    if int(_plain(metric, "nvmlReturn")) != pynvml.NVML_SUCCESS:
        return None
    value = float(_plain(metric, "value"))
    # JSON has no NaN; a negative share is junk as well, and so gets counted as junk.
    return value if math.isfinite(value) else -1.0


def memory_v2(handle: Handle) -> Any:  # noqa: ANN401 - untyped binding
    """Return the memory of a device or MIG device, what is reserved apart."""
    return pynvml.nvmlDeviceGetMemoryInfo(handle, version=pynvml.nvmlMemory_v2)


def processes_v3(handle: Handle) -> Any:  # noqa: ANN401 - untyped binding
    """Return the compute processes of a device or MIG device."""
    try:
        return pynvml.nvmlDeviceGetComputeRunningProcesses_v3(handle)
    except pynvml.NVMLError_InsufficientSize:
        # Processes started between the call for their number and the call for their list.
        return pynvml.nvmlDeviceGetComputeRunningProcesses_v3(handle)


def processes_v2(handle: Handle) -> Any:  # noqa: ANN401 - untyped binding
    """Return the compute processes of a device, of a driver that does not know the third form."""
    return pynvml.nvmlDeviceGetComputeRunningProcesses_v2(handle)


def holds(process: Any) -> bool:  # noqa: ANN401 - untyped binding
    """Tell whether a process holds memory: one whose share the driver does not know does."""
    return process.usedGpuMemory is None or process.usedGpuMemory > 0
