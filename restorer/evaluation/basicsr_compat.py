"""The one place that imports basicsr, and knows why 1.4.2 cannot be imported as it is, and the remedy.

It serves the measures of `restore evaluate` and nothing else: it does not build on Python 3.13 and later, so that it is
missing there, and whoever needs it says so by `require`.

- `basicsr.data.degradations` imports `torchvision.transforms.functional_tensor`, which torchvision dropped in 0.17.
- Every `basicsr/*/__init__.py` star-imports or scans its whole folder (so the line above is met by each import of
  anything), and with it lmdb, tensorboard and seconds of time.
- `basicsr.archs.arch_util` imports `distutils`, which left the standard library in Python 3.12, and
  `basicsr.metrics.niqe` imports `scipy.ndimage.filters`, a name that SciPy is about to drop.

`import_basicsr` loads one module of it with bare packages and stand-ins for the missing names in place, and takes all
of them away again: another part of the program that imports basicsr in its own way meets no trace of this.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
import threading
import warnings
from types import ModuleType

from restorer.errors import MissingPackageError

# Packages whose __init__ does nothing that a single module needs. `basicsr.utils` stays real: modules import from it.
_HOLLOW = ("basicsr", "basicsr.archs", "basicsr.data", "basicsr.losses", "basicsr.metrics", "basicsr.models")

_loaded: dict[str, ModuleType] = {}
_lock = threading.RLock()


def import_basicsr(name: str) -> ModuleType:
    """Return a module of basicsr, for instance `import_basicsr("basicsr.metrics.niqe").calculate_niqe`.

    The same module object comes back on every call with the same name.

    Args:
        name: the module's full name, beginning with `basicsr.`; a bare package such as `basicsr.archs` is refused.

    Raises:
        MissingPackageError: basicsr is not installed.
        ModuleNotFoundError: it has no module of that name.
        ValueError: the name is not that of a module below basicsr.
    """
    if not name.startswith("basicsr.") or name in _HOLLOW:
        raise ValueError(f"{name!r} is no single module of basicsr.")
    with _lock:
        if name not in _loaded:
            _loaded[name] = _import(name)
        return _loaded[name]


def require(purpose: str) -> None:
    """Say before any work that basicsr is missing, for a `purpose` such as "`restore evaluate`".

    Raises:
        MissingPackageError: basicsr is not installed.
    """
    if folders() is None:
        raise MissingPackageError(
            "basicsr",
            f"{purpose} needs basicsr, which is not installed; it cannot be built under Python 3.13 and later.",
            "Under Python 3.10, 3.11 or 3.12, type: pip install basicsr==1.4.2",
        )


def _import(name: str) -> ModuleType:
    """Import a module among bare packages and stand-ins, then restore `sys.modules` to what it was."""
    require(name)
    places = folders() or []
    before = {key: module for key, module in sys.modules.items() if _ours(key)}
    stand_ins = _stand_ins()
    try:
        for key in before:
            del sys.modules[key]
        # Modules loaded earlier by this function stay shared: basicsr's registries refuse a name registered twice.
        sys.modules.update(_shared)
        sys.modules.update({key: _hollow(key, places) for key in _HOLLOW if key not in sys.modules})
        sys.modules.update(stand_ins)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            module = importlib.import_module(name)
        _shared.update({key: value for key, value in sys.modules.items() if _ours(key)})
        return module
    finally:
        for key in [key for key in sys.modules if _ours(key)] + list(stand_ins):
            sys.modules.pop(key, None)
        sys.modules.update(before)


_shared: dict[str, ModuleType] = {}


def _ours(key: str) -> bool:
    return key == "basicsr" or key.startswith("basicsr.")


def folders() -> list[str] | None:
    """Return the folders of basicsr's package; None where it is not installed."""
    try:
        root = importlib.util.find_spec("basicsr") if "basicsr" not in sys.modules else sys.modules["basicsr"].__spec__
    except ImportError:
        return None
    return list(root.submodule_search_locations or ()) or None if root else None


def _hollow(package: str, places: list[str]) -> ModuleType:
    """Return a package that has a path, so that its modules are found, but runs no `__init__`."""
    module = ModuleType(package)
    below = package.split(".")[1:]
    module.__path__ = ["/".join([folder, *below]) for folder in places]
    module.__spec__ = importlib.util.spec_from_loader(package, loader=None, is_package=True)
    if module.__spec__ is not None:
        module.__spec__.submodule_search_locations = module.__path__
    return module


def _stand_ins() -> dict[str, ModuleType]:
    """Return the modules that basicsr imports and that are not there, each with the names that it takes from them."""
    found: dict[str, ModuleType] = {}
    if not _importable("torchvision.transforms.functional_tensor"):
        from torchvision.transforms.functional import rgb_to_grayscale  # type: ignore[import-untyped]

        found["torchvision.transforms.functional_tensor"] = _module(
            "torchvision.transforms.functional_tensor", rgb_to_grayscale=rgb_to_grayscale
        )
    if not _importable("distutils.version"):
        found["distutils"] = _module("distutils")
        found["distutils.version"] = _module("distutils.version", LooseVersion=_LooseVersion)
    if not _importable("scipy.ndimage.filters"):
        from scipy.ndimage import convolve

        found["scipy.ndimage.filters"] = _module("scipy.ndimage.filters", convolve=convolve)
    return found


def _importable(name: str) -> bool:
    try:
        return importlib.util.find_spec(name) is not None
    except ModuleNotFoundError:  # its parent is not there either
        return False


def _module(name: str, **names: object) -> ModuleType:
    module = ModuleType(name)
    module.__dict__.update(names)
    return module


class _LooseVersion:
    """The comparison of version numbers that `arch_util` makes once: is torchvision at least this new?"""

    def __init__(self, version: str) -> None:
        self.version = tuple(int(part) for part in version.split("+")[0].split(".") if part.isdigit())

    def __ge__(self, other: _LooseVersion) -> bool:
        return self.version >= other.version
