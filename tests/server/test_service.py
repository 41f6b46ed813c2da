"""The work behind the page, without HTTP: photos, jobs in fair order, results, bounds, an end that leaves nothing."""

from __future__ import annotations

import io
import shutil
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from restorer import Restorer
from restorer.errors import RestorerError, UnknownOptionError, UnknownTableError, UnreadablePhotoError, UsageError
from restorer.faces.mask import LandmarkMask
from restorer.models.base import Face
from restorer.options import Options
from restorer.server import choices
from restorer.server.jobs import FairQueue, Job, Upload
from restorer.server.limits import Limits
from restorer.server.memory import Memory
from restorer.server.names import clean
from restorer.server.refusals import BusyError, NotReadyError, TooLargeError, UnknownThingError
from restorer.server.remembering import RememberingRestorer, _Detector
from restorer.server.service import Service, result_of
from restorer.server.storeroom import Storeroom, remove_abandoned
from restorer.upscaling.lanczos import Lanczos
from tests.server.conftest import BROKEN, PLAIN, Start, picture
from tests.support.parts import Colour

FACES = Options(background="lanczos", offline=True, always=True)


def send(service: Service, data: bytes | None = None, name: str = "a.png", client: str = "me") -> Upload:
    return service.receive(io.BytesIO(picture() if data is None else data), name, client)


def done(service: Service, upload: Upload, **given: object) -> Job:
    job = service.submit(upload, given)
    assert job.over.wait(60)
    assert job.state == "done", job.record
    return job


