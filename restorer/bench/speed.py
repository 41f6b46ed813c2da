"""`restore` against upstream's GFP-GAN pipeline, from process start to the written file, on the same weights.

    python -m restorer.bench make_peer FOLDER
    python -m restorer.bench speed PHOTO... --peer FOLDER/bin/python --json speed.json --plot speed.svg

Each photo is restored by both, one after the other, as commands of their own: wall and processor seconds, peak of the
resident memory, seconds by stage. Real weights are used where they are cached or given with --weights, else stand-ins
that both share. Stand-ins cost what real ones do; the faces in the pictures mean nothing then. The detector must be
real, since with stand-ins it would find no faces.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from restorer.bench.tools.running import Finished, Weights, bars, records, restore, run, weight_file

MODEL, PARSER, DETECTOR = "gfpgan-1.4", "parsenet", "retinaface-mobilenet0.25"
NETWORK_STAGES = ("detect", "restore", "mask")
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
    options: dict[str, Any] = {"scale": 2, "precision": precision, "offline": True}
    restorer = Restorer(MODEL, detector=DETECTOR, background="lanczos", **options)
    restorer.components.detector(), restorer.components.face_model(), restorer.components.mask()
    seconds["load"] = time.perf_counter() - begin
    record = restorer.restore_file(photo, out, "PNG").as_dict()
    if record["status"] != "ok":
        raise SystemExit(f"{photo}: {record['error']}")
    seconds |= {key: value for key, value in record["seconds"].items() if key != "total"}
    seconds["upscale"] = seconds.pop("background")
    return {stage: seconds.get(stage, 0.0) for stage in STAGES}


def alike(one: Path, other: Path) -> float:
    """Return the PSNR in dB of two pictures of one size."""
    import numpy as np
    from PIL import Image

    first, second = (np.asarray(Image.open(path).convert("RGB"), np.float64) for path in (one, other))
    error = float(np.mean((first - second) ** 2))
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
    }


def measure_peer(python: Path, photo: Path, out: Path, weights: Weights) -> dict[str, Any]:
    """Run the peer on a photo."""
    script = Path(__file__).parent / "tools/peer.py"
    command = [str(python), str(script), "run", str(photo), str(out), "--scale", "2"]
    for option, name in (("gfpgan", MODEL), ("parsenet", PARSER), ("detector", DETECTOR)):
        command += [f"--{option}", str(weights.files[name])]
    finished = run(command)
    told = json.loads(finished.stdout.splitlines()[-1])
    return row(photo, "peer", finished, told["faces"], told["stages"])


def measure(photo: Path, out: Path, precision: str, environment: dict[str, str], *, stages: bool) -> dict[str, Any]:
    """Run the `restore` command on a photo, and a second time with a clock for each stage where that is wanted."""
    options = ("--model", MODEL, "--detector", DETECTOR, "--background", "lanczos", "--scale", "2")
    finished = restore([photo], out, environment, *options, "--precision", precision)
    record: Any = records(finished)[0]
    if record["status"] != "ok":
        raise SystemExit(f"{photo}: {record['error']}")
    seconds = {key: value for key, value in record["seconds"].items() if key != "total"}
    seconds["start and load"] = finished.seconds - sum(seconds.values())
    if stages:
        inner = [sys.executable, "-m", "restorer.bench", "speed", str(photo), "--staged", str(out), precision]
        seconds = json.loads(run(inner, environment).stdout.splitlines()[-1])
    return row(photo, precision, finished, sum(face["restored"] for face in record["faces"]), seconds)


def prepare(given: Sequence[str], peer: Path | None, folder: Path) -> Weights:
    """Find or make the weights."""
    weights = Weights(dict(weight_file(text) for text in given), folder)
    if not weights.find(DETECTOR):
        raise SystemExit(
            f"The measurement needs the real weights of {DETECTOR}.\n"
            f"`restore models pull {DETECTOR}` fetches them, or give a file with --weights {DETECTOR}=FILE."
        )
    missing = [name for name in (MODEL, PARSER) if not weights.find(name)]
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
    print(f"{'':46}{'seconds':>9}{'cpu s':>8}{'MiB':>7}{'faster':>8}{'memory':>8}{'rest':>7}{'dB':>7}")
    for entry in rows:
        ratios = f"{'':16}"
        if "faster" in entry:
            ratios = f"{entry['faster']:7.2f}x{entry['memory']:8.2f}"
        rest = f"{entry['rest']:7.1%}" if "rest" in entry else f"{'':7}"
        likeness = f"{entry['psnr_to_peer']:7.1f}" if "psnr_to_peer" in entry else ""
        label = f"{entry['photo'][:30]} {entry['tool']} ({entry['faces']} faces)"
        print(
            f"{label:46}{entry['seconds']:9.2f}{entry['processor_seconds']:8.1f}{entry['peak_mib']:7.0f}"
            f"{ratios}{rest}{likeness}"
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
        "faster and memory are against the peer's run on the same photo; rest is the share of align, paste, upscale,\n"
        "read and write; dB is the whole picture's PSNR beside the peer's, whose alignment and pasting differ."
    )


def tables(report: dict[str, Any]) -> str:
    """Return the figures as Markdown tables."""
    lines = [
        "| photo | run | faces | seconds | times as fast | processor seconds | peak MiB | of the peer's | rest |",
        "|---|---|--:|--:|--:|--:|--:|--:|--:|",
    ]
    for entry in report["rows"]:
        faster = f"{entry['faster']:.2f}" if "faster" in entry else ""
        memory = f"{entry['memory']:.2f}" if "memory" in entry else ""
        rest = f"{entry['rest']:.1%}" if "rest" in entry else ""
        lines.append(
            f"| {entry['photo']} | {entry['tool']} | {entry['faces']} | {entry['seconds']:.1f} | {faster} | "
            f"{entry['processor_seconds']:.1f} | {entry['peak_mib']:.0f} | {memory} | {rest} |"
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


def compare(rows: list[dict[str, Any]]) -> None:
    """Put each run beside the peer's of the same photo."""
    for entry in rows:
        peer = [other for other in rows if other["tool"] == "peer" and other["photo"] == entry["photo"]]
        if entry["tool"] != "peer":
            if "import" in entry["stages"]:
                total = sum(entry["stages"].values())
                outside = ("import", "load", *NETWORK_STAGES)
                entry["rest"] = sum(v for k, v in entry["stages"].items() if k not in outside) / total
            if peer:
                entry["faster"] = peer[0]["seconds"] / entry["seconds"]
                entry["memory"] = entry["peak_mib"] / peer[0]["peak_mib"]


