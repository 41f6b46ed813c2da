"""How the command's process ends."""

from __future__ import annotations

import atexit
import ctypes
import os
import sys
import threading
from typing import NoReturn


def leave(end: SystemExit) -> NoReturn:
    """End the process as Python would, but for taking its modules apart one by one, where torch's are among them.

    Threads are waited for, what was registered for the end is done, and what was written goes out, before the system
    takes the rest back. Who watches the program (a profiler, a tracer, an interactive Python) sees it end as usual.

    Args:
        end: with the exit code.

    Raises:
        SystemExit: it is not known how to do that here, or not worth it.
    """
    code = 0 if end.code is None else end.code
    wait, finish = getattr(threading, "_shutdown", None), getattr(atexit, "_run_exitfuncs", None)
    watched = sys.gettrace() or sys.getprofile() or sys.flags.interactive or sys.flags.inspect
    if "torch" not in sys.modules or not isinstance(code, int) or watched or wait is None or finish is None:
        raise end
    try:
        wait()
        finish()
        for stream in (sys.stdout, sys.stderr):
            if stream is not None and not stream.closed:
                stream.flush()
        if os.name == "posix":
            ctypes.CDLL(None).fflush(None)  # what libraries in C have written
    except (OSError, ValueError):  # a reader that has gone, for one: Python says and does what is to be done then
        raise end from None
    os._exit(code & 0xFF)