class Gate:
    """Holds up the enlarging of photos until it is opened."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.reached, self.open = threading.Event(), threading.Event()
        plain = Lanczos.upscale

        def upscale(part: Lanczos, *given: object, **more: object) -> np.ndarray:
            self.reached.set()
            assert self.open.wait(60)
            return plain(part, *given, **more)  # type: ignore[arg-type]

        monkeypatch.setattr(Lanczos, "upscale", upscale)


def test_a_result_is_what_the_command_writes(start: Start, tmp_path: Path) -> None:
    service, data = start(), picture(format="JPEG")
    job = done(service, send(service, data, "old photo.jpg"), scale="4", quality=90)
    (tmp_path / "old photo.jpg").write_bytes(data)
    record = Restorer("none", background="lanczos", offline=True, scale=4.0, quality=90).restore_file(
        tmp_path / "old photo.jpg", tmp_path / "by command.jpg"
    )
    assert record.status == "ok"
    assert result_of(job).read_bytes() == (tmp_path / "by command.jpg").read_bytes()
    assert job.name == "old photo_restored.jpg"
    assert job.command == ("restore 'old photo.jpg' --model none --scale 4 --background lanczos --quality 90 --offline")


def test_what_is_remembered_gives_the_same_bytes_without_any_network(start: Start, two_faces: Colour) -> None:
    data = picture((160, 100))
    service, other = start(FACES), start(FACES)
    upload = send(service, data)
    done(service, upload)
    worked = len(two_faces.batches)
    again = done(service, upload, strength=0.5)
    assert len(two_faces.batches) == worked == 2
    fresh = done(other, send(other, data), strength=0.5)
    assert len(two_faces.batches) == 2 * worked
    assert result_of(again).read_bytes() == result_of(fresh).read_bytes()
    one = done(service, upload, faces="1", strength="0.25")
    assert one.record is not None
    assert [face.restored for face in one.record.faces] == [True, False]
    assert len(two_faces.batches) == 2 * worked


def test_a_photo_is_looked_at_before_it_is_restored(start: Start, two_faces: Colour) -> None:
    service = start(FACES)
    heard: list[dict[str, object]] = []
    looked = threading.Event()

    def listen(kind: str, facts: dict[str, object]) -> None:
        heard.append({"kind": kind, **facts})
        if facts.get("looked"):
            looked.set()

    service.exchange.listen("me", listen)
    upload = send(service, picture((160, 100)))
    assert looked.wait(60)
    assert Image.open(upload.thumbnail).size == (160, 100)
    assert upload.faces is not None
    assert [face["number"] for face in upload.faces] == [1, 2]
    assert upload.grey is False
    assert heard[-1]["size"] == [160, 100]


def test_clients_take_turns() -> None:
    queue = FairQueue()

    def job(client: str, name: str) -> Job:
        return Job(Upload(client, name, Path(), 0), PLAIN, "")

    for each in [job("a", "1"), job("a", "2"), job("a", "3"), job("b", "4"), job("c", "5"), job("b", "6")]:
        queue.put(each)
    wanted = ["1", "4", "5", "2", "6", "3"]
    assert [each.upload.name for each in queue.order()] == wanted
    taken = [queue.take() for _ in wanted]
    assert [each.upload.name for each in taken if each] == wanted
    queue.close()
    assert queue.take() is None


def test_what_waits_can_be_cancelled_and_what_is_in_hand_too(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    gate = Gate(monkeypatch)
    service = start()
    first, second = (service.submit(send(service)) for _ in range(2))
    assert gate.reached.wait(60)
    service.cancel(second)
    assert second.state == "cancelled"
    service.cancel(first)
    gate.open.set()
    assert first.over.wait(60)
    assert first.state == "cancelled"
    with pytest.raises(NotReadyError, match="cancelled"):
        result_of(first)
    assert not list(first.upload.path.parent.glob("**/result*"))
    assert done(service, first.upload).state == "done"


def test_newer_wishes_for_a_photo_replace_older_ones(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    gate = Gate(monkeypatch)
    service = start()
    upload = send(service)
    jobs = [service.submit(upload, {"scale": scale}, instead=True) for scale in (2, 3, 4)]
    gate.open.set()
    assert all(job.over.wait(60) for job in jobs)
    assert [job.state for job in jobs] == ["cancelled", "cancelled", "done"]


def test_no_more_is_taken_on_than_is_allowed(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    gate = Gate(monkeypatch)
    service = start(limits=Limits(photos=4, waiting=3, waiting_each=2, upload=1_000_000, pixels=100_000))
    mine, other = send(service), send(service, client="other")
    for _ in range(2):
        service.submit(mine)
    with pytest.raises(BusyError) as busy:
        service.submit(mine)
    assert busy.value.seconds is not None
    assert busy.value.seconds >= 1
    service.submit(other)
    with pytest.raises(BusyError):
        service.submit(other)
    gate.open.set()
    with pytest.raises(TooLargeError, match="megapixels"):
        service.submit(mine, {"scale": 16})
    with pytest.raises(TooLargeError, match="larger than"):
        send(service, b"\x89PNG\r\n\x1a\n" + bytes(1_100_000))
    with pytest.raises(TooLargeError, match="megapixels"):
        send(service, picture((500, 400)))
    send(service), send(service)
    with pytest.raises(BusyError, match="too many photos"):
        send(service)


def test_room_is_given_back(start: Start) -> None:
    service = start(limits=Limits(disk=100_000))
    store = service.album.store
    for number in range(20):
        upload = send(service, picture(seed=number))
        done(service, upload)
        service.forget(upload)
    assert store.bytes <= 100_000
    wanted = 100_000 // len(picture()) + 1
    with pytest.raises(BusyError, match="no room"):
        any(send(service, picture(seed=number)) is None for number in range(wanted * 2))


def test_old_results_of_a_photo_go(start: Start) -> None:
    service = start()
    upload = send(service)
    jobs = [done(service, upload, strength=number / 20) for number in range(12)]
    kept = [job for job in jobs if job.output is not None and job.output.exists()]
    assert jobs[-1] in kept
    assert len(kept) < len(jobs)
    with pytest.raises(UnknownThingError):
        service.job(jobs[0].identity)


def test_a_photo_that_nobody_asks_for_goes(start: Start) -> None:
    service = start(limits=Limits(idle=-1.0))
    upload = send(service)
    done(service, upload)
    send(service, client="other")
    with pytest.raises(UnknownThingError):
        service.album.get(upload.identity)
    deadline = time.monotonic() + 30
    while upload.path.exists():  # until the thread that restored it has let go of it, a moment after it said so
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_what_is_no_picture_is_refused_with_the_reason(start: Start) -> None:
    service = start()
    for data in (b"", b"MZ no picture at all", b"<svg onload=alert(1)>"):
        with pytest.raises(UnreadablePhotoError):
            send(service, data, "a.jpg")
    assert service.album.of("me") == []


def test_a_photo_that_is_broken_inside_fails_alone(start: Start) -> None:
    service = start()
    broken = send(service, BROKEN)
    job = service.submit(broken)
    assert job.over.wait(60)
    assert job.state == "failed"
    assert job.record is not None
    assert job.record.error is not None
    assert job.record.error["remedy"]
    done(service, send(service))


@pytest.mark.parametrize(
    ("given", "error"),
    [
        ({"scael": 4}, UnknownOptionError),
        ({"scale": "many"}, UsageError),
        ({"scale": -1}, UsageError),
        ({"hole": "/etc/passwd"}, UnknownOptionError),
        ({"device": "cuda"}, UnknownOptionError),
        ({"model": "/etc/passwd"}, UsageError),
        ({"background": "../../x.pth"}, UsageError),
        ({"model": "retinaface-r50"}, UsageError),
        ({"detector": "gfpgan"}, (UsageError, UnknownTableError)),
        ({"model": "none", "fidelity": 0.5}, UsageError),
        ({"variants": 64}, UnknownOptionError),
    ],
)
def test_a_request_cannot_ask_for_what_makes_no_sense_or_names_a_file(
    start: Start, given: dict[str, object], error: type[Exception]
) -> None:
    service = start()
    with pytest.raises(error):
        service.submit(send(service), given)


def test_no_option_of_a_request_names_a_file_of_the_machine(tmp_path: Path) -> None:
    """Of whatever there will be: a text that is the path of a file is no value of any option that a request may set."""
    file = tmp_path / "file.png"
    file.write_bytes(picture())
    texts = [name for name, option in choices.offered().items() if option.kind is str]
    assert "model" in texts
    for name in texts:
        with pytest.raises(RestorerError):
            choices.read(PLAIN, {name: str(file)})


def test_results_are_saved_under_a_free_name(start: Start, tmp_path: Path) -> None:
    out = tmp_path / "out"
    service = start(out=out)
    upload = send(service)
    job = done(service, upload)
    assert service.save(job) == service.save(job) == out / "a_restored.png"
    assert service.save(done(service, upload, scale=3)) == out / "a_restored_2.png"
    other = start()
    job = done(other, send(other))
    with pytest.raises(NotReadyError, match="without a folder"):
        other.save(job)


def test_nothing_is_left_when_it_ends(tmp_path: Path) -> None:
    service = Service(PLAIN, parent=tmp_path)
    done(service, send(service))
    folder = service.album.store.folder
    assert folder.stat().st_mode & 0o077 == 0
    waiting = [service.submit(send(service)) for _ in range(5)]
    service.close()
    assert all(job.is_over for job in waiting)
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(BusyError, match="being stopped"):
        send(service)


def test_what_a_killed_server_left_is_removed_by_the_next(tmp_path: Path) -> None:
    living = Storeroom(1000, tmp_path)
    killed = tmp_path / "restore-serve-killed"
    killed.mkdir()
    (killed / "lock").touch()
    (killed / "photo").touch()
    assert remove_abandoned(tmp_path) == [killed]
    assert living.folder.is_dir()
    living.close()


def test_a_refused_file_leaves_nothing_to_be_counted(tmp_path: Path) -> None:
    room = Storeroom(1000, tmp_path)
    for number in range(3):
        with pytest.raises(TooLargeError):
            room.receive(io.BytesIO(bytes(500)), room.folder / str(number) / "photo", 100, str(number))
    assert (room.bytes, len(room._owned)) == (0, 0)
    room.close()


def test_that_a_photo_has_no_face_is_remembered_within_bounds() -> None:
    memory = Memory(5000)
    detector = Detector()
    part = _Detector(detector, memory, ("faces",))
    for level in (0, *range(20), 19):
        assert part.detect(np.full((4, 4, 3), level, np.uint8)) == []
    assert detector.asked == 20
    assert 0 < memory.bytes <= 5000
    assert len(memory) <= 5


class Detector:
    """Finds nothing, and counts how often it is asked."""

    asked = 0

    def detect(self, pixels: np.ndarray) -> list[Face]:
        self.asked += 1
        return []


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        ("holiday.jpg", "holiday.jpg"),
        ("../../etc/passwd", "passwd"),
        ("C:\\Users\\me\\photo.png", "photo.png"),
        ("..", "photo"),
        ("", "photo"),
        (None, "photo"),
        (".bashrc", "bashrc"),
        ("a\0b\n\x1b[31mc.jpg", "ab[31mc.jpg"),
        ("evil\u202egpj.exe", "evilgpj.exe"),
        ('<img src=x onerror="alert(1)">.jpg', "_img src=x onerror=_alert(1)__.jpg"),
        ("nul.png", "_nul.png"),
        ("Großmutter 1931 – Übersee.jpeg", "Großmutter 1931 – Übersee.jpeg"),
        ("祖母.png", "祖母.png"),
    ],
)
def test_names_become_harmless(given: str | None, wanted: str) -> None:
    assert clean(given) == wanted


def test_long_names_keep_their_suffix() -> None:
    assert clean("x" * 500 + ".jpeg").endswith("x.jpeg")
    assert len(clean("x" * 500 + ".jpeg")) <= 120


def test_memory_is_bounded_and_makes_each_thing_once() -> None:
    memory = Memory(100)
    made: list[int] = []

    def make(number: int) -> int:
        made.append(number)
        return number

    for number in (1, 2, 1, 3, 1, 2):
        assert memory.get(number, partial(make, number), lambda _value: 40) == number
    assert made == [1, 2, 3, 2]
    assert memory.bytes <= 100
    assert memory.get("large", lambda: "x", lambda _value: 51) == "x"
    assert len(memory) == 2


def test_what_is_remembered_for_somebody_goes_with_the_last_who_has_it() -> None:
    memory = Memory(1000)

    def asked(key: str, *owners: str) -> None:
        for owner in owners:
            with memory.working_for(owner):
                assert memory.get(key, lambda: key.upper(), lambda _value: 100) == key.upper()

    asked("first", "a")
    asked("both", "a", "b")
    memory.put("nobody's", 1, 100)
    memory.forget("a")
    assert [memory.peek(key) for key in ("first", "both", "nobody's")] == [None, "BOTH", 1]
    memory.forget("b")
    memory.forget("b")
    assert len(memory) == 1
    assert memory.bytes == 100


@given(
    steps=st.lists(
        st.tuples(st.sampled_from(["get", "put", "forget"]), st.integers(0, 5), st.integers(0, 3), st.integers(0, 60))
    )
)
def test_memory_counts_what_it_keeps_whatever_is_asked(steps: list[tuple[str, int, int, int]]) -> None:
    memory = Memory(100)
    alive: dict[int, set[int]] = {}
    for way, key, owner, size in steps:
        if way == "forget":
            memory.forget(str(owner))
            alive = {each: owners - {owner} for each, owners in alive.items()}
            assert all(memory.peek(each) is None for each, owners in alive.items() if not owners)
            continue
        with memory.working_for(str(owner)):
            if way == "get":
                memory.get(key, lambda: "value", lambda _value, size=size: size)  # type: ignore[misc]
            else:
                memory.put(key, "value", size)
        alive.setdefault(key, set()).add(owner)
        assert memory.bytes <= 100
    for owner in range(4):
        memory.forget(str(owner))
    assert (len(memory), memory.bytes) == (0, 0)


def test_nothing_stays_of_photos_that_are_gone(
    start: Start, two_faces: Colour, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A server that runs for weeks has no more of a million photos than of those that are there."""
    memories: list[Memory] = []

    class Seen(Memory):
        def __init__(self, most: int) -> None:
            super().__init__(most)
            memories.append(self)

    monkeypatch.setattr("restorer.server.service.Memory", Seen)
    service = start(FACES)
    first = send(service, picture((160, 100)))
    done(service, first)
    kept = len(memories[0])
    assert kept > 3
    for seed in range(3):
        upload = send(service, picture((160, 100), seed=seed + 1))
        done(service, upload, strength=0.5)
        assert len(memories[0]) > kept
        service.forget(upload)
        _wait(lambda: len(memories[0]) == kept)
    with pytest.raises(RestorerError):
        send(service, b"no photo")
    service.forget(first)
    _wait(lambda: (len(memories[0]), memories[0].bytes, service.album.store.bytes) == (0, 0, 0))


