"""The upstream pipeline of GFP-GAN 1.3.8, step by step as its `GFPGANer.enhance` goes; runs in the peer's environment.

    python peer.py weights FOLDER                  write stand-in weights: gfpgan-1.4.pth and parsenet.pth
    python peer.py run PHOTO OUT.png --gfpgan F --parsenet F --detector F [--scale 2] [--threads N]

It is started by its path, not imported: nothing of restorer is at hand there. Prints one JSON line.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import json
import sys
import time
import types
from pathlib import Path
from typing import Any

PARTS = {
    "cv2": "cv2",
    "torch": "torch",
    "helper": "facexlib.utils.face_restoration_helper",
    "normalize": "torchvision.transforms.functional",
    "img2tensor": "basicsr.utils",
    "tensor2img": "basicsr.utils",
    "RetinaFace": "facexlib.detection.retinaface",
    "ParseNet": "facexlib.parsing.parsenet",
    "GFPGANv1Clean": "gfpgan.archs.gfpganv1_clean_arch",
}
"""Upstream's modules and what is taken from each; a name that a module does not have is the module itself."""


def imports() -> dict[str, Any]:
    """Import upstream's parts; basicsr 1.4.2 wants a torchvision module that is gone, for one function."""
    functional = importlib.import_module("torchvision.transforms.functional")
    shim = types.ModuleType("torchvision.transforms.functional_tensor")
    shim.rgb_to_grayscale = functional.rgb_to_grayscale  # type: ignore[attr-defined]
    sys.modules[shim.__name__] = shim
    kit: dict[str, Any] = {}
    for name, module in PARTS.items():
        kit[name] = importlib.import_module(module)
        kit[name] = getattr(kit[name], name, kit[name])
    return kit


def networks(kit: Any) -> tuple[Any, Any]:
    """Return upstream's two networks, unfilled."""
    gfpgan = kit.GFPGANv1Clean(
        512, 512, 2, None, False, 8, input_is_latent=True, different_w=True, narrow=1, sft_half=True
    )
    return gfpgan, kit.ParseNet(in_size=512, out_size=512, parsing_ch=19)


def write_weights(kit: Any, folder: Path) -> None:
    """Write random weights under upstream's names, the same for each run."""
    folder.mkdir(parents=True, exist_ok=True)
    kit.torch.manual_seed(0)
    gfpgan, parsenet = networks(kit)
    for parameter in parsenet.parameters():
        std = parameter[0].numel() ** -0.5 if parameter.ndim > 1 else 0.1
        kit.torch.nn.init.normal_(parameter, std=std)
    kit.torch.save({"params_ema": gfpgan.state_dict()}, folder / "gfpgan-1.4.pth")
    kit.torch.save(parsenet.state_dict(), folder / "parsenet.pth")


def load(kit: Any, options: argparse.Namespace) -> tuple[Any, Any]:
    """Return GFP-GAN and the helper that detects, aligns, parses and pastes, as upstream builds them."""

    def read(path: Path) -> Any:
        return kit.torch.load(path, map_location="cpu", weights_only=True)

    gfpgan, parsenet = networks(kit)
    gfpgan.load_state_dict(read(options.gfpgan)["params_ema"])
    parsenet.load_state_dict(read(options.parsenet))

    def detector(*_args: object, **_kwargs: object) -> Any:
        net = kit.RetinaFace(network_name="mobile0.25", half=False, device="cpu")
        state = read(options.detector)
        net.load_state_dict({key.removeprefix("module."): value for key, value in state.items()})
        return net.eval()

    kit.helper.init_detection_model = detector
    kit.helper.init_parsing_model = lambda *_args, **_kwargs: parsenet.eval()
    made = kit.helper.FaceRestoreHelper(1, 512, (1, 1), "retinaface_mobile0.25", "png", use_parse=True, device="cpu")
    return gfpgan.eval(), made


class Stages(dict[str, float]):
    """Seconds by stage."""

    @contextlib.contextmanager
    def timed(self, name: str) -> Any:
        begin = time.perf_counter()
        yield
        self[name] = self.get(name, 0.0) + time.perf_counter() - begin


def restore(kit: Any, gfpgan: Any, helper: Any, options: argparse.Namespace, stages: Stages) -> int:
    """Restore one photo as upstream does; return how many faces it had."""
    with kit.torch.no_grad():
        with stages.timed("read"):
            photo = kit.cv2.imread(str(options.photo), kit.cv2.IMREAD_COLOR)
        helper.clean_all()
        helper.upscale_factor = options.scale
        with stages.timed("detect"):
            helper.read_image(photo)
            helper.get_face_landmarks_5(only_center_face=False, eye_dist_threshold=5)
        with stages.timed("align"):
            helper.align_warp_face()
        with stages.timed("restore"):
            for face in helper.cropped_faces:
                tensor = kit.img2tensor(face / 255.0, bgr2rgb=True, float32=True)
                kit.normalize(tensor, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5), inplace=True)
                output = gfpgan(tensor.unsqueeze(0), return_rgb=False, weight=0.5)[0]
                picture = kit.tensor2img(output.squeeze(0), rgb2bgr=True, min_max=(-1, 1)).astype("uint8")
                helper.add_restored_face(picture)
        parse = helper.face_parse.forward

        def parsed(*args: Any) -> Any:
            with stages.timed("mask"):
                return parse(*args)

        helper.face_parse.forward = parsed
        with stages.timed("paste"):
            helper.get_inverse_affine(None)
            result = helper.paste_faces_to_input_image(upsample_img=None)
        stages["paste"] -= stages.get("mask", 0.0)
        with stages.timed("write"):
            kit.cv2.imwrite(str(options.out), result)
    return len(helper.cropped_faces)


def main() -> None:
    """Read the command line and do what it says."""
    parser = argparse.ArgumentParser(description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("weights").add_argument("folder", type=Path)
    running = commands.add_parser("run")
    running.add_argument("photo", type=Path)
    running.add_argument("out", type=Path)
    for name in ("gfpgan", "parsenet", "detector"):
        running.add_argument(f"--{name}", type=Path, required=True)
    running.add_argument("--scale", type=int, default=2)
    running.add_argument("--threads", type=int, default=0)
    options = parser.parse_args()
    stages = Stages()
    with stages.timed("import"):
        kit = types.SimpleNamespace(**imports())
    if options.command == "weights":
        write_weights(kit, options.folder)
        return
    if options.threads:
        kit.torch.set_num_threads(options.threads)
    with stages.timed("load"):
        gfpgan, helper = load(kit, options)
    faces = restore(kit, gfpgan, helper, options, stages)
    print(json.dumps({"faces": faces, "stages": stages}))


if __name__ == "__main__":
    main()
