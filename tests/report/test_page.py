"""The report as a file: self-contained, safe against any name, true to the records."""

from __future__ import annotations

import base64
import hashlib
import io
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from jinja2 import UndefinedError
from PIL import Image, ImageCms

from restorer.errors import OutputExistsError, UnwritableOutputError
from restorer.formatting import duration
from restorer.photo import Photo, photo_from_array
from restorer.record import FaceRecord, Record
from restorer.report import previews
from restorer.report.article import Pictures, article
from restorer.report.previews import Picture, Sizes, around, sizes_for
from restorer.report.templates import render
from restorer.report.writer import Report, place
from tests.support.report_pages import AFTER, BEFORE, failed, page, plain, record

EVIL = "<script>evil()</script>\"><img src=x onerror=evil()>&amp;\u202etxt'{{ style }}"


class Parsed(HTMLParser):
    """All elements of a page, with their attributes and texts."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.inside: dict[str, list[str]] = {}
        self._open: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in ("img", "input", "meta", "link", "br"):
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append(data)
        for tag in set(self._open):
            self.inside.setdefault(tag, []).append(data)

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]

    @property
    def text(self) -> str:
        hidden = "".join(self.inside.get("style", []) + self.inside.get("script", []))
        return "".join(self.texts).replace(hidden, "")


def parsed(path: Path) -> Parsed:
    return Parsed(path.read_text(encoding="utf-8"))


def image(uri: str | None) -> Image.Image:
    """Return the picture in a data URI."""
    assert uri is not None
    assert uri.startswith("data:image/webp;base64,")
    return Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2])))


def colour(uri: str | None) -> tuple[int, ...]:
    """Return the mean colour of the picture in a data URI."""
    return tuple(np.asarray(image(uri).convert("RGB")).mean(axis=(0, 1)).round().astype(int).tolist())


# --------------------------------------------------------------------------------------------------------- templates


def shown(**changes: Any) -> str:
    """Return the part of a page about a photo without pictures."""
    return article(1, record(faces=[], **changes), Pictures(), sizes_for(1))


@given(text=st.text(min_size=1))
def test_no_text_becomes_markup(text: str) -> None:
    plain_page, parser = Parsed(shown(warnings=["x"])), Parsed(shown(warnings=[text], status=text, model=text))
    assert [tag for tag, _ in parser.elements] == [tag for tag, _ in plain_page.elements]
    assert [set(attributes) for _, attributes in parser.elements] == [set(each) for _, each in plain_page.elements]
    clean = text.encode("utf-8", "backslashreplace").decode().replace("\0", "\ufffd").replace("\r\n", "\n")
    assert "".join(parser.inside["li"]).replace("\r\n", "\n") == clean


def test_what_is_filled_in_is_not_filled_again() -> None:
    assert "{{ number }} {% raw %}" in shown(warnings=["{{ number }} {% raw %}"])


def test_what_no_file_can_hold_is_spelled_out() -> None:
    assert "<li>\\udcff\ufffd</li>" in shown(warnings=["\udcff\0"])


def test_a_template_without_a_value_is_an_error() -> None:
    with pytest.raises(UndefinedError):
        render("article.html", number=1)


# ------------------------------------------------------------------------------------------------- the page as a whole


def test_nothing_outside_of_the_file_is_needed(tmp_path: Path) -> None:
    path = page(tmp_path / "report.html", "a.jpg", "b.jpg")
    parser = parsed(path)
    for _tag, attributes in parser.elements:
        for name in ("src", "href", "srcset", "poster", "data", "action", "background"):
            value = attributes.get(name)
            assert value is None or value.startswith(("data:", "#")), value
    assert "url(" not in path.read_text()
    assert "@import" not in path.read_text()
    (policy,) = [meta["content"] for meta in parser.all("meta") if meta.get("http-equiv") == "Content-Security-Policy"]
    digest = base64.b64encode(hashlib.sha256("".join(parser.inside["script"]).encode()).digest()).decode()
    assert policy == f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'sha256-{digest}'"


def test_no_name_and_no_message_becomes_markup(tmp_path: Path) -> None:
    report = Report(tmp_path / "report.html")
    faces = [{"box": [60, 50, 110, 110], "score": 0.9, "restored": False, "reason": EVIL}]
    error = {"kind": EVIL, "message": EVIL, "remedy": EVIL}
    report.add(record(EVIL, output=EVIL, model=EVIL, warnings=[EVIL], faces=faces, device=EVIL,
                      seconds={EVIL: 1.0, "total": 2.0}), plain(BEFORE), plain(AFTER))  # fmt: skip
    report.add(record(EVIL, status="failed", error=error), plain(BEFORE))
    report.add(record(EVIL, status="skipped", reason=EVIL, warnings=[EVIL]), plain(BEFORE), plain(AFTER))
    parser = parsed(report.write())
    assert len(parser.all("script")) == 1
    assert all(str(attributes["src"]).startswith("data:") for attributes in parser.all("img"))
    assert not [name for _, attributes in parser.elements for name in attributes if name.startswith("on")]
    assert "evil()</script>" not in "".join(parser.inside["script"])
    assert parser.text.count("<script>evil()</script>") > 8


def test_names_that_are_no_unicode(tmp_path: Path) -> None:
    report = Report(tmp_path / "report.html")
    report.add(record("caf\udce9\n.jpg"), plain(BEFORE), plain(AFTER))
    assert "caf\\udce9\n.jpg" in parsed(report.write()).text


def test_the_records_words_are_all_there(tmp_path: Path) -> None:
    report = Report(tmp_path / "report.html")
    report.add(record("album/a.jpg", warnings=["The format holds no alpha."]), plain(BEFORE), plain(AFTER))
    report.add(failed())
    report.add(record("c.jpg", status="skipped", reason="done already", faces=[]), plain(BEFORE), plain(AFTER))
    text = parsed(report.write()).text
    for words in (
        "3 photos, before and after",
        "in album",
        "Restored; 1 face by gfpgan-1.4; 1 left as it was; 300 × 200 → 600 × 400 pixels",
        "The format holds no alpha.",
        "60 pixels, score 0.99",
        "25 pixels, score 0.93, not chosen",
        "bad.jpg is truncated.",
        "Copy it again.",
        "Skipped: done already",
        "retinaface-r50",
        "lanczos",
        "ParseNetMask",
        "cpu in bf16",
        "3.2 s",
        "restoring faces",
        "2.0 s",
        "out/album/a.jpg",
    ):
        assert words in text, words
    assert re.search(r"1restored|restored1", text.replace("\n", ""))


def test_figures_of_the_run(tmp_path: Path) -> None:
    report = Report(tmp_path / "report.html")
    for number in range(3):
        report.add(record(f"{number}.jpg"), plain(BEFORE), plain(AFTER))
    report.add(failed())
    html = report.write().read_text()
    figures = dict(re.findall(r"<div><dt>([a-z ]+)</dt><dd>([^<]+)</dd></div>", html.partition("</header>")[0]))
    assert figures == {"restored": "3", "failed": "1", "faces restored": "3", "spent on them": "13 s"}


def test_failures_and_notes_are_linked_at_the_top(tmp_path: Path) -> None:
    report = Report(tmp_path / "report.html")
    report.add(record("a.jpg", warnings=["Often."]), plain(BEFORE), plain(AFTER))
    report.add(failed("b.jpg"))
    report.add(record("c.jpg", warnings=["Often.", "Once."]), plain(BEFORE), plain(AFTER))
    report.add(record("d.jpg"), plain(BEFORE), plain(AFTER))
    parser = parsed(report.write())
    assert [link["href"] for link in parser.all("a")] == ["#photo-2", "#photo-1", "#photo-3", "#photo-3"]
    assert {"photo-1", "photo-2", "photo-3", "photo-4"} <= {str(each.get("id")) for each in parser.all("article")}
    assert "2 photos: Often." in parser.text


def test_without_failures_and_notes_there_is_no_such_list(tmp_path: Path) -> None:
    report = Report(tmp_path / "report.html")
    report.add(record(), plain(BEFORE), plain(AFTER))
    assert parsed(report.write()).all("nav") == []


# ---------------------------------------------------------------------------------------------------------- pictures


def test_a_photo_has_both_pictures_a_slider_and_its_faces(tmp_path: Path) -> None:
    report = Report(tmp_path / "report.html")
    report.add(record(), plain(BEFORE), plain(AFTER, (600, 400)))
    parser = parsed(report.write())
    images = parser.all("img")
    shown = {str(each["alt"]): each for each in images}
    assert list(shown) == [
        "a.jpg, as it was",
        "a.jpg, restored",
        "Face 1 as it was",
        "Face 1 restored",
        "Face 2 as it was",
    ]
    for name, expected in (("as it was", BEFORE), ("restored", AFTER)):
        assert colour(shown[f"a.jpg, {name}"]["src"]) == pytest.approx(expected, abs=4)
        assert colour(shown[f"Face 1 {name}"]["src"]) == pytest.approx(expected, abs=4)
    assert image(shown["a.jpg, as it was"]["src"]).size == (300, 200)
    assert image(shown["a.jpg, restored"]["src"]).size == (600, 400)
    assert (shown["a.jpg, restored"]["width"], shown["a.jpg, restored"]["height"]) == ("600", "400")
    assert all(each["loading"] == "lazy" and each["decoding"] == "async" for each in images)
    (slider,) = parser.all("input")
    assert slider["type"] == "range"
    assert slider["aria-label"] == "How much of a.jpg is shown as it was"


def test_records_and_files_of_a_run_are_enough(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Image.new("RGB", (90, 60), BEFORE).save("a.png")
    Image.new("RGB", (180, 120), AFTER).save("b.png")
    done = Record("a.png", output="b.png", input_size=(90, 60), output_size=(180, 120), model="gfpgan-1.4")
    done.faces.append(FaceRecord((10, 10, 40, 50), ((1, 2),), 0.9, wanted=True, restored=True))
    report = Report(tmp_path / "report.html")
    report.add(done)
    images = parsed(report.write()).all("img")
    assert [colour(each["src"])[0] > 100 for each in images] == [True, False, True, False]


def test_pictures_that_cannot_be_read_stop_nothing(tmp_path: Path) -> None:
    report = Report(tmp_path / "report.html")
    report.add(record(str(tmp_path / "gone.jpg")), after=plain(AFTER))
    (tmp_path / "text.jpg").write_text("no picture")
    report.add(record("b.jpg", output=str(tmp_path / "text.jpg")), before=plain(BEFORE))
    report.add(record(str(tmp_path / "text.jpg"), status="failed", error={"message": "It is text.", "remedy": None}))
    report.add(record("-", output="-"))
    parser = parsed(report.write())
    assert [str(each["alt"]) for each in parser.all("img")] == [
        "gone.jpg, restored", "b.jpg, as it was", "Face 1 as it was", "Face 2 as it was",
    ]  # fmt: skip
    assert "gone.jpg" in parser.text
    assert len(parser.all("article")) == 4


def test_close_ups_are_limited_and_restored_faces_come_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("restorer.report.writer.sizes_for", lambda photos: Sizes(200, 64, 3))
    faces = [
        {"box": [10 * n, 10, 10 * n + 20, 40], "score": 0.9, "restored": n % 2 == 1, "reason": None}
        for n in range(1, 8)
    ]
    report = Report(tmp_path / "report.html")
    report.add(record(faces=faces), plain(BEFORE), plain(AFTER))
    parser = parsed(report.write())
    numbers = re.findall(r"Face (\d) as it was", " ".join(str(each["alt"]) for each in parser.all("img")))
    assert numbers == ["1", "3", "5"]
    assert "And 4 more faces." in parser.text


# ---------------------------------------------------------------------------------------------------------- previews

SMALL = Sizes(100, 40, 5)


def test_large_photos_are_reduced_and_small_ones_stay() -> None:
    large = Picture(plain(BEFORE, (1000, 500))).whole(SMALL)
    assert (large.width, large.height) == (100, 50) == image(large.uri).size
    small = Picture(plain(BEFORE, (30, 20))).whole(SMALL)
    assert (small.width, small.height) == (30, 20)
    strip = Picture(plain(BEFORE, (5000, 2))).whole(SMALL)
    assert (strip.width, strip.height) == (100, 1)


def test_a_part_is_cut_where_it_was_asked_for() -> None:
    pixels = np.zeros((100, 200, 3), np.uint8)
    pixels[20:60, 100:140] = 255
    part = Picture(photo_from_array(pixels)).part((0.5, 0.2, 0.7, 0.6), SMALL)
    assert (part.width, part.height) == (40, 40)
    assert min(colour(part.uri)) > 250


def test_sixteen_bits_and_transparency() -> None:
    deep = np.full((20, 30, 3), 40_000, np.uint16)
    assert colour(Picture(photo_from_array(deep)).whole(SMALL).uri) == pytest.approx((156,) * 3, abs=2)
    alpha = np.full((20, 30), 65_535, np.uint16)
    alpha[:, :15] = 0
    shown = np.asarray(image(Picture(photo_from_array(deep, alpha)).whole(SMALL).uri))
    assert shown.shape == (20, 30, 4)
    assert shown[:, :14, 3].max() == 0
    assert shown[:, 16:, 3].min() == 255


def test_colours_are_those_that_the_profile_means() -> None:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    swapped = profile.replace(b"rXYZ", b"none").replace(b"bXYZ", b"rXYZ").replace(b"none", b"bXYZ")
    photo = plain((200, 30, 30))
    assert colour(Picture(photo).whole(SMALL).uri) == pytest.approx((200, 30, 30), abs=4)
    photo.icc_profile = profile
    assert colour(Picture(photo).whole(SMALL).uri) == pytest.approx((200, 30, 30), abs=4)
    photo.icc_profile = swapped
    assert colour(Picture(photo).whole(SMALL).uri) == pytest.approx((30, 30, 200), abs=6)
    photo.alpha = np.full((200, 300), 255, np.uint8)
    assert colour(Picture(photo).whole(SMALL).uri) == pytest.approx((30, 30, 200), abs=6)
    photo.icc_profile = b"no profile"
    assert colour(Picture(photo).whole(SMALL).uri) == pytest.approx((200, 30, 30), abs=4)


def test_more_photos_have_smaller_pictures() -> None:
    tiers = [sizes_for(count) for count in (1, 40, 41, 150, 151, 600, 601, 100_000)]
    assert [each.side for each in tiers] == sorted((each.side for each in tiers), reverse=True)
    assert len({each.side for each in tiers}) == len(previews.TIERS) + 1
    assert tiers[0] == tiers[1]
    assert tiers[-1] == previews.LEAST


def test_a_hundred_photos_make_a_file_that_can_be_opened_and_kept(tmp_path: Path) -> None:
    """Even strong noise, which no photo is, stays below a megabyte a photo (both pictures) on a page of a hundred."""
    rng = np.random.default_rng(0)
    report = Report(tmp_path / "report.html", photos=100)
    coarse = Image.fromarray(rng.integers(0, 256, (160, 240, 3), np.uint8))
    pixels = np.asarray(coarse.resize((2400, 1600), Image.Resampling.BICUBIC))
    for number in range(2):
        report.add(record(f"{number}.jpg", faces=[]), photo_from_array(pixels), photo_from_array(pixels))
    assert 200_000 < report.write().stat().st_size < 2 * 1_000_000


@given(
    left=st.floats(0, 0.99), top=st.floats(0, 0.99), wide=st.floats(0.01, 1), high=st.floats(0.01, 1),
    width=st.integers(1, 5000), height=st.integers(1, 5000),
)  # fmt: skip
def test_close_ups_are_square_inside_the_photo_and_hold_the_face(
    left: float, top: float, wide: float, high: float, width: int, height: int
) -> None:
    box = (left * width, top * height, min(left + wide, 1) * width, min(top + high, 1) * height)
    x0, y0, x1, y1 = around(box, (width, height))
    assert -1e-9 <= x0 < x1 <= 1 + 1e-9
    assert -1e-9 <= y0 < y1 <= 1 + 1e-9
    side = (x1 - x0) * width
    assert side == pytest.approx((y1 - y0) * height, rel=1e-6)
    longer = max(box[2] - box[0], box[3] - box[1])
    if longer * 1.7 <= min(width, height):
        assert side == pytest.approx(1.7 * longer, rel=1e-6)
        assert x0 * width <= box[0] + 1e-6
        assert x1 * width >= box[2] - 1e-6
        assert y0 * height <= box[1] + 1e-6
        assert y1 * height >= box[3] - 1e-6


# -------------------------------------------------------------------------------------------------------- the file


def test_a_report_may_be_replaced_and_nothing_else(tmp_path: Path) -> None:
    path = page(tmp_path / "deep/er/report.html", "a.jpg")
    before = path.read_text()
    page(path, "b.jpg")
    assert path.read_text() != before
    foreign = tmp_path / "report.html"
    foreign.write_text("<html>mine</html>")
    with pytest.raises(OutputExistsError, match=r"report\.html"):
        Report(foreign)
    (tmp_path / "folder").mkdir()
    with pytest.raises(OutputExistsError):
        Report(tmp_path / "folder")
    assert foreign.read_text() == "<html>mine</html>"
    Report(foreign, overwrite=True).write()
    assert "mine" not in foreign.read_text()


def test_where_it_goes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    results = [tmp_path / "album/a.jpg", tmp_path / "album/deep/b.jpg"]
    assert place(Path("out"), results) == Path("out/report.html")
    assert place(Path("out/a.png"), results[:1]) == Path("out/report.html")
    assert place(None, results) == tmp_path / "album/report.html"
    assert place(None, [Path("album/a.jpg")]) == tmp_path / "album/report.html"
    assert place(None, []) == tmp_path / "report.html"
    (tmp_path / "folder.png").mkdir()
    assert place(Path("folder.png"), results) == Path("folder.png/report.html")
    assert place(Path("out"), results, "2/4") == Path("out/report-2-of-4.html")


def test_a_place_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UnwritableOutputError):
        Report(tmp_path / "file/report.html").write()


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.004, "4 ms"), (0.84, "0.8 s"), (11.6, "12 s"), (200, "3 min 20 s"), (7500, "2 h 5 min")],
)
def test_durations(seconds: float, words: str) -> None:
    assert duration(seconds) == words


def test_the_photos_themselves_are_not_changed() -> None:
    photo: Any = plain(BEFORE, (400, 300))
    before = photo.pixels.copy()
    assert isinstance(photo, Photo)
    Picture(photo).whole(SMALL)
    assert (photo.pixels == before).all()


def test_the_sizes_in_the_documentation() -> None:
    text = (Path(__file__).parents[2] / "docs/report.md").read_text(encoding="utf-8")
    rows = re.findall(r"\| (?:up to (\d+)|more) \| (\d+) px \| (\d+) \| (\d+) px \|", text)
    expected = [(str(most), sizes) for most, sizes in previews.TIERS.items()] + [("", previews.LEAST)]
    assert rows == [(most, str(each.side), str(each.faces), str(each.face)) for most, each in expected]


def test_a_line_about_the_run_stands_once_on_the_page(tmp_path: Path) -> None:
    told = {"No network."}
    report = Report(tmp_path / "report.html", 3, told=told)
    for name in ("a.jpg", "b.jpg", "c.jpg"):
        report.add(record(name, warnings=["No network.", f"Of {name} alone."]), plain(BEFORE), plain(AFTER))
    page = report.write().read_text("utf-8")
    assert page.count("No network.") == 1
    assert page.count("Of a.jpg alone.") == 2  # in the list of what is worth a look, and with the photo