def test_memory_goes_back_to_the_system_after_each_job(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    trimmed: list[str] = []
    monkeypatch.setattr("restorer.server.hands.trim_heap", lambda: trimmed.append(threading.current_thread().name))
    service = start()
    for seed in range(2):
        done(service, send(service, picture(seed=seed)))
    _wait(lambda: trimmed == ["restore", "restore"])


def _wait(reached: Callable[[], bool]) -> None:
    end = time.monotonic() + 60
    while not reached():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_a_drawn_mask_is_drawn_by_what_the_pipeline_knows_of_a_face() -> None:
    """A wrapper that remembers it would be asked for a plain outline, where the command draws around the head."""
    restorer = RememberingRestorer(Memory(1 << 20), model="tiny", offline=True)
    assert isinstance(restorer.components.mask()[0], LandmarkMask)


def test_the_worker_outlives_a_job_whose_files_cannot_be_removed(
    start: Start, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    service, gate = start(), Gate(monkeypatch)
    upload = send(service)
    job = service.submit(upload)
    assert gate.reached.wait(60)
    service.forget(upload)
    plain = shutil.rmtree

    def stuck(path: Path, **more: Any) -> None:
        if upload.identity in str(path):
            raise FileNotFoundError(2, "No such file or directory", str(path))
        plain(path, **more)

    monkeypatch.setattr(shutil, "rmtree", stuck)
    gate.open.set()
    assert job.over.wait(60)
    done(service, send(service))
    assert "No such file or directory" in caplog.text
    assert upload.name in caplog.text


def test_photos_that_are_removed_while_they_are_worked_on_go_once_and_wholly(start: Start) -> None:
    service = start()
    uploads: list[Upload] = []

    def ended(kind: str, facts: dict[str, object]) -> None:
        if kind == "job" and facts["state"] == "done":
            found = [each for each in uploads if each.identity == facts["photo"]]
            threads.append(threading.Thread(target=partial(service.forget, found[0])))
            threads[-1].start()

    threads: list[threading.Thread] = []
    service.exchange.listen("me", ended)
    jobs = []
    for seed in range(40):
        uploads.append(send(service, picture(seed=seed)))
        jobs.append(service.submit(uploads[-1]))
    for job in jobs:
        assert job.over.wait(60)
    done(service, send(service, client="other"))  # the worker lives, and is through with what came before
    for thread in threads:
        thread.join(60)
    for upload in service.album.of("other"):
        service.forget(upload)
    service.close()  # waits until all have been looked at
    assert service.album.store.bytes == 0


def test_a_listener_that_fails_harms_nobody(start: Start, caplog: pytest.LogCaptureFixture) -> None:
    service = start()

    def broken(_kind: str, _facts: dict[str, object]) -> None:
        raise RuntimeError("Event loop is closed")

    service.exchange.listen("me", broken)
    done(service, send(service))
    assert "Event loop is closed" in caplog.text


def drawing(size: tuple[int, int] = (96, 64)) -> bytes:
    stream = io.BytesIO()
    mask = np.zeros((size[1], size[0]), np.uint8)
    mask[20:30, 10:60] = 255
    Image.fromarray(mask).save(stream, "PNG")
    return stream.getvalue()


def test_what_is_drawn_as_damaged_is_filled_as_the_command_does(start: Start, tmp_path: Path) -> None:
    service, data = start(), picture()
    upload = send(service, data, "old.png")
    plain = done(service, upload)
    for wrong in (drawing((20, 20)), picture()[:200], b""):
        with pytest.raises(RestorerError):
            service.draw(upload, wrong)
    assert upload.mask is None
    service.draw(upload, drawing())
    mended = done(service, upload)
    assert mended.command == "restore old.png --model none --mask old_mask.png --background lanczos --offline"
    assert str(tmp_path) not in str(mended.as_dict())
    (tmp_path / "work").mkdir()
    (tmp_path / "work" / "old.png").write_bytes(data)
    (tmp_path / "work" / "old_mask.png").write_bytes(upload.mask.read_bytes() if upload.mask else b"")
    record = Restorer(
        "none", background="lanczos", offline=True, damage=str(tmp_path / "work" / "old_mask.png")
    ).restore_file(tmp_path / "work" / "old.png", tmp_path / "by command.png")
    assert record.status == "ok"
    assert result_of(mended).read_bytes() == (tmp_path / "by command.png").read_bytes()
    assert str(tmp_path).encode() not in result_of(mended).read_bytes()
    assert result_of(mended).read_bytes() != result_of(plain).read_bytes()
    service.draw(upload, None)
    assert result_of(done(service, upload)).read_bytes() == result_of(plain).read_bytes()
    service.forget(upload)
    assert service.album.store.bytes == 0


def test_one_face_is_changed_alone_and_without_any_network(start: Start, two_faces: Colour) -> None:
    service = start(FACES)
    upload = send(service, picture((160, 100)))
    whole = done(service, upload)
    worked = len(two_faces.batches)
    half = done(service, upload, adjust=["2:strength=0.5"])
    assert len(two_faces.batches) == worked
    assert half.command.endswith("--adjust 2:strength=0.5 --always --background lanczos --offline")
    before, after = (np.asarray(Image.open(result_of(job))).astype(int) for job in (whole, half))
    assert np.array_equal(before[:, :140], after[:, :140])
    assert not np.array_equal(before[:, 180:], after[:, 180:])
    # and at once: its part of the picture alone is blended anew, to what the whole comes to
    with service.attended("me"):
        shown = done(service, upload)
        box, file = service.blended(shown, 2, 0.5)
        part, place = np.asarray(Image.open(io.BytesIO(file))), (slice(box[1], box[3]), slice(box[0], box[2]))
        assert part.shape == (box[3] - box[1], box[2] - box[0], 3)
        assert part.shape[0] < after.shape[0]
        assert np.array_equal(part, after[place])
        whole_again = np.asarray(Image.open(io.BytesIO(service.blended(shown, 2, 1.0)[1])))
        assert np.array_equal(whole_again, before[place])
        for face, job in ((3, shown), (2, half)):
            with pytest.raises(NotReadyError):
                service.blended(job, face, 0.5)
    with pytest.raises(RestorerError, match="there is none"):
        service.submit(upload, {"adjust": "2:model=tiny.safetensors"})


def test_a_page_that_is_closed_frees_what_it_waits_for(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    service, gate = start(limits=Limits(away=0.05)), Gate(monkeypatch)
    by_program = service.submit(send(service, client="program"))
    assert gate.reached.wait(60)
    with service.attended("me"):
        with service.attended("me"):  # two windows
            jobs = [service.submit(send(service)) for _ in range(3)]
        assert not jobs[0].over.wait(0.5)
        waiting = service.submit(send(service, client="program"))
    for job in jobs:
        assert job.over.wait(60)
        assert job.state == "cancelled"
    assert not waiting.is_over
    gate.open.set()
    assert by_program.over.wait(60)
    assert waiting.over.wait(60)
    assert result_of(waiting).exists()


def test_a_print_that_has_faded_is_told_at_the_first_look(start: Start) -> None:
    service, looked = start(), threading.Event()
    service.exchange.listen("me", lambda _kind, facts: looked.set() if facts.get("looked") else None)
    rng = np.random.default_rng(3)
    pale = Image.fromarray(rng.integers(110, 170, (40, 60, 3)).astype(np.uint8)).resize((240, 160))
    stream = io.BytesIO()
    pale.save(stream, "PNG")
    upload = send(service, stream.getvalue())
    assert looked.wait(60)
    assert upload.as_dict()["faded"] is True
    assert upload.as_dict()["screened"] is False
