"""Makes the environment of the peer, upstream GFP-GAN 1.3.8, for `python -m restorer.bench speed --peer`.

gfpgan is installed without its dependencies, which are those of restorer, at the same versions: by default they are
seen through from the environment that runs this, so that both are measured on the same torch.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import sysconfig
import venv
from collections.abc import Sequence
from pathlib import Path

PEER = "gfpgan==1.3.8"


def main(arguments: Sequence[str]) -> int:
    """Make the environment and print its Python."""
    parser = argparse.ArgumentParser(prog="python -m restorer.bench make_peer", description=__doc__)
    parser.add_argument("folder", type=Path, help="where the environment goes")
    options = parser.parse_args(arguments)
    venv.EnvBuilder(with_pip=True).create(options.folder)
    windows = sys.platform == "win32"
    python = options.folder.resolve() / ("Scripts/python.exe" if windows else "bin/python")
    variables = {"base": str(options.folder.resolve()), "platbase": str(options.folder.resolve())}
    packages = Path(sysconfig.get_path("purelib", "nt_venv" if windows else "posix_venv", vars=variables))
    (packages / "shared_with_restorer.pth").write_text(sysconfig.get_path("purelib") + "\n")
    subprocess.run([python, "-m", "pip", "install", "--quiet", "--no-deps", PEER], check=True)
    print(python)
    return 0
