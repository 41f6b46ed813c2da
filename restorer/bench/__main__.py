"""`python -m restorer.bench NAME [ARGUMENTS]`: runs the measurement in the module of that name."""

from __future__ import annotations

import importlib
import pkgutil
import sys

import restorer.bench


def main(arguments: list[str]) -> int:
    """Run one measurement and return its exit code; without a known name, say which there are and return 2."""
    own = ("__main__", "tools")
    names = [module.name for module in pkgutil.iter_modules(restorer.bench.__path__) if module.name not in own]
    if not arguments or arguments[0] not in names:
        print(f"usage: python -m restorer.bench {{{','.join(names)}}} [--help]", file=sys.stderr)
        return 2
    module = importlib.import_module(f"restorer.bench.{arguments[0]}")
    code: int = module.main(arguments[1:])
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
