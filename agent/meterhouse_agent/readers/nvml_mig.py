"""The MIG devices of one GPU: which there are, who holds them, and whether they compute."""

import time
from collections.abc import Callable
from typing import Any, Final

import pynvml

from meterhouse_agent.readers import nvml_calls as calls
from meterhouse_agent.readers.nvml_calls import Activity, Handle, Metric, Refused
from meterhouse_agent.readers.nvml_messages import MigDevice, MigDevices, Options

# Far above the seven that there are: a number beyond it is none.
_MOST: Final = 64
# What the handle of a MIG device says of its GPU, the GPU's own says first in the next reading.
_OF_THE_GPU: Final = frozenset({pynvml.NVML_ERROR_GPU_IS_LOST, pynvml.NVML_ERROR_RESET_REQUIRED})


class _Instance:
    """One GPU instance: its MIG devices share what is told of activity."""

    def __init__(self, handle: Handle, number: int, uuids: list[str], refused: Refused) -> None:
        self.uuids = uuids
        self.percent: float | None = None

        def sample(gpu: Handle, buffer: Any) -> None:  # noqa: ANN401 - untyped binding
            pynvml.nvmlGpmMigSampleGet(gpu, number, buffer)

        self._activity = Activity(handle, refused, sample)

    def read(self, handle: Handle) -> None:
        if not self._activity.is_too_soon:
            self.percent, _ = self._activity.read(handle)

    def close(self) -> None:
        self._activity.close()


class Mig:
    """How one GPU is partitioned; outside MIG mode it calls nothing once it was asked.

    Which MIG devices there are and who holds them is looked at every ``processes_every``, for their
    handles mean nothing any more once they are made anew, and at once where a call failed.
    """

    def __init__(self, options: Options, refused: Refused) -> None:
        self._every = options.processes_every
        self._refused = refused
        self._mode = Metric("MIG mode", refused, pynvml.nvmlDeviceGetMigMode)
        self._most = Metric("MIG devices", refused, pynvml.nvmlDeviceGetMaxMigDeviceCount)
        self._until = float("-inf")
        self._hurried = False
        self._found = MigDevices(slices=0)
        self._instances: dict[int, _Instance] = {}
        self.is_known = False
        self.is_on = False

    def look(self, handle: Handle) -> None:
        """Ask whether the GPU is in MIG mode; where that fails for now, it stays as it was."""
        mode = self._mode.read(handle)
        if mode is not None or not self._mode.is_there:
            self.is_known = True
            self.is_on = mode is not None and mode[0] == pynvml.NVML_DEVICE_MIG_ENABLE

    def forget(self) -> None:
        """Begin again: the GPU was away, and comes back under another handle."""
        self.is_known = False
        self._until = float("-inf")
        self._keep({})

    def read(self, handle: Handle) -> MigDevices | None:
        """Return the MIG devices as they are now, ``None`` where MIG mode is over."""
        now = time.monotonic()
        failures = len(self._refused.failures)
        if now >= self._until:
            self._until = now + self._every
            self.look(handle)
            if not self.is_on:
                self._keep({})
                return None
            self._enumerate(handle)
        for instance in self._instances.values():
            instance.read(handle)
        has_failed = len(self._refused.failures) > failures
        if has_failed and not self._hurried:
            # One may be gone. Once: what fails again with those that are there stays so.
            self._until = float("-inf")
        self._hurried = has_failed
        for part in self._found.parts:
            told = None if part.instance is None else self._instances.get(part.instance)
            part.sm_activity_percent = None if told is None else told.percent
        return self._found

    def _enumerate(self, handle: Handle) -> None:
        count = self._most.read(handle)
        # The smallest MIG device has one compute slice, so the GPU has as many as it can have MIG
        # devices at most: 7 of an A100 or H100, 4 of an A30.
        self._found = found = MigDevices(slices=0 if count is None else int(count))
        uuids: dict[int, list[str]] = {}
        for index in range(min(found.slices, _MOST)):
            try:
                part = pynvml.nvmlDeviceGetMigDeviceHandleByIndex(handle, index)
            except pynvml.NVMLError as error:
                if error.value != pynvml.NVML_ERROR_NOT_FOUND:
                    self._refused.take(f"MIG device {index}", error.value)
                    found.complete = False
                continue
            device = self._device(part)
            if device is None:
                found.complete = False
                continue
            found.parts.append(device)
            if device.instance is not None:
                uuid = self._of_part("UUID", pynvml.nvmlDeviceGetUUID, part)
                uuids.setdefault(device.instance, []).append(uuid or "")
        self._keep(
            {
                number: self._instance(handle, number, members)
                for number, members in sorted(uuids.items())
            }
        )

    def _device(self, part: Handle) -> MigDevice | None:
        attributes = self._of_part("attributes", pynvml.nvmlDeviceGetAttributes_v2, part)
        if attributes is None:
            return None
        processes = self._of_part("process list", calls.processes_v3, part)
        memory = None
        if processes is None:
            memory = self._of_part("memory", calls.memory_v2, part)
        return MigDevice(
            slices=int(attributes.computeInstanceSliceCount),
            instance=self._of_part("GPU instance", pynvml.nvmlDeviceGetGpuInstanceId, part),
            held=None if processes is None else any(map(calls.holds, processes)),
            memory_used_bytes=None if memory is None else int(memory.used),
        )

    def _instance(self, handle: Handle, number: int, uuids: list[str]) -> _Instance:
        known = self._instances.get(number)
        # Made anew under the same number it counts from its own beginning.
        if known is not None and known.uuids == uuids:
            return known
        return _Instance(handle, number, uuids, self._refused)

    def _keep(self, instances: dict[int, _Instance]) -> None:
        kept = set(map(id, instances.values()))
        for instance in self._instances.values():
            if id(instance) not in kept:
                instance.close()
        self._instances = instances

    def _of_part(self, name: str, call: Callable[[Handle], Any], part: Handle) -> Any:  # noqa: ANN401 - untyped binding
        """Ask a MIG device: what it does not answer is missing of it alone."""
        try:
            return call(part)
        except pynvml.NVMLError as error:
            if error.value not in _OF_THE_GPU:
                self._refused.take(f"{name} of a MIG device", error.value)
            return None
