"""`--layers`: a TIFF whose layers two other readers find, and which they show as the result is."""

from __future__ import annotations

import io
import os
import shutil
import struct
import subprocess
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
import tifffile
from PIL import Image

from restorer import Restorer
from restorer.errors import UsageError
from restorer.imaging.layers import Layer, flattened
from restorer.photo import Photo, color, photo_from_array, read_photo, write_photo
from restorer.pipeline.result import Result
from tests.support.faces import smooth_photo
from tests.support.in_process import restore
from tests.support.parts import Colour, Detector, Everything, face_at

psdtags = pytest.importorskip("psdtags")
psd_tools = pytest.importorskip("psd_tools")

FACES = [face_at((90, 100), 30), face_at((210, 130), 36, 12)]


def restored(photo: Photo, **options: Any) -> Result:
    parts: dict[str, Any] = {"detector": Detector(FACES), "background": "lanczos", "mask": Everything()}
    return Restorer(Colour((0.6, -0.2, -0.4)), **parts, layers=True, **{"scale": 1.5, **options}).restore(photo)


def by_psdtags(file: Path, result: np.ndarray) -> list[Layer]:
    """Return the layers as the first reader gives them."""
    found = psdtags.TiffImageSourceData.fromtiff(file)
    layers = []
    for each in found.layers:
        planes = {channel.channelid.value: channel.data for channel in each.channels}
        colours = [planes[number] for number in ((0, 1, 2) if 1 in planes else (0, 0, 0))]
        layers.append(Layer(each.name, each.offset[1], each.offset[0], np.dstack(colours), planes.get(-2)))
    return layers


