"""Bad lines to the weights: servers that answer as none should, proxies of every kind, caches that will not take it.

Each case fetches one file in a process of its own. It comes as it should be, or an error says why not and what to do;
nothing else is ever taken for it, left in the cache as it, or waited for without end.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from restorer.bench.survive import caches, proxies, sandbox
from restorer.bench.survive.asking import HUB, Case, ask
from restorer.bench.survive.badhub import CONTENT, WAYS, bad_hub
from restorer.bench.survive.counting import Tally
from restorer.bench.survive.sandbox import Died, Job, Marker

if TYPE_CHECKING:
    from restorer.bench.survive.campaign import Plan

SECONDS, MEMORY = sandbox.LIMIT_SECONDS, 3 * 2**30


def servers(port: int) -> list[Case]:
    """Return a case for every way in which a server answers, as the Hub and as a mirror."""
    cases = []
    for way in WAYS:
        endpoint = f"http://127.0.0.1:{port}/{way}"
        environment = {"HF_ENDPOINT": endpoint, "NO_PROXY": "127.0.0.1,localhost"}
        name = f"that answers: {way}"
        mirror = f"{endpoint}/files/thing.pth"
        wanted = "fetched" if way == "sound" else ""
        cases += [
            Case("a bad Hub", f"Hub {name}", HUB, environment, wanted=wanted),
            Case("a bad mirror", f"mirror {name}", mirror, environment, wanted=wanted),
            Case("a bad mirror", f"mirror {name}, size known", mirror, environment, wanted=wanted, size=len(CONTENT)),
        ]
    return cases


def attempt(plan: Plan) -> Tally:
    """Try every server, proxy and cache."""
    tally = Tally("downloads")
    plan.folder.chmod(0o711)  # other users that cases become get through it
    with bad_hub() as hub, proxies.proxy(hub.port) as proxy:
        cases = [*servers(hub.port), *proxies.cases(proxy.port), *caches.cases(hub.port)]
        warm(plan.folder / "warm", hub.port)
        for number, case in enumerate(cases):
            try_case(case, plan.folder / f"net{number}", tally)
    return tally


def warm(folder: Path, port: int) -> None:
    """Load what downloads need into this process, from which others are forked."""
    before = dict(os.environ)
    try:
        for case in (case for case in servers(port) if "sound" in case.name):
            ask(case, folder / case.kind)
    finally:
        os.environ.clear()
        os.environ.update(before)


def try_case(case: Case, folder: Path, tally: Tally) -> None:
    """Try a case in a process of its own, and count it."""
    folder.mkdir(parents=True)

    def one(job: Job, marker: Marker) -> tuple[str, float]:
        marker.begin(job.first)
        return ask(case, folder), marker.age

    for _, answer in sandbox.run([Job(case.name, 0, 0, 1)], one, memory=MEMORY, seconds=SECONDS):
        if isinstance(answer, Died):
            tally.lose(case.kind, case.name, answer.words)
        else:
            tally.add(case.kind, answer[0], case.name, answer[1])
