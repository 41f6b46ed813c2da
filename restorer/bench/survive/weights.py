"""Bad weights: files that are damaged or made to harm.

Whatever is not what its table says is refused before it is opened; what a user names by its path is read without
running anything in it, or refused in words.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import pickle
import random
import time
import zipfile
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from restorer.bench.survive import sandbox
from restorer.bench.survive.counting import Tally
from restorer.bench.survive.mutating import blind
from restorer.bench.survive.sandbox import Died, Job, Marker
from restorer.errors import HashMismatchError, RestorerError
from restorer.models import REGISTRY
from restorer.weights import FileHeader, Table, fetch, write

if TYPE_CHECKING:
    import torch

    from restorer.bench.survive.campaign import Plan

SLICE, MEMORY = 100, 3 * 2**30
ARGUMENTS = {"num_in_ch": 3, "num_out_ch": 3, "num_feat": 8, "num_conv": 2, "upscale": 2, "act_type": "prelu"}


class Program:
    """Pickles as a call."""

    def __init__(self, function: Callable[..., object], *arguments: object) -> None:
        self.call = (function, arguments)

    def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
        return self.call


@cache
def state() -> dict[str, torch.Tensor]:
    """Return the tensors of a small upscaler, by their upstream names."""
    import torch

    torch.manual_seed(5)
    network = REGISTRY["srvggnet"].build(ARGUMENTS)
    return {key.removeprefix("net."): torch.randn_like(value) for key, value in network.state_dict().items()}


def packed(content: Any, *, old: bool = False) -> bytes:
    """Return what PyTorch writes."""
    import torch

    stream = io.BytesIO()
    torch.save(content, stream, _use_new_zipfile_serialization=not old)
    return stream.getvalue()


def sources(folder: Path) -> dict[str, bytes]:
    """Return sound checkpoints of the same network, as every format has them."""
    from safetensors.torch import save

    network = REGISTRY["srvggnet"].build(ARGUMENTS)
    write(network.state_dict(), folder / "own.safetensors", FileHeader("srvggnet", ARGUMENTS, ""))
    own = (folder / "own.safetensors").read_bytes()
    return {"own": own, "safetensors": save(state()), "zip": packed(state()), "old": packed(state(), old=True)}


# -------------------------------------------------------------------------------------------------- made to harm


def crafted(folder: Path) -> dict[str, Callable[[], bytes]]:
    """Return what makes each file; one that is run leaves a file "executed" in the folder."""
    import torch

    touch = Program(os.system, f"touch '{folder / 'executed'}'")

    def itself() -> bytes:
        content: dict[str, Any] = {**state()}
        content["params_ema"] = content
        return pickle.dumps(content, 2) if not content else packed(content)

    def laughs(kind: type[list[Any]] | type[dict[Any, Any]]) -> bytes:
        inside: Any = state()
        for _ in range(60):
            inside = [inside, inside] if kind is list else {"a": inside, "b": inside}
        return packed({"rest": inside, **state()} if kind is list else inside)

    def deep(levels: int) -> bytes:
        return b"\x80\x02" + b"]" * levels + b"a" * (levels - 1) + b"."

    def zip_bomb() -> bytes:
        stream = io.BytesIO()
        with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
            archive.writestr("archive/data.pkl", b"\x80\x02" + b"N0" * 2**29 + b"N.")
            archive.writestr("archive/version", b"3\n")
        return stream.getvalue()

    def header(text: bytes, body: bytes = b"") -> bytes:
        return len(text).to_bytes(8, "little") + text + body

    def with_value(value: float) -> bytes:
        return packed({key: torch.full_like(tensor, value) for key, tensor in state().items()})

    stretched = {key: torch.zeros(1).expand(2**20, 2**20) for key in state()}
    first = next(iter(state()))
    stranger = {"layout": "restorer", "architecture": "x", "payload_sha256": "0", "arguments": "[" * 9}
    return {
        "runs a program": lambda: packed({"params": state(), "more": touch}),
        "runs a program, old format": lambda: packed({"params": state(), "more": touch}, old=True),
        "runs a program, bare pickle": lambda: pickle.dumps(touch),
        "holds itself": itself,
        "a billion lists": lambda: laughs(list),
        "a billion mappings": lambda: laughs(dict),
        "lists nested 100,000 deep": lambda: deep(100_000),
        "zip bomb": zip_bomb,
        "header nested without end": lambda: header(b'{"a":' + b"[" * 200_000),
        "header of numbers": lambda: header(b"[1, 2, 3]"),
        "header that lies about places": lambda: header(
            json.dumps({"a": {"dtype": "F32", "shape": [2**40], "data_offsets": [0, 2**42]}}).encode()
        ),
        "header with other types": lambda: header(
            json.dumps({"__metadata__": {"layout": "restorer", "architecture": ["x"], "payload_sha256": 7}}).encode()
        ),
        "header of an unknown architecture": lambda: header(json.dumps({"__metadata__": stranger}).encode()),
        "not a number in it": lambda: with_value(float("nan")),
        "infinity in it": lambda: with_value(float("inf")),
        "wrong shapes": lambda: packed({key: torch.zeros(7, 7) for key in state()}),
        "a key is missing": lambda: packed({key: value for key, value in state().items() if key != first}),
        "keys of another network": lambda: packed({f"other.{key}": value for key, value in state().items()}),
        "keys that are numbers": lambda: packed(dict(enumerate(state().values()))),
        "tensors of 4 TB that share a number": lambda: packed(stretched),
        "tensors without content": lambda: packed({key: value.to("meta") for key, value in state().items()}),
        "whole numbers": lambda: packed({key: value.to(torch.int64) for key, value in state().items()}),
        "complex numbers": lambda: packed({key: value.to(torch.complex64) for key, value in state().items()}),
        "sparse tensors": lambda: packed({key: value.to_sparse() for key, value in state().items()}),
        "text": lambda: b"This is a letter.",
        "a web page": lambda: b"<!DOCTYPE html><html>",
        "a pointer of Git LFS": lambda: b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n",
        "nothing": lambda: b"",
        "zeros": lambda: bytes(100_000),
    }  # fmt: skip


# ---------------------------------------------------------------------------------------------------------- trying


class FileTrial:
    """Opens checkpoints in a worker: as a file that is verified, and as one that a user names."""

    def __init__(self, folder: Path, sound: dict[str, bytes], made: dict[str, Callable[[], bytes]]) -> None:
        self._folder, self._sound, self._made = folder, sound, made

    def __call__(self, job: Job, marker: Marker) -> Tally:
        """Try the cases of a job; its kind is a source, or one of those that are made to harm."""
        tally, peak = Tally("weights"), sandbox.Peak()
        for number in range(job.first, job.last):
            if job.kind in self._sound:
                rng = np.random.default_rng((job.seed, number, len(job.kind)))
                data = blind(self._sound[job.kind], rng)
                kind = f"changed bytes ({job.kind})"
            else:
                data, kind = self._made[job.kind](), job.kind
            path = self._folder / f"file{('.pth', '.safetensors')[number % 2]}"
            path.write_bytes(data)
            peak.grown()  # of making the file
            marker.begin(number)
            harm = self._verified(path, data)
            outcome = self._named(path)
            seconds, mib = marker.spent, peak.grown()
            marker.pause()
            if (self._folder / "executed").exists():
                harm = "it was run"
                (self._folder / "executed").unlink()
            if mib > 512 + 8 * len(data) / 2**20:
                harm = f"{mib:.0f} MiB for {len(data)} bytes"
            if harm:
                tally.lose(kind, f"{job.kind}-{job.seed}-{number}", harm)
            else:
                tally.add(kind, outcome, f"{job.kind}-{job.seed}-{number}", seconds, mib)
        return tally

    def _verified(self, path: Path, data: bytes) -> str:
        """Return what is wrong when a table wants another file than this one."""
        for right in self._sound.values():
            if right == data:
                continue
            wanted = hashlib.sha256(right).hexdigest()
            table = Table("thing", "srvggnet", sources=(f"file:{path}",), sha256=wanted)
            try:
                fetch(table, offline=True)
            except HashMismatchError as error:
                if not error.remedy:
                    return "a mismatch without a remedy"
            else:
                return "another file was taken for the right one"
        return ""

    def _named(self, path: Path) -> str:
        """Open a file that nothing says the hash of, and return how it went."""
        table = Table("thing", "srvggnet", arguments=ARGUMENTS, sources=(f"file:{path}",))
        try:
            network = REGISTRY.load(table, path).network
        except RestorerError as error:
            if not error.message or not error.remedy:
                raise AssertionError(f"an error without words or remedy: {error!r}") from error
            return f"refused ({error.kind})"
        import torch

        with torch.inference_mode():
            found = network(torch.zeros(1, 3, 8, 8))
        return "opened" if bool(torch.isfinite(found).all()) else "opened, gives no numbers"


def attempt(plan: Plan) -> Tally:
    """Try what is made to harm, and changed files until the time is up."""
    import torch  # noqa: F401 - so that forked processes need not load it

    tally, begin = Tally("weights"), time.monotonic()
    sound, made = sources(plan.folder), crafted(plan.folder)

    def jobs() -> Iterator[Job]:
        yield from (Job(name, 0, number, number + 1) for number, name in enumerate(made))
        number, names = 0, list(sound)
        random.Random(plan.seed).shuffle(names)
        while time.monotonic() - begin < plan.seconds:
            for name in names:
                yield Job(name, plan.seed, number, number + SLICE)
            number += SLICE

    for job, answer in sandbox.run(jobs(), FileTrial(plan.folder, sound, made), memory=MEMORY):
        if isinstance(answer, Died):
            tally.lose(job.kind, f"{job.kind}-{job.seed}-{answer.number}", answer.words)
        else:
            tally.take(answer)
    return tally
