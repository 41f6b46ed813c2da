"""What harms it: `python -m restorer.bench survive` tries bad pictures, bad weights, bad luck and bad company.

Every part tries its cases in processes with limits of time and memory, and counts how each ended. A loss is what must
never be: a crash, a hang, memory beyond the bound, a traceback, a wrong success, a file that is lost or changed. The
figures of several runs add up (`--add`), since each seed tries other cases.
"""

from restorer.bench.survive.campaign import main

__all__ = ["main"]
