"""`restore` against other pipelines around GFP-GAN, from process start to the written file, on the same weights.

    python -m restorer.bench make_peer FOLDER
    python -m restorer.bench speed PHOTO... --peer FOLDER/bin/python --onnxruntime --json speed.json --plot speed.svg

There are two: upstream's own (`--peer`), and one as face enhancers on ONNX Runtime have it (`--onnxruntime`; of these
facefusion is the best known), with our exports of the same weights: `restorer/bench/tools/onnx_peer.py` says what it
does. Each photo is restored by all of them in turns, as commands of their own: wall and processor seconds, peak of the
resident memory, seconds by stage. What is known by then is written into --json after each command.

Real weights are used where they are cached or given with --weights, else stand-ins that all share. Stand-ins cost what
real ones do; the faces in the pictures mean nothing then. The detector must be real, since with stand-ins it would find
no faces.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

from restorer.bench.tools.running import Finished, Weights, bars, keep, records, restore, run, weight_file

MODEL, PARSER, DETECTOR = "gfpgan-1.4", "parsenet", "retinaface-mobilenet0.25"
PEERS = ("peer", "onnxruntime")
"""What other pipelines are called in the tables: upstream's, and that on ONNX Runtime."""
LOW = " low memory"
"""Behind the precision of runs with --low-memory."""
NETWORK_STAGES = ("detect", "restore", "mask")
_DETECTOR_SIDES = 640, 1920
"""Least and largest side of the square that the pipeline on ONNX Runtime looks for faces in."""
MARKS = "<!-- speed -->", "<!-- /speed -->"
"""Between these the figures stand in docs/performance.md."""
STAGES = ("import", "load", "read", "detect", "align", "restore", "mask", "paste", "upscale", "write")


def staged(photo: Path, out: Path, precision: str) -> dict[str, float]:
    """Restore one photo in this process, and return the seconds of each stage from the first import on."""
    begin = time.perf_counter()
    import torch  # noqa: F401 - what its import costs is measured

    from restorer.pipeline.restorer import Restorer

    seconds = {"import": time.perf_counter() - begin}
    begin = time.perf_counter()
    options: dict[str, Any] = {"scale": 2, "precision": precision, "offline": True, "always": True}
    restorer = Restorer(MODEL, detector=DETECTOR, background="lanczos", **options)
    restorer.components.detector(), restorer.components.face_model(), restorer.components.mask()
    seconds["load"] = time.perf_counter() - begin
    record = restorer.restore_file(photo, out, "PNG", overwrite=True).as_dict()
    if record["status"] != "ok":
        raise SystemExit(f"{photo}: {record['error']}")
    seconds |= {key: value for key, value in record["seconds"].items() if key != "total"}
    seconds["upscale"] = seconds.pop("background")
    return {stage: seconds.get(stage, 0.0) for stage in STAGES}


def alike(one: Path, other: Path, boxes: Sequence[Sequence[float]] = ()) -> float:
    """Return the PSNR in dB of two pictures of one size, or of parts of them alone, (x0, y0, x1, y1) in pixels."""
    import numpy as np
    from PIL import Image

    first, second = (np.asarray(Image.open(path).convert("RGB"), np.float64) for path in (one, other))
    squares = (first - second) ** 2
    seen = np.full(squares.shape[:2], not boxes)
    for x0, y0, x1, y1 in boxes:
        seen[max(round(y0), 0) : round(y1), max(round(x0), 0) : round(x1)] = True
    error = float(squares[seen].mean())
    return float("inf") if error == 0 else 10 * float(np.log10(255**2 / error))


def row(photo: Path, tool: str, finished: Finished, faces: int, stages: dict[str, float]) -> dict[str, Any]:
    """Return the figures of one command."""
    return {
        "photo": photo.name,
        "tool": tool,
        "faces": faces,
        "seconds": finished.seconds,
        "processor_seconds": finished.processor_seconds,
        "peak_mib": finished.peak_mib,
        "stages": stages,
        "rounds": [[finished.seconds, finished.processor_seconds, finished.peak_mib]],
    }


