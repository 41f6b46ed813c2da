"""Are the packages here that a restoration needs, in versions that work together?"""

from __future__ import annotations

import importlib
import importlib.util
import platform
import sys
from collections.abc import Iterator

from restorer.cli.diagnosis.base import Check, Examination, first_line, installed
from restorer.formatting import install_line
from restorer.version import __version__

PACKAGES = {
    "numpy": "numpy",
    "pillow": "PIL",
    "torch": "torch",
    "torchvision": "torchvision",
    "opencv-python": "cv2",
    "pi-heif": "pi_heif",
    "huggingface_hub": "huggingface_hub",
    "safetensors": "safetensors",
    "typer": "typer",
    "rich": "rich",
    "jinja2": "jinja2",
    "filelock": "filelock",
    "platformdirs": "platformdirs",
}
"""Distributions that are needed, and the module of each that is imported. facexlib and basicsr have their own check."""

LEAST_OPENCV = 5


class Packages(Examination):
    """Imports each package, and asks for its version."""

    group = "Versions"

    def look(self) -> Iterator[Check]:
        """Yield Python, each package, and what is known not to fit together."""
        python = platform.python_version()
        where = f"restorer {__version__}, Python {python}, {platform.system()} {platform.machine()}"
        facts = {
            "restorer": __version__,
            "python": python,
            "platform": platform.platform(),
            "executable": sys.executable,
        }
        yield self.found("python", "ok", where, facts=facts)
        for name, module in PACKAGES.items():
            yield self.package(name, module)
        yield from self.several_opencvs()
        if importlib.util.find_spec("pillow_heif") is None:
            detail = "not installed: HEIC pictures are read, and their results are JPEG"
            yield self.found("pillow-heif", "note", detail, f"To write HEIC, type: {install_line('pillow-heif')}")
        else:
            yield self.package("pillow-heif", "pillow_heif")
        yield from self.compatibility()

    def package(self, name: str, module: str) -> Check:
        """Import a package and say its version."""
        try:
            loaded = importlib.import_module(module)
        except ModuleNotFoundError as error:
            missing = name if error.name == module else f"{name}, or {error.name} that it needs,"
            return self.found(
                name, "broken", f"{missing} is not installed", f"Type: {install_line(error.name or name)}"
            )
        except Exception as error:  # noqa: BLE001 - a broken installation may raise anything; it is the finding
            reason = first_line(error)
            return self.found(name, "broken", f"cannot be imported: {reason}", _import_remedy(name, reason))
        version = str(getattr(loaded, "__version__", None) or installed(name) or "?")
        facts = {"version": version, "file": getattr(loaded, "__file__", None)}
        if name == "opencv-python" and int(version.split(".")[0]) < LEAST_OPENCV:
            return self.found(
                name,
                "broken",
                f"{version}: versions before {LEAST_OPENCV} round positions to 1/32 pixel, which shifts faces",
                f'Type: pip install --upgrade "opencv-python>={LEAST_OPENCV}.0"',
                facts,
            )
        return self.found(name, "ok", version, facts=facts)

    def several_opencvs(self) -> Iterator[Check]:
        """Notice distributions of OpenCV that overwrite each other."""
        names = ("opencv-python", "opencv-python-headless", "opencv-contrib-python", "opencv-contrib-python-headless")
        here = [name for name in names if installed(name)]
        if len(here) > 1:
            remedy = f"Keep one: pip uninstall -y {' '.join(here)} && pip install opencv-python"
            yield self.found("opencv", "note", f"{' and '.join(here)} overwrite each other's files", remedy)

    def compatibility(self) -> Iterator[Check]:
        """Load what is known to break with newer releases of other packages."""
        from restorer.evaluation.basicsr_compat import import_basicsr

        def basicsr() -> None:
            for module in ("metrics.psnr_ssim", "metrics.niqe"):
                import_basicsr(f"basicsr.{module}")

        def facexlib() -> None:
            from restorer.networks.facexlib_networks import facexlib_module

            for module in ("retinaface_net", "parsenet", "bisenet"):
                facexlib_module(module)

        for name, load in (("basicsr", basicsr), ("facexlib", facexlib)):
            version = installed(name)
            facts = {"version": version}
            if version is None and name == "basicsr" and sys.version_info[:2] >= (3, 13):
                detail = "not installed, and cannot be built under this Python: `restore evaluate` is not available"
                yield self.found(name, "note", detail, "For it, install restorer under Python 3.12.", facts)
                continue
            if version is None:
                yield self.found(name, "broken", f"{name} is not installed", f"Type: {install_line(name)}", facts)
                continue
            try:
                load()
            except Exception as error:  # noqa: BLE001 - a broken installation may raise anything; it is the finding
                wanted = {"basicsr": "1.4.2", "facexlib": "0.3.0"}[name]
                remedy = f"Type: pip install --force-reinstall --no-deps {name}=={wanted}"
                yield self.found(name, "broken", f"{version} cannot be loaded: {first_line(error)}", remedy, facts)
            else:
                yield self.found(name, "ok", f"{version}, its parts load", facts=facts)


def _import_remedy(name: str, reason: str) -> str:
    """Return what helps against the known ways in which imports fail."""
    if name == "opencv-python" and "libGL" in reason:
        return "Type: pip uninstall -y opencv-python && pip install opencv-python-headless"
    if name == "torchvision":
        return "torch and torchvision must fit together: pip install --upgrade torch torchvision"
    return f"Type: pip install --force-reinstall {name}"
