"""What the flags of the subcommands do, where no other test shows it; `tests/cli/test_flags.py` has the whole table."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from restorer.evaluation.ageing import photograph
from restorer.networks.mobilefacenet import MobileFaceNet
from restorer.photo import read_photo
from restorer.pipeline.components import Components
from restorer.weights import about, resolve
from restorer.weights.table import shipped_file
from tests.support import standins
from tests.support.basicsr import needs_basicsr
from tests.support.in_process import restore
from tests.support.parts import Detector, face_at
from tests.support.weights_tools import hub_of_this_process
from tests.training.test_runs import DCGAN

Capture = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working folder."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def own_tables(*tables: str, monkeypatch: pytest.MonkeyPatch) -> None:
    Path("own.toml").write_text("".join(tables))
    monkeypatch.setenv("RESTORER_WEIGHTS", str(Path("own.toml").absolute()))


def same(one: str, other: str) -> bool:
    return np.array_equal(read_photo(Path(one)).pixels, read_photo(Path(other)).pixels)


# ------------------------------------------------------------------------------------------------------------ models


@pytest.fixture
def leaky() -> Path:
    """A small upscaler whose activation its tensors do not tell."""
    from restorer.networks.upscalers import srvggnet

    torch.manual_seed(0)
    network = srvggnet(num_in_ch=3, num_out_ch=3, num_feat=8, num_conv=1, upscale=2, act_type="leakyrelu")
    torch.save({key.removeprefix("net."): value for key, value in network.state_dict().items()}, "leaky.pth")
    return Path("leaky.pth")


def test_pull_offline(leaky: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    with hub_of_this_process(monkeypatch) as hub:
        source = hub.add("owner/repo", "leaky.pth", leaky.read_bytes())
        own_tables(standins.table("far", "srvggnet", leaky, source), monkeypatch=monkeypatch)
        assert "--offline forbids fetching it" in restore(capsys, "models", "pull", "far", "--offline", code=3).err
        assert hub.requests == []
        restore(capsys, "models", "pull", "far")
        assert hub.downloads("leaky.pth") == 1
        assert "here already" in restore(capsys, "models", "pull", "far", "--offline").err


def test_import_with_what_the_file_does_not_tell(leaky: Path, capsys: Capture) -> None:
    told = ("--argument", "act_type=leakyrelu")
    restore(capsys, "models", "import", str(leaky), code=3)
    assert "srvggnet" in restore(capsys, "models", "import", str(leaky), "--architecture", "srvggnet", code=3).err
    assert "rrdbnet" in restore(capsys, "models", "import", str(leaky), "--architecture", "rrdbnet", code=3).err
    restore(capsys, "models", "import", str(leaky), "--architecture", "srvggnet", *told)
    written = about(Path("leaky.safetensors"))
    assert written is not None
    assert (written.architecture, written.arguments["act_type"]) == ("srvggnet", "leakyrelu")


def test_import_to_another_place(leaky: Path, capsys: Capture) -> None:
    told = ("models", "import", str(leaky), "--argument", "act_type=leakyrelu")
    restore(capsys, *told, "-o", "one.safetensors")
    restore(capsys, *told, "--out", "deep/two.safetensors")
    assert Path("one.safetensors").read_bytes() == Path("deep/two.safetensors").read_bytes()
    Path("one.safetensors").write_bytes(b"mine")
    assert "--overwrite" in restore(capsys, *told, "-o", "one.safetensors", code=1).err
    assert Path("one.safetensors").read_bytes() == b"mine"
    restore(capsys, *told, "-o", "one.safetensors", "--overwrite")
    assert Path("one.safetensors").read_bytes() == Path("deep/two.safetensors").read_bytes()
    assert not Path("leaky.safetensors").exists()


def test_remove_without_being_asked(leaky: Path, capsys: Capture) -> None:
    for yes in ("--yes", "-y"):
        told = ("--name", "mine", "--argument", "act_type=leakyrelu")
        restore(capsys, "models", "import", str(leaky), *told)
        assert "nobody to ask" in restore(capsys, "models", "remove", "mine", code=2).err
        assert Path("leaky.safetensors").exists()
        restore(capsys, "models", "remove", "mine", yes)
        assert not Path("leaky.safetensors").exists()


# -------------------------------------------------------------------------------------------------------------- demo


def test_demo(capsys: Capture) -> None:
    first = json.loads(restore(capsys, "demo", "-o", "one", "--device", "cpu", "--json").out)
    second = json.loads(restore(capsys, "demo", "--out", "two", "--seed", "1", "--scale", "1.5", "--json").out)
    assert (first["scale"], second["scale"]) == (2.0, 1.5)
    assert [Image.open(record["output"]).size for record in (first, second)] == [(640, 640), (480, 480)]
    assert [Path(record["output"]).parent.name for record in (first, second)] == ["one", "two"]
    assert first["device"] == "cpu"
    assert not same("one/before.jpg", "two/before.jpg")
    assert "cuda:99" in restore(capsys, "demo", "-o", "three", "--device", "cuda:99", code=2).err


# ------------------------------------------------------------------------------------------------------------- faces


def test_faces_out(capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    Image.new("RGB", (200, 120), (100, 90, 80)).save("a.png")
    monkeypatch.setattr(Components, "detector", lambda _components: Detector([face_at((60, 60), 20)]))
    restore(capsys, "faces", "a.png", "-o", "one.png")
    restore(capsys, "faces", "a.png", "--out", "two.webp")
    assert read_photo(Path("one.png")).size == read_photo(Path("two.webp")).size
    assert read_photo(Path("two.webp")).format == "WEBP"
    assert not Path("a_faces.png").exists()


@pytest.fixture
def portrait() -> str:
    """A photo of one face."""
    Image.fromarray(photograph()).crop((120, 20, 320, 240)).save("face.png")
    return "face.png"


def test_faces_detector_and_min_score(portrait: str, capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    built_in = shipped_file().parent / "restorer/data/tiny-detector.safetensors"
    table = standins.table("mine", "tinydetector", built_in, widths=[16, 24, 48, 64, 64], head=48)
    own_tables(table, monkeypatch=monkeypatch)
    asked = ("faces", portrait, "--json", "--detector", "mine")
    assert len(json.loads(restore(capsys, *asked).out)) == 1
    assert json.loads(restore(capsys, *asked, "--min-score", "1").out) == []
    Path("own.toml").write_text(table.replace("head = 48", "head = 40"))
    assert "tinydetector" in restore(capsys, *asked, code=3).err  # it is that file which is loaded


def test_faces_precision(portrait: str, capsys: Capture) -> None:
    """Faces are found as a restoration with the same options finds them, so that numbers mean the same."""
    found = {}
    for precision in ("fp32", "bf16"):
        asked = ("faces", portrait, "--detector", "tiny-detector-free", "--offline", "--precision", precision)
        (found[precision],) = json.loads(restore(capsys, *asked, "--json").out)
        typed = restore(capsys, *asked).err
        assert f"--precision {precision}" in typed
        options = ("--model", "tiny", "--background", "lanczos", "--offline", "--precision", precision)
        record = json.loads(restore(capsys, portrait, "-o", f"{precision}.jpg", "--json", *options).out)
        assert record["faces"][0]["landmarks"] == found[precision]["landmarks"]
    assert found["fp32"]["landmarks"] != found["bf16"]["landmarks"]
    assert "fp16 is for GPUs" in restore(capsys, "faces", portrait, "--precision", "fp16", code=2).err
    assert "--engine abacus is not known" in restore(capsys, "faces", portrait, "--engine", "abacus", code=2).err
    assert "--engine torch" in restore(capsys, *asked, "--engine", "torch").err


def test_faces_device_and_offline(portrait: str, capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "cuda:99" in restore(capsys, "faces", portrait, "--device", "cuda:99", code=2).err
    with hub_of_this_process(monkeypatch) as hub:
        asked = ("faces", portrait, "--detector", "retinaface-r50")
        assert "--offline forbids fetching it" in restore(capsys, *asked, "--offline", code=3).err
        assert hub.requests == []


# ------------------------------------------------------------------------------------------------------------- train


@pytest.fixture
def pictures() -> Path:
    """Six pictures of 64 px, each of one colour and a few spots."""
    rng = np.random.default_rng(0)
    Path("pictures").mkdir()
    for number in range(6):
        small = Image.fromarray(rng.integers(0, 256, (5, 5, 3), np.uint8))
        small.resize((64, 64), Image.Resampling.BICUBIC).save(f"pictures/{number}.png")
    return Path("pictures")


def test_train(pictures: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    Path("mine.toml").write_text(DCGAN.replace("steps = 12", "steps = 3"), encoding="utf-8")
    threads = torch.get_num_threads()
    try:
        asked: tuple[str, ...] = ("train", "mine.toml", "--data", str(pictures), "--threads", "1")
        assert "no CUDA device" in restore(capsys, *asked, "--device", "cuda", code=2).err
        torch.set_num_threads(threads + 1)
        asked = (*asked, "--device", "cpu")
        assert "step 1 of 3" in restore(capsys, *asked, "-o", "run", "--until", "1").err
        assert torch.get_num_threads() == 1
        assert steps("run") == [1]
        done = restore(capsys, *asked, "--out", "run", "--until", "2", "--resume")
        assert "stopped after step 2 of 3" in done.err
        assert steps("run") == [1, 2]
        restore(capsys, *asked, "-o", "run", "--until", "1", "--no-resume")
        assert steps("run") == [1]
        Path("empty").mkdir()
        assert "empty" in restore(capsys, "train", "mine.toml", "--data", "empty", code=2).err
    finally:
        torch.set_num_threads(threads)


def test_train_time_limit_and_pack(pictures: Path, capsys: Capture) -> None:
    Path("mine.toml").write_text(DCGAN.replace("steps = 12", "steps = 3"), encoding="utf-8")
    asked = ("train", "mine.toml", "--data", str(pictures), "--threads", "1", "--device", "cpu", "-o", "run")
    threads = torch.get_num_threads()
    try:
        assert "stopped after step 1 of 3" in restore(capsys, *asked, "--time-limit", "0.001s").err
        assert steps("run") == [1]
        assert "stopped after step 2 of 3" in restore(capsys, *asked, "--time-limit", "0.001s").err
        restore(capsys, *asked, "--time-limit", "2h")
        assert steps("run") == [1, 2, 3]
    finally:
        torch.set_num_threads(threads)
    assert "soon" in restore(capsys, *asked, "--time-limit", "soon", code=2).err
    assert not Path("packed").exists()
    packed = restore(capsys, "train", "mine.toml", "--data", str(pictures), "--pack", "packed", code=2)
    assert "cannot be packed" in packed.err


def steps(folder: str) -> list[int]:
    """Return the steps that a run has written down."""
    rows = (Path(folder) / "losses.csv").read_text(encoding="utf-8").splitlines()
    at = rows[0].split(",").index("step")
    return [int(row.split(",")[at]) for row in rows[1:]]


# ------------------------------------------------------------------------------------------------- sample, evaluate


def test_sample(capsys: Capture) -> None:
    asked = ("sample", "tiny-prior", "--count", "1", "--device", "cpu")
    restore(capsys, *asked, "-o", "one.png")
    restore(capsys, *asked, "--out", "same.png", "--seed", "0")
    restore(capsys, *asked, "-o", "other.png", "--seed", "1")
    restore(capsys, *asked, "-o", "average.png", "--truncation", "0")
    restore(capsys, *asked, "-o", "also.png", "--truncation", "0", "--seed", "1")
    assert same("one.png", "same.png")
    assert not same("one.png", "other.png")
    assert same("average.png", "also.png")  # nothing is left of what the seed drew
    before = Path("other.png").read_bytes()
    assert "--overwrite" in restore(capsys, *asked, "-o", "other.png", code=1).err
    assert Path("other.png").read_bytes() == before
    restore(capsys, *asked, "-o", "other.png", "--overwrite")
    assert same("one.png", "other.png")
    assert "cuda:99" in restore(capsys, "sample", "tiny-prior", "-o", "x.png", "--device", "cuda:99", code=2).err


@pytest.fixture
def identity() -> str:
    """A MobileFaceNet of random weights."""
    torch.manual_seed(0)
    torch.save({"net_state_dict": MobileFaceNet().state_dict()}, "identity.ckpt")
    return "identity.ckpt"


def test_sample_measured(identity: str, capsys: Capture) -> None:
    asked = ("sample", "tiny-prior", "--count", "3", "--device", "cpu", "--json", "--overwrite")
    assert json.loads(restore(capsys, *asked).out)["faces"] is None
    found = json.loads(restore(capsys, *asked, "--detector", "tiny-detector").out)
    assert found["faces"] >= 2
    assert found["most_alike"] is None
    alike = json.loads(restore(capsys, *asked, "--detector", "tiny-detector", "--identity-weights", identity).out)
    assert 0 < alike["most_alike"] <= 1


@pytest.fixture
def clean() -> str:
    """Four different cuttings of one portrait."""
    Path("clean").mkdir()
    for number in range(4):
        box = (140 + 5 * number, 30, 300 + 5 * number, 190)
        Image.fromarray(photograph()).crop(box).resize((128, 128)).save(f"clean/{number}.png")
    return "clean"


@needs_basicsr
def test_evaluate(clean: str, capsys: Capture) -> None:
    Path("keeps.toml").write_text('recipe = "glean"\nname = "keeps"\n[data]\nvalidation = 2\n', encoding="utf-8")
    asked: tuple[str, ...] = ("evaluate", "tiny", clean, "--json", "--device", "cpu")
    kept = json.loads(restore(capsys, *asked, "--kept-by", "keeps.toml").out)
    assert kept["pictures"] == 2
    asked = (*asked, "--limit", "1")
    whole = json.loads(restore(capsys, *asked, "--precision", "fp32").out)
    half = json.loads(restore(capsys, *asked, "--precision", "bf16").out)
    other = json.loads(restore(capsys, *asked, "--precision", "fp32", "--seed", "1").out)
    psnr = [{row["method"]: row["psnr"] for row in result["rows"]} for result in (whole, half, other)]
    assert psnr[0]["input"] == psnr[1]["input"] != psnr[2]["input"]
    assert psnr[0]["tiny"] != psnr[1]["tiny"]
    assert "cuda:99" in restore(capsys, "evaluate", "tiny", clean, "--device", "cuda:99", code=2).err
    assert "abacus is not known" in restore(capsys, "evaluate", "tiny", clean, "--engine", "abacus", code=2).err


@needs_basicsr
def test_evaluate_with_more_weights(clean: str, identity: str, capsys: Capture) -> None:
    shapes = {0: (64, 3, 11), 3: (192, 64, 5), 6: (384, 192, 3), 8: (256, 384, 3), 10: (256, 256, 3)}
    alexnet = {f"features.{n}.weight": torch.randn(o, i, k, k) / (i * k * k) ** 0.5 for n, (o, i, k) in shapes.items()}
    torch.save(alexnet | {f"features.{n}.bias": torch.zeros(o) for n, (o, _, _) in shapes.items()}, "alex.pth")
    linear = {f"lin{n}.model.1.weight": torch.rand(1, o, 1, 1) for n, (o, _, _) in enumerate(shapes.values())}
    torch.save(linear, "lin.pth")
    asked: tuple[str, ...] = (
        "evaluate",
        "tiny",
        clean,
        "--json",
        "--limit",
        "1",
        "--lpips-weights",
        "alex.pth",
        "lin.pth",
    )
    found = json.loads(restore(capsys, *asked, "--identity-weights", identity, "--detector", "tiny-detector").out)
    rows = {row["method"]: row for row in found["rows"]}
    assert found["faces"] == 1
    assert rows["truth"]["lpips"] == 0 < rows["tiny"]["lpips"]
    assert rows["truth"]["identity"] == pytest.approx(1, abs=1e-3)
    assert rows["tiny"]["identity"] < 1
    asked = ("evaluate", "tiny", clean, "--identity-weights", identity, "--detector", "parsenet")
    assert "face detector" in restore(capsys, *asked, code=2).err


@needs_basicsr
def test_sample_and_evaluate_offline(leaky: Path, clean: str, capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    with hub_of_this_process(monkeypatch) as hub:
        source = hub.add("owner/repo", "leaky.pth", leaky.read_bytes())
        tables = [standins.table(name, kind, leaky, source) for name, kind in (("p", "dcgan"), ("r", "gfpgan"))]
        own_tables(*tables, monkeypatch=monkeypatch)
        assert resolve("p").sources == (source,)
        for asked in (("sample", "p"), ("evaluate", "r", clean)):
            assert "--offline forbids fetching it" in restore(capsys, *asked, "--offline", code=3).err
        assert hub.requests == []
        restore(capsys, "sample", "p", code=3)  # it is no prior, but it is asked for
        assert hub.downloads("leaky.pth") == 1