def again(entry: dict[str, Any], more: dict[str, Any]) -> None:
    """Put a further round of the same to a command's figures, which become medians."""
    entry["rounds"] += more["rounds"]
    for place, name in enumerate(("seconds", "processor_seconds", "peak_mib")):
        entry[name] = median(each[place] for each in entry["rounds"])


def measure_peer(python: Path, photo: Path, out: Path, weights: Weights) -> dict[str, Any]:
    """Run the peer on a photo."""
    script = Path(__file__).parent / "tools/peer.py"
    command = [str(python), str(script), "run", str(photo), str(out), "--scale", "2"]
    for option, name in (("gfpgan", MODEL), ("parsenet", PARSER), ("detector", DETECTOR)):
        command += [f"--{option}", str(weights.files[name])]
    finished = run(command)
    told = json.loads(finished.stdout.splitlines()[-1])
    return row(photo, "peer", finished, told["faces"], told["stages"])


def measure_onnxruntime(files: tuple[Path, Path], photo: Path, out: Path) -> dict[str, Any]:
    """Run the pipeline on ONNX Runtime on a photo, with the exported face restorer and detector."""
    script = Path(__file__).parent / "tools/onnx_peer.py"
    words = [str(photo), str(out), "--model", str(files[0]), "--detector", str(files[1]), "--scale", "2"]
    finished = run([sys.executable, str(script), *words])
    told = json.loads(finished.stdout.splitlines()[-1])
    return row(photo, "onnxruntime", finished, told["faces"], told["stages"])