def main(arguments: Sequence[str]) -> int:
    """Print the table; write JSON and a plot."""
    parser = argparse.ArgumentParser(
        prog="python -m restorer.bench speed", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("photos", nargs="+", type=Path)
    parser.add_argument("--peer", type=Path, help="Python of the environment that make_peer made")
    parser.add_argument("--weights", action="append", default=[], metavar="NAME=FILE", help="weights of a table")
    parser.add_argument("--precision", default="bf16,fp32", help="one or both (default bf16,fp32)")
    parser.add_argument("--no-stages", action="store_true", help="leave out the second run that clocks each stage")
    parser.add_argument("--no-networks", action="store_true", help="leave out the measurement of the networks alone")
    parser.add_argument("--json", type=Path, help="file for the figures")
    parser.add_argument("--plot", type=Path, help="file for a plot (SVG)")
    parser.add_argument("--page", type=Path, help="Markdown page to put the figures into, such as docs/performance.md")
    parser.add_argument("--work", type=Path, help="folder for weights and pictures (default: a temporary one)")
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
        for photo in options.photos:
            pictures: dict[str, Path] = {}
            for tool in (*options.precision.split(","), *(["peer"] if options.peer else [])):
                print(f"{photo.name}: {tool} ...", file=sys.stderr)
                pictures[tool] = folder / f"{photo.stem}-{tool}.png"
                if tool == "peer":
                    entry = measure_peer(options.peer, photo, pictures[tool], weights)
                else:
                    entry = measure(photo, pictures[tool], tool, environment, stages=not options.no_stages)
                report["rows"].append(entry)
            for entry in report["rows"]:
                if entry["photo"] == photo.name and entry["tool"] != "peer" and "peer" in pictures:
                    entry["psnr_to_peer"] = alike(pictures[entry["tool"]], pictures["peer"])
            if {"bf16", "fp32"} <= set(pictures):
                report["psnr_bf16_to_fp32"][photo.name] = alike(pictures["bf16"], pictures["fp32"])
        compare(report["rows"])
    show(report)
    if options.page:
        write_page(options.page, tables(report))
    if options.json:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(json.dumps(report, indent=1) + "\n")
    if options.plot:
        lengths = {f"{entry['photo'][:24]} {entry['tool']}": entry["stages"] for entry in report["rows"]}
        bars(options.plot, "From process start to the written file", "s", lengths)
    return 0
