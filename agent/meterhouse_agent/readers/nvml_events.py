"""The fault codes (XID) that the driver tells of: one set of events for all devices."""

import contextlib
import ctypes
import threading
import time
from typing import Any, Final

import pynvml

from meterhouse_agent.readers import nvml_calls as calls
from meterhouse_agent.readers.nvml_calls import Handle

# So many are taken at once, and so many wait for a device that is not read: the rest waits in the
# driver, which keeps the newest itself.
MOST: Final = 32


class Events:
    """What the devices of one library are told to have failed with, until each takes its own.

    Whoever is read first in a round asks for all. A call that fails or hangs costs these codes
    alone: nobody waits for another's turn. What happens before a device is watched is lost.
    """

    def __init__(self, retry_seconds: float) -> None:
        self._retry_seconds = retry_seconds
        self._turn = threading.Lock()
        self._set: Any = None
        self._data = pynvml.c_nvmlEventData_t()
        self._built_at = float("-inf")
        self._not_before = float("-inf")
        self._gone = False
        self._stale = False
        # By the UUID of the devices that were asked, the address of their handle in this set.
        self._watched: dict[str, int | None] = {}
        self._harmful: set[str] = set()
        self._round: set[str] = set()
        self._codes: dict[str, list[int]] = {}
        self._notes: list[str] = []
        self._noted: set[str] = set()

    def take(self, uuid: str, handle: Handle | None) -> list[int]:
        """Return a device's codes since the last time, oldest first; without a handle it is lost.

        Never raises.
        """
        if not self._gone and self._turn.acquire(blocking=False):
            try:
                self._look(uuid, handle)
            except Exception as error:  # noqa: BLE001 - whatever it is, all else is still read
                self._gone = True
                self._note(f"XID events are not read any more: {type(error).__name__}: {error}")
            finally:
                self._turn.release()
        return self._codes.pop(uuid, [])

    def take_notes(self) -> list[str]:
        """Return the notes for the log that were not returned before."""
        notes, self._notes = self._notes, []
        return notes

    def begin_again(self) -> None:
        """Have every device watched anew: one of them is back, under another handle."""
        self._stale = True

    def _look(self, uuid: str, handle: Handle | None) -> None:
        begins = uuid in self._round
        if begins:
            self._round.clear()
        self._round.add(uuid)
        if begins or self._stale:
            self._drain()
        if self._stale:
            self._stale = False
            self._let_go()
        if handle is not None and uuid not in self._watched:
            self._watch(uuid, handle)

    def _watch(self, uuid: str, handle: Handle) -> None:
        if uuid in self._harmful or (self._set is None and time.monotonic() < self._not_before):
            return
        self._watched[uuid] = None
        try:
            types = pynvml.nvmlDeviceGetSupportedEventTypes(handle)
            if not types & pynvml.nvmlEventTypeXidCriticalError:
                return
            if self._set is None:
                self._set = pynvml.nvmlEventSetCreate()
                self._built_at = time.monotonic()
            pynvml.nvmlDeviceRegisterEvents(handle, pynvml.nvmlEventTypeXidCriticalError, self._set)
            self._watched[uuid] = _address(handle)
        except pynvml.NVMLError as error:
            self._take_failure(uuid, error.value)

    def _take_failure(self, uuid: str, code: int) -> None:
        if code == pynvml.NVML_ERROR_FUNCTION_NOT_FOUND:
            self._gone = True
        elif code == pynvml.NVML_ERROR_GPU_IS_LOST:
            # To be asked again when it is found again.
            del self._watched[uuid]
        elif code == pynvml.NVML_ERROR_UNKNOWN:
            # It leaves the set in no known state (nvml.h), for the others as well.
            self._harmful.add(uuid)
            self._let_go()
        if code != pynvml.NVML_ERROR_NOT_SUPPORTED and not self._gone:
            self._note(f"XID events: {pynvml.NVMLError(code)}")

    def _drain(self) -> None:
        if self._set is None:
            return
        found: dict[str, list[int]] = {}
        try:
            wait = calls.function("nvmlEventSetWait_v2")
        except pynvml.NVMLError:
            self._gone = True
            return
        for _ in range(MOST):
            code = wait(self._set, ctypes.byref(self._data), 0)
            if code != pynvml.NVML_SUCCESS:
                break
            if self._data.eventType & pynvml.nvmlEventTypeXidCriticalError:
                uuid = self._whose(int(self._data.eventData))
                found.setdefault(uuid, []).append(int(self._data.eventData))
        else:
            code = pynvml.NVML_ERROR_TIMEOUT
        found.pop("", None)
        for uuid, codes in found.items():
            self._codes[uuid] = [*self._codes.pop(uuid, []), *codes][-MOST:]
        if code != pynvml.NVML_ERROR_TIMEOUT:
            self._note(f"XID events: {pynvml.NVMLError(code)}")
            self._let_go()
            # At once for the first time in a while; a set that fails again and again is left.
            self._not_before = self._built_at + self._retry_seconds

    def _whose(self, xid: int) -> str:
        """Return the UUID of the device of an event, nothing where it is none that is read."""
        address = _address(self._data.device)
        for uuid, known in self._watched.items():
            if known is not None and known == address:
                return uuid
        with contextlib.suppress(pynvml.NVMLError):
            uuid = pynvml.nvmlDeviceGetUUID(self._data.device)
            if uuid in self._watched:
                return str(uuid)
        self._note(f"XID {xid} of a GPU that is not among those read")
        return ""

    def _let_go(self) -> None:
        event_set, self._set = self._set, None
        self._watched.clear()
        if event_set is not None:
            with contextlib.suppress(pynvml.NVMLError):
                pynvml.nvmlEventSetFree(event_set)

    def _note(self, text: str) -> None:
        if text not in self._noted and len(self._noted) < MOST:
            self._noted.add(text)
            self._notes.append(text)


def _address(handle: Handle) -> int | None:
    return ctypes.cast(handle, ctypes.c_void_p).value
