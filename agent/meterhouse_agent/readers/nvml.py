"""The NVML child: ``python -m meterhouse_agent.readers.nvml OPTIONS`` with its options as JSON."""

import sys
from collections.abc import Sequence
from typing import Final

import msgspec

from meterhouse_agent.readers.nvml_messages import Options
from meterhouse_agent.readers.serve import AbsentError, Device, LibraryError, serve

_OLD_BINDING: Final = (
    "the Python module pynvml is not NVIDIA's: remove the deprecated package of that name "
    "(pip uninstall pynvml) and reinstall nvidia-ml-py (pip install --force-reinstall nvidia-ml-py)"
)
_NO_LIBRARY: Final = (
    "libnvidia-ml.so.1 cannot be loaded: install the NVIDIA driver (in a container: start it with "
    "the NVIDIA runtime), or remove the nvml source from the config"
)
_NO_DRIVER: Final = (
    "the NVIDIA kernel driver is not loaded: load it (modprobe nvidia), or remove the nvml source "
    "from the config"
)
_NO_GPU: Final = (
    "the NVIDIA driver finds no GPU: check lspci and dmesg, or remove the nvml source from the "
    "config"
)


class NvmlLibrary:
    """NVIDIA's management library."""

    def __init__(self, options: Options) -> None:
        self._options = options

    def open(self) -> Sequence[Device]:
        """Load the library and count its devices; each names itself when it is first read."""
        # Imported here: whatever stands under that name, its failure must become a message.
        try:
            import pynvml  # noqa: PLC0415
        except ImportError as error:
            raise LibraryError(f"{error}: pip install nvidia-ml-py") from error
        if not hasattr(pynvml, "nvmlMemory_v2") or hasattr(pynvml, "__path__"):
            raise LibraryError(_OLD_BINDING)
        from meterhouse_agent.readers.nvml_device import NvmlDevice  # noqa: PLC0415
        from meterhouse_agent.readers.nvml_events import Events  # noqa: PLC0415

        try:
            pynvml.nvmlInit()
            count = pynvml.nvmlDeviceGetCount()
        except pynvml.NVMLError as error:
            if error.value == pynvml.NVML_ERROR_LIBRARY_NOT_FOUND:
                raise AbsentError(_NO_LIBRARY) from error
            if error.value == pynvml.NVML_ERROR_DRIVER_NOT_LOADED:
                raise AbsentError(_NO_DRIVER) from error
            raise LibraryError(f"nvmlInit: {error} (error {error.value})") from error
        if count == 0:
            raise AbsentError(_NO_GPU)
        events = Events(self._options.lost_retry_every)
        return [NvmlDevice(index, self._options, events) for index in range(count)]

    def close(self) -> None:
        """Shut the library down."""
        import pynvml  # noqa: PLC0415

        pynvml.nvmlShutdown()


if __name__ == "__main__":
    serve(NvmlLibrary(msgspec.json.decode(sys.argv[1], type=Options)))
