"""One run of the command as a test of the terminal wants it: `python -m tests.support.scene SCENE ARGUMENT...`.

Parts that take no time stand in for networks, and what else differs from run to run is fixed; the command, its console
and the bar are the real ones.

Several scenes in one run: "tour", and a JSON list of scenes, [[SCENE, [ARGUMENT, ...]], ...]; what one has changed
stays so for the next ones.

SCENE is "plain", or names of changes with "+" between them:

    now     the bar is seen at once, not after a second
    crowd   29 faces in each photo, restored one by one, each of which takes a moment
    slow    each photo takes until it is interrupted
"""

from __future__ import annotations

import json
import sys
import threading
import time

import numpy as np
import torch

from restorer.cli import main
from tests.support.parts import Colour, Detector, Everything, face_at

FACES = 29


class Slow(Colour):
    """Takes a moment for each face."""

    def restore(self, crops: torch.Tensor) -> torch.Tensor:
        time.sleep(0.06)
        return super().restore(crops)


def play(scene: set[str], arguments: list[str]) -> None:
    """Run the command."""
    sys.argv[0] = "restore"  # as it is called in what it says
    if "now" in scene:
        from restorer.cli import moving

        moving.SOON = 0.0
    if "crowd" in scene:
        from restorer.pipeline.components import Components

        found = [face_at((40 + 50 * (i % 8), 40 + 60 * (i // 8)), 12) for i in range(FACES)]
        for name, part in (("detector", Detector(found)), ("face_model", Slow())):
            setattr(Components, name, lambda _self, part=part: part)
        setattr(Components, "mask", lambda _self: (Everything(), None))  # noqa: B010 - as mypy has it
    if "slow" in scene:
        from restorer.upscaling.lanczos import Lanczos

        def upscale(_self: Lanczos, *_arguments: object, **_more: object) -> np.ndarray:
            threading.Event().wait()  # until the interrupt
            raise AssertionError

        Lanczos.upscale = upscale  # type: ignore[method-assign, assignment]
    main(arguments)


def tour(scenes: list[tuple[str, list[str]]]) -> None:
    """Run one command after the other, each below its own line as it was typed; the last one's code is that of all."""
    for number, (scene, arguments) in enumerate(scenes, 1):
        print("$ restore", *arguments, flush=True)
        try:
            play(set(scene.split("+")), arguments)
        except SystemExit:
            if number == len(scenes):
                raise


if __name__ == "__main__" and sys.argv[1] == "tour":
    tour(json.loads(sys.argv[2]))
elif __name__ == "__main__":
    play(set(sys.argv[1].split("+")), sys.argv[2:])
