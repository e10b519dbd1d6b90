"""How processes reuse memory: garbage collection, and buffers that were freed."""

import ctypes
import gc

# Objects that survive the youngest generation belong to a batch or a request in progress.
YOUNG_OBJECTS_MAX = 50_000
GC_THRESHOLDS = (20, 100)
# glibc's mallopt(3).
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3


def freeze_startup_objects(young_objects_max: int = YOUNG_OBJECTS_MAX) -> None:
    """Exempt existing objects from garbage collection, and collect once ``young_objects_max`` others were created.

    Modules, routes and settings live as long as the process; traversing them in each collection costs a third of the
    throughput.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(young_objects_max, *GC_THRESHOLDS)


def keep_freed_memory(buffer_bytes_max: int, free_bytes_max: int) -> None:
    """Let the C library reuse freed buffers of up to ``buffer_bytes_max``, and keep ``free_bytes_max`` free at most.

    By default it returns large buffers to the system; the page faults of the next ones cost more than filling them.
    C libraries without ``mallopt`` are left as they are.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(M_MMAP_THRESHOLD, buffer_bytes_max)
        mallopt(M_TRIM_THRESHOLD, free_bytes_max)
