"""The C library's allocator, set for training on a CPU."""

from __future__ import annotations

import ctypes
import logging
import sys

logger = logging.getLogger(__name__)

_TRIM_THRESHOLD, _TOP_PAD, _MMAP_THRESHOLD = -1, -2, -3  # mallopt's parameters, <malloc.h>
_MIB = 1 << 20


def keep_freed_memory() -> bool:
    """Makes glibc keep freed blocks for reuse instead of handing them back to the kernel.

    Every step frees and asks again for the same tens of MiB; by default glibc returns them to the kernel each time, and half
    of the processor time of a training run on two cores was the kernel's, mapping pages. The process keeps the memory of its
    largest step.

    Returns:
        Whether it was set: False where the C library isn't glibc.
    """
    if not sys.platform.startswith("linux"):
        return False
    try:
        mallopt = ctypes.CDLL("libc.so.6").mallopt
    except (OSError, AttributeError):
        logger.info("no glibc here: its allocator stays as it is")
        return False
    # 32 MiB is the largest threshold that glibc takes.
    options = ((_MMAP_THRESHOLD, 32 * _MIB), (_TRIM_THRESHOLD, 2047 * _MIB), (_TOP_PAD, 256 * _MIB))
    return all([mallopt(option, value) == 1 for option, value in options])
