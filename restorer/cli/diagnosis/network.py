"""Does the Hub answer, and what does a run have to do without where nobody answers?

No network is a note: what is built in restores photos without one.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

from restorer.cli.diagnosis.base import Check, Examination, first_line


class Network(Examination):
    """Asks the Hub whether it is there.

    Args:
        offline: ask nobody.
    """

    group = "Network"

    def __init__(self, offline: bool = False) -> None:
        self.offline = offline

    def look(self) -> Iterator[Check]:
        """Ask first whether anything answers at all, then with the client that downloads."""
        from restorer.storage.folders import hub_endpoint, is_offline
        from restorer.weights.reach import unreachable

        endpoint = hub_endpoint()
        facts: dict[str, Any] = {"endpoint": endpoint}
        if is_offline(self.offline):
            why = "--offline" if self.offline else "HF_HUB_OFFLINE"
            yield self.found("hub", "skipped", f"{endpoint} was not asked: {why}", facts=facts)
            yield from self.out_of_reach()
            return
        remedy = (
            "Weights that are here work without it: use --offline. Behind a proxy set HTTPS_PROXY; for a mirror set "
            "HF_ENDPOINT."
        )
        begin = time.perf_counter()
        if silent := unreachable([endpoint]):
            yield self.found("hub", "note", f"{endpoint} does not answer: {silent[endpoint]}", remedy, facts)
            yield from self.out_of_reach()
            return
        try:
            from huggingface_hub import get_session

            answer = get_session().head(endpoint, timeout=5)
        except Exception as error:  # noqa: BLE001 - the client's errors depend on its version; each is the finding
            reason = first_line(error)
            if "CERTIFICATE" in reason.upper():
                remedy = "Let SSL_CERT_FILE name the certificates of your network."
            yield self.found("hub", "note", f"{endpoint} cannot be used: {reason}", remedy, facts)
            return
        seconds = time.perf_counter() - begin
        facts |= {"status": answer.status_code, "seconds": round(seconds, 3)}
        if answer.status_code >= 500:
            detail = f"{endpoint} answers with the error {answer.status_code}"
            yield self.found("hub", "note", detail, "Try again later; " + remedy[0].lower() + remedy[1:], facts)
        else:
            yield self.found("hub", "ok", f"{endpoint} answers in {seconds:.1f} s", facts=facts)

    def out_of_reach(self) -> Iterator[Check]:
        """Yield the weights of a plain run that are neither here nor to be had now, with the reason, hosts and all."""
        from restorer import weights
        from restorer.cli.diagnosis.weights import Weights
        from restorer.errors import RestorerError

        try:
            tables = weights.tables()
            names = Weights().default_names()
        except (RestorerError, ImportError):  # said with the weights already
            return
        away = weights.missing([tables[name] for name in names], offline=self.offline)
        for reason in dict.fromkeys(absence.reason for absence in away.values()):
            missed = [name for name, absence in away.items() if absence.reason == reason]
            detail = f"{', '.join(missed)}: {reason}; until then the built-in models take over"
            remedy = f"When there is a network: restore models pull {' '.join(missed)}"
            yield self.found("out of reach", "note", detail, remedy, {"missing": missed, "reason": reason})