def as_psd(file: Path) -> bytes:
    """Return the layers of a TIFF as a Photoshop document of their own, for the second reader."""
    with tifffile.TiffFile(file) as tiff:
        page = tiff.pages.first
        data, order = page.tags[37724].value, tiff.byteorder
        height, width = page.shape[:2]
        bits, grey = page.bitspersample, page.samplesperpixel == 1
    assert order == ">", "Photoshop documents are in this order"
    start = data.index(b"8BIM")
    (length,) = struct.unpack_from(">I", data, start + 8)
    info = data[start + 12 : start + 12 + length]
    head = struct.pack(">4sH6xHIIHH", b"8BPS", 1, 1 if grey else 3, height, width, bits, 1 if grey else 3)
    if bits == 8:
        section = struct.pack(">I", length) + info + struct.pack(">I", 0)
    else:
        section = struct.pack(">II", 0, 0) + data[start:]
    flat = struct.pack(">H", 0) + bytes(height * width * (1 if grey else 3) * bits // 8)
    return b"".join([head, struct.pack(">III", 0, 0, len(section)), section, flat])


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("strength", [1.0, 0.6])
def test_the_layers_show_together_what_the_result_is(tmp_path: Path, dtype: type, strength: float) -> None:
    photo = replace(photo_from_array(smooth_photo(220, 300, dtype)), icc_profile=color.adobe_rgb_profile())
    result = restored(photo, strength=strength)
    file = tmp_path / "a.tif"
    assert result.save(file) == []
    again = read_photo(file)
    assert again.pixels.dtype == dtype
    assert (again.pixels == result.image).all()
    assert again.icc_profile == photo.icc_profile
    layers = by_psdtags(file, result.image)
    assert [layer.name for layer in layers] == ["Enlarged", "Face 1", "Face 2"]
    assert layers[0].pixels.shape == result.image.shape
    assert all(layer.pixels.dtype == dtype for layer in layers)
    assert all(layer.mask is not None and layer.mask.any() for layer in layers[1:])
    assert np.abs(flattened(layers).astype(int) - result.image).max() <= 1
    plain = restored(photo, faces="99")
    assert (layers[0].pixels == plain.image).all()  # without its faces it is the plain enlargement


@pytest.mark.slow
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_an_editor_opens_it_with_its_layers_names_and_masks(tmp_path: Path, dtype: type) -> None:
    """Krita shows what the result is, with a mask for each face."""
    xvfb, krita = shutil.which("xvfb-run"), shutil.which("krita")
    if not xvfb or not krita:
        pytest.skip("needs Krita and a virtual screen (krita, xvfb-run)")
    result = restored(photo_from_array(smooth_photo(220, 300, dtype)), strength=0.6)
    assert result.save(tmp_path / "a.tif") == []
    command = [xvfb, "-a", krita, "--export", "--export-filename", "a.kra", "a.tif"]
    others = {name: value for name, value in os.environ.items() if not name.startswith("QT_")}  # OpenCV's own Qt
    surroundings = {**others, "HOME": str(tmp_path), "XDG_RUNTIME_DIR": str(tmp_path)}
    subprocess.run(command, cwd=tmp_path, env=surroundings, check=True, capture_output=True, timeout=300)
    with zipfile.ZipFile(tmp_path / "a.kra") as document:
        shown = np.asarray(Image.open(io.BytesIO(document.read("mergedimage.png"))).convert("RGB"))
        described = document.read("maindoc.xml")
    levels = result.image.astype(float) / (np.iinfo(dtype).max / 255)
    assert np.abs(shown - levels).max() <= 1.5
    every = [element for element in ElementTree.fromstring(described).iter() if element.get("nodetype")]
    mask = ("transparencymask", "Transparency Mask")
    assert [(element.get("nodetype"), element.get("name")) for element in every] == [
        *(("paintlayer", "Face 2"), mask),
        *(("paintlayer", "Face 1"), mask),
        ("paintlayer", "Enlarged"),
    ]
    assert {element.get("visible") for element in every} == {"1"}


def test_pixels_of_a_layer_go_on_beyond_its_mask(tmp_path: Path) -> None:
    result = restored(photo_from_array(smooth_photo(220, 300)))
    face = result.layers[1]
    assert face.mask is not None
    hidden = face.mask == 0
    assert hidden.any()
    assert np.ptp(face.pixels[hidden].astype(int), axis=0).max() < 90  # the colour that the model painted, not black


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("order", ["<", ">"])
def test_either_byte_order_is_read_by_others(tmp_path: Path, dtype: type, order: Any) -> None:
    from restorer.photo.layered import TAG, document_data

    result = restored(photo_from_array(smooth_photo(220, 300, dtype)))
    data = document_data(result.layers, None, grey=False, order=order)
    file = tmp_path / "a.tif"
    tifffile.imwrite(
        file, result.image, byteorder=order, photometric="rgb", extratags=[(TAG, 7, len(data), data, True)]
    )
    layers = by_psdtags(file, result.image)
    assert np.abs(flattened(layers).astype(int) - result.image).max() <= 1
    if order == ">":
        document = psd_tools.PSDImage.open(io.BytesIO(as_psd(file)))
        assert [layer.name for layer in document] == ["Enlarged", "Face 1", "Face 2"]
        for ours, theirs in zip(result.layers, document, strict=True):
            assert (theirs.left, theirs.top) == (ours.left, ours.top)
            assert theirs.size == ours.pixels.shape[1::-1]
            assert theirs.is_visible()
            planes = np.asarray(theirs.numpy("color")) * np.iinfo(dtype).max
            assert np.abs(planes - ours.pixels).max() < 1
            if ours.mask is not None:
                shape = np.asarray(theirs.numpy("mask"))[..., 0] * np.iinfo(dtype).max
                assert np.abs(shape - ours.mask).max() < 1


def test_grey_and_transparent_photos_have_layers_too(tmp_path: Path) -> None:
    grey = photo_from_array(smooth_photo(220, 300)[..., 0])
    result = restored(grey)
    result.save(tmp_path / "grey.tif")
    assert read_photo(tmp_path / "grey.tif").grey
    layers = by_psdtags(tmp_path / "grey.tif", result.image)
    assert np.abs(flattened(layers).astype(int) - result.image).max() <= 1
    alpha = np.linspace(0, 255, 220 * 300).reshape(220, 300).astype(np.uint8)
    seen = restored(photo_from_array(smooth_photo(220, 300), alpha))
    seen.save(tmp_path / "alpha.tif")
    found = psdtags.TiffImageSourceData.fromtiff(tmp_path / "alpha.tif").layers
    planes = {channel.channelid.value: channel.data for channel in found[0].channels}
    assert (planes[-1] == seen.alpha).all()
    assert found.has_transparency
    assert [each.clipping.value for each in found] == [0, 1, 1]


def test_an_aligned_crop_is_a_layer_over_the_enlarged_one() -> None:
    photo = photo_from_array(smooth_photo(100, 100))
    result = restored(photo, aligned=True, strength=0.5)
    assert [layer.name for layer in result.layers] == ["Enlarged", "Face 1"]
    assert np.abs(flattened(result.layers).astype(int) - result.image).max() <= 1


def test_a_format_without_layers_is_refused_or_says_what_it_lacks(tmp_path: Path) -> None:
    photo = photo_from_array(smooth_photo(220, 300))
    with pytest.raises(UsageError, match="layers"):
        Restorer("none", layers=True, format="png")
    lost = restored(photo).save(tmp_path / "a.png")
    assert any("no layers" in line for line in lost)
    assert write_photo(io.BytesIO(), photo.pixels, like=photo, format="TIFF") == []


def test_without_faces_there_is_one_layer() -> None:
    result = Restorer("none", background="lanczos", layers=True).restore(photo_from_array(smooth_photo(40, 50)))
    assert [layer.name for layer in result.layers] == ["Enlarged"]
    assert (result.layers[0].pixels == result.image).all()


def test_the_command_writes_a_tiff_for_any_photo(tmp_path: Path, capsys: Any) -> None:
    photo = tmp_path / "a.png"
    write_photo(photo, smooth_photo(40, 50), like=photo_from_array(smooth_photo(40, 50)), format="PNG")
    plain = ("--model", "none", "--background", "lanczos")
    restore(capsys, str(photo), "--layers", *plain)
    layers = by_psdtags(tmp_path / "a_restored.tif", smooth_photo(40, 50))
    assert [layer.name for layer in layers] == ["Enlarged"]
    assert "done already" in restore(capsys, str(photo), "--layers", *plain).out
    for wrong in (("--format", "jpg"), ("-o", str(tmp_path / "a.jpg"))):
        assert restore(capsys, str(photo), "--layers", *plain, *wrong, code=None).code in (1, 2)