def exported(weights: Weights, folder: Path, photos: Sequence[Path]) -> dict[Path, tuple[Path, Path]]:
    """Return for each photo the exported face restorer and detector, written where the folder lacks them.

    The detector's file takes one size, a square: the photo's own, within limits.
    """
    from restorer.photo import open_photo

    found = {}
    for photo in photos:
        least, most = _DETECTOR_SIDES
        side = min(max(-(-max(open_photo(photo).size) // 32) * 32, least), most)
        found[photo] = _written(weights, MODEL, folder, None), _written(weights, DETECTOR, folder, side)
    return found


def _written(weights: Weights, name: str, folder: Path, side: int | None) -> Path:
    """Return the exported file of a table, and write it where it is not there or is of other weights."""
    import onnxruntime

    from restorer.models import REGISTRY
    from restorer.models.exporter import export
    from restorer.weights import resolve

    table, target = resolve(name), folder / f"{name}{'' if side is None else f'-{side}'}.onnx"
    if target.exists():
        about = onnxruntime.InferenceSession(str(target), providers=["CPUExecutionProvider"]).get_modelmeta()
        if about.custom_metadata_map.get("restorer.sha256") == table.wanted_hash:
            return target
    export(REGISTRY.load(table, weights.files[name]), target, side=side, overwrite=True)
    return target


def measure(photo: Path, out: Path, tool: str, environment: dict[str, str], *, stages: bool) -> dict[str, Any]:
    """Run the `restore` command on a photo, and a second time with a clock for each stage where that is wanted.

    Args:
        photo: the photo.
        out: where the result goes.
        tool: the precision, behind it `LOW` where the run shall take less memory.
        environment: that names the weights.
        stages: whether each stage is clocked.
    """
    precision = tool.removesuffix(LOW)
    options = ["--model", MODEL, "--detector", DETECTOR, "--background", "lanczos", "--scale", "2"]
    options.append("--always")  # others restore good faces as well
    options += ["--low-memory"] if tool.endswith(LOW) else []
    finished = restore([photo], out, environment, *options, "--precision", precision)
    record: Any = records(finished)[0]
    if record["status"] != "ok":
        raise SystemExit(f"{photo}: {record['error']}")
    seconds = {key: value for key, value in record["seconds"].items() if key != "total"}
    seconds["start and load"] = finished.seconds - sum(seconds.values())
    if stages and not tool.endswith(LOW):
        inner = [sys.executable, "-m", "restorer.bench", "speed", str(photo), "--staged", str(out), precision]
        seconds = json.loads(run(inner, environment).stdout.splitlines()[-1])
    entry = row(photo, tool, finished, sum(face["restored"] for face in record["faces"]), seconds)
    entry["boxes"] = [_middle(face["box"]) for face in record["faces"] if face["restored"]]
    return entry


def _middle(box: Sequence[float]) -> list[float]:
    """Return the middle of a box of the photo, a quarter of it, in the result, which is twice as large."""
    x0, y0, x1, y1 = box
    x, y, across, down = x0 + x1, y0 + y1, (x1 - x0) / 2, (y1 - y0) / 2
    return [x - across, y - down, x + across, y + down]


def prepare(given: Sequence[str], peer: Path | None, folder: Path) -> Weights:
    """Find or make the weights."""
    weights = Weights(dict(weight_file(text) for text in given), folder)
    if not weights.find(DETECTOR):
        raise SystemExit(
            f"The measurement needs the real weights of {DETECTOR}.\n"
            f"`restore models pull {DETECTOR}` fetches them, or give a file with --weights {DETECTOR}=FILE."
        )
    missing = [name for name in (MODEL, PARSER) if not weights.find(name)]
    made = (".pth", ".safetensors") if peer is None else (".pth",)
    for kept in [folder / f"{name}{suffix}" for name in missing for suffix in made]:  # of an earlier run
        if kept.exists() and kept.stem in missing:
            weights.add_stand_in(kept.stem, kept)
            missing.remove(kept.stem)
    if missing and peer is not None:  # upstream's layout, which both can read
        run([str(peer), str(Path(__file__).parent / "tools/peer.py"), "weights", str(folder)])
    for name in missing:
        if peer is not None:
            weights.add_stand_in(name, folder / f"{name}.pth")
        else:
            weights.make(name)
    return weights


def show(report: dict[str, Any]) -> None:
    """Print the table."""
    rows = report["rows"]
    if report["stand_ins"]:
        print(f"Stand-in weights, which mean nothing in the pictures: {', '.join(report['stand_ins'])}")
    print(f"{'':46}{'seconds':>9}{'cpu s':>8}{'MiB':>7}{'rest':>7}   beside others: times as fast, of their memory, dB")
    for entry in rows:
        rest = f"{entry['rest']:7.1%}" if "rest" in entry else f"{'':7}"
        label = f"{entry['photo'][:26]} {entry['tool']} ({entry['faces']} faces)"
        beside = "".join(
            f"   {name} {to['faster']:.2f}x {to['memory']:.2f} {to['psnr']:.1f} (faces {to['psnr_in_faces']:.1f})"
            for name, to in entry["beside"].items()
        )
        print(
            f"{label:46}{entry['seconds']:9.2f}{entry['processor_seconds']:8.1f}{entry['peak_mib']:7.0f}{rest}{beside}"
        )
        print("    " + "  ".join(f"{stage} {seconds:.2f}" for stage, seconds in entry["stages"].items()))
    for photo, likeness in report["psnr_bf16_to_fp32"].items():
        print(f"{photo}: bf16 beside fp32 {likeness:.1f} dB")
    networks = report.get("networks")
    if networks:
        for entry in networks["networks"]:
            print(
                f"{entry['network']} {entry['precision']} alone: {entry['seconds']:.2f} s, "
                f"{entry['share_of_rate']:.0%} of the rate on a plain convolution"
            )
    print(
        "rest is the share of align, paste, upscale, read and write; dB is the PSNR beside the other's picture, whose\n"
        "alignment, outline and enlarging differ, of all of it and of the middles of the faces."
    )


def tables(report: dict[str, Any]) -> str:
    """Return the figures as Markdown tables."""
    others = [name for name in PEERS if any(entry["tool"] == name for entry in report["rows"])]
    columns = [f"times as fast as {name} | of its memory" for name in others]
    lines = [
        f"| {' | '.join(['photo', 'run', 'faces', 'seconds', *columns, 'processor seconds', 'peak MiB', 'rest'])} |",
        f"|---|---|{'--:|' * (5 + 2 * len(others))}",
    ]
    for entry in report["rows"]:
        beside = [entry["beside"].get(name) for name in others]
        ratios = "".join(" | |" if to is None else f" {to['faster']:.2f} | {to['memory']:.2f} |" for to in beside)
        rest = f"{entry['rest']:.1%}" if "rest" in entry else ""
        lines.append(
            f"| {entry['photo']} | {entry['tool']} | {entry['faces']} | {entry['seconds']:.1f} |{ratios} "
            f"{entry['processor_seconds']:.1f} | {entry['peak_mib']:.0f} | {rest} |"
        )
    lines += ["", f"| seconds by stage | {' | '.join(STAGES)} |", f"|---|{'--:|' * len(STAGES)}"]
    for entry in report["rows"]:
        if "import" in entry["stages"]:
            seconds = " | ".join(f"{entry['stages'].get(stage, 0.0):.2f}" for stage in STAGES)
            lines.append(f"| {entry['photo']} {entry['tool']} | {seconds} |")
    if "networks" in report:
        networks = report["networks"]
        lines += [
            "",
            "| network alone | GFLOP | by operations, s | by bytes, s | seconds | of the rate | of the bound |",
            "|---|--:|--:|--:|--:|--:|--:|",
        ]
        for entry in networks["networks"]:
            lines.append(
                f"| {entry['network']} {entry['precision']} | {entry['gflop']:.0f} "
                f"| {entry['bound_by_operations']:.3f} | {entry['bound_by_bytes']:.3f} "
                f"| {entry['seconds']:.3f} | {entry['share_of_rate']:.0%} | {entry['share_of_bound']:.0%} |"
            )
        rates = "; ".join(
            f"{precision} {rate['gflops']:.0f} GFLOP/s on a plain convolution, {rate['gbytes']:.1f} GB/s on a copy"
            for precision, rate in networks["rates"].items()
        )
        lines += ["", f"Measured in the same run with {networks['threads']} threads: {rates}."]
    if report["stand_ins"]:
        lines += ["", f"Stand-in weights: {', '.join(report['stand_ins'])}."]
    return "\n".join(lines)


def write_page(page: Path, text: str) -> None:
    """Put text between the two marks of a page, in the place of what stands there.

    Raises:
        SystemExit: the page has no such marks.
    """
    before, begin, rest = page.read_text(encoding="utf-8").partition(MARKS[0])
    _, end, after = rest.partition(MARKS[1])
    if not (begin and end):
        raise SystemExit(f"{page} has no place for the figures: {MARKS[0]} and {MARKS[1]}.")
    page.write_text(f"{before}{begin}\n{text}\n{end}{after}", encoding="utf-8")


def compare(rows: list[dict[str, Any]], pictures: Mapping[tuple[str, str], Path]) -> None:
    """Put each of our runs beside the others on the same photo, and the pipeline on ONNX Runtime beside upstream's.

    Args:
        rows: of all photos.
        pictures: what was made, by the photo's name and the tool.
    """
    boxes = {entry["photo"]: entry["boxes"] for entry in rows if "boxes" in entry}
    for entry in rows:
        entry["beside"] = {}
        others = PEERS[: PEERS.index(entry["tool"])] if entry["tool"] in PEERS else PEERS
        if entry["tool"] not in PEERS and "import" in entry["stages"]:
            total = sum(entry["stages"].values())
            outside = ("import", "load", *NETWORK_STAGES)
            entry["rest"] = sum(v for k, v in entry["stages"].items() if k not in outside) / total
        own = pictures[entry["photo"], entry["tool"]]
        for other in rows:
            if other["tool"] in others and other["photo"] == entry["photo"]:
                theirs = pictures[other["photo"], other["tool"]]
                entry["beside"][other["tool"]] = {
                    "faster": other["seconds"] / entry["seconds"],
                    "memory": entry["peak_mib"] / other["peak_mib"],
                    "psnr": alike(own, theirs),
                    "psnr_in_faces": alike(own, theirs, boxes.get(entry["photo"], ())),
                }


def main(arguments: Sequence[str]) -> int:
    """Print the table; write JSON and a plot."""
    parser = argparse.ArgumentParser(
        prog="python -m restorer.bench speed", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("photos", nargs="+", type=Path)
    parser.add_argument("--peer", type=Path, help="Python of the environment that make_peer made")
    parser.add_argument("--onnxruntime", action="store_true", help="also the pipeline on ONNX Runtime")
    parser.add_argument("--rounds", type=int, default=1, help="runs of each, in turns; medians count (default 1)")
    parser.add_argument("--weights", action="append", default=[], metavar="NAME=FILE", help="weights of a table")
    parser.add_argument("--precision", default="bf16,fp32", help="one or both (default bf16,fp32)")
    parser.add_argument("--low-memory", action="store_true", help="also runs with --low-memory")
    parser.add_argument("--no-stages", action="store_true", help="leave out the second run that clocks each stage")
    parser.add_argument("--no-networks", action="store_true", help="leave out the measurement of the networks alone")
    parser.add_argument("--json", type=Path, help="file for the figures")
    parser.add_argument("--plot", type=Path, help="file for a plot (SVG)")
    parser.add_argument("--page", type=Path, help="Markdown page to put the figures into, such as docs/performance.md")
    parser.add_argument("--work", type=Path, help="folder for weights and pictures (default: a temporary one)")
    parser.add_argument("--prepare", action="store_true", help="only make weights and exports, into --work")
    parser.add_argument("--staged", nargs=2, metavar=("OUT", "PRECISION"), help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.staged:
        print(json.dumps(staged(options.photos[0], Path(options.staged[0]), options.staged[1])))
        return 0
    with tempfile.TemporaryDirectory() as temporary:
        folder = (options.work or Path(temporary)).resolve()
        weights = prepare(options.weights, options.peer, folder)
        environment = weights.environment()
        report: dict[str, Any] = {"stand_ins": weights.stand_ins, "rows": [], "psnr_bf16_to_fp32": {}}
        if not options.no_networks:
            told = run([sys.executable, "-m", "restorer.bench", "networks", MODEL, PARSER, "--json"])
            report["networks"] = json.loads(told.stdout.splitlines()[-1])
        others = {"peer": options.peer is not None, "onnxruntime": options.onnxruntime}
        ours = options.precision.split(",")
        ours += [precision + LOW for precision in ours if options.low_memory]
        tools = [*ours, *(name for name in PEERS if others[name])]
        files = exported(weights, folder, options.photos) if options.onnxruntime else {}
        if options.prepare:
            return 0
        pictures: dict[tuple[str, str], Path] = {}
        for photo in options.photos:
            entries: dict[str, dict[str, Any]] = {}
            for number, tool in ((number, tool) for number in range(options.rounds) for tool in tools):
                print(f"{photo.name}: {tool} ...", file=sys.stderr)
                out = pictures[photo.name, tool] = folder / f"{photo.stem}-{tool.replace(' ', '-')}.png"
                if tool == "peer":
                    entry = measure_peer(options.peer, photo, out, weights)
                elif tool == "onnxruntime":
                    entry = measure_onnxruntime(files[photo], photo, out)
                else:
                    entry = measure(photo, out, tool, environment, stages=not options.no_stages and not number)
                if tool in entries:
                    again(entries[tool], entry)
                else:
                    entries[tool] = entry
                    report["rows"].append(entry)
                keep(options.json, report)
            if {"bf16", "fp32"} <= set(tools):
                one, other = (pictures[photo.name, each] for each in ("bf16", "fp32"))
                report["psnr_bf16_to_fp32"][photo.name] = alike(one, other)
        compare(report["rows"], pictures)
    show(report)
    if options.page:
        write_page(options.page, tables(report))
    keep(options.json, report)
    if options.plot:
        lengths = {f"{entry['photo'][:24]} {entry['tool']}": entry["stages"] for entry in report["rows"]}
        bars(options.plot, "From process start to the written file", "s", lengths)
    return 0
