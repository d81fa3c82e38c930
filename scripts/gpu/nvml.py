"""The NVIDIA library asked directly, for one number in bytes: nvidia-smi rounds to MiB."""
import ctypes


class NvmlError(Exception):
    """The library cannot be used, or refused."""


class Memory(ctypes.Structure):
    """nvmlMemory_v2_t: `used` leaves out what the driver keeps for itself."""
    _fields_ = [("version", ctypes.c_uint), ("total", ctypes.c_ulonglong), ("reserved", ctypes.c_ulonglong),
                ("free", ctypes.c_ulonglong), ("used", ctypes.c_ulonglong)]


class Nvml:
    """Kept open: a driver whose last client leaves may take the GPU down, and its memory with it."""

    def __init__(self, library="libnvidia-ml.so.1"):
        try:
            self.library = ctypes.CDLL(str(library))
        except OSError as error:
            raise NvmlError(str(error)) from error
        self.ask("nvmlInit_v2")

    def ask(self, name, *arguments):
        code = getattr(self.library, name)(*arguments)
        if code:
            raise NvmlError(f"{name} says {code}")

    def used(self, uuid):
        """Bytes that are in use on this GPU."""
        device = ctypes.c_void_p()
        self.ask("nvmlDeviceGetHandleByUUID", uuid.encode(), ctypes.byref(device))
        memory = Memory(version=ctypes.sizeof(Memory) | 2 << 24)
        self.ask("nvmlDeviceGetMemoryInfo_v2", device, ctypes.byref(memory))
        return memory.used

    def close(self):
        self.ask("nvmlShutdown")
