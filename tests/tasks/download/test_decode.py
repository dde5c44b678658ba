from __future__ import annotations

import hashlib
import io
import random
import struct
import tracemalloc
import zlib

import pytest
from PIL import Image, ImageDraw

from tasks.download.decode import Picture, PictureRefused, decode
from tasks.download.limits import DownloadLimits
from tasks.download.results import Reason
from tests.tasks.download.pictures import BLUE, RED, WHITE, encoded, jpeg, picture, png_that_declares

LIMITS = DownloadLimits()


def opened(stored: Picture) -> Image.Image:
    image = Image.open(io.BytesIO(stored.image))
    image.load()
    return image


def close(found: object, wanted: tuple[int, int, int], by: int = 12) -> bool:
    assert isinstance(found, tuple)
    return all(abs(a - b) <= by for a, b in zip(found, wanted, strict=True))


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP"])
def test_what_needs_nothing_is_stored_as_it_came(form: str):
    data = encoded(picture(), form)
    stored = decode(data, "", LIMITS)
    assert stored.image == data
    assert stored.sha256 == hashlib.sha256(data).hexdigest()
    assert (stored.width, stored.height) == (64, 48)


@pytest.mark.parametrize(
    ("image", "form", "options"),
    [
        (picture(), "GIF", {}),
        (picture(), "BMP", {}),
        (picture(), "AVIF", {}),
        (picture(mode="CMYK"), "JPEG", {}),
        (picture(mode="P"), "PNG", {}),
        (picture(mode="RGBA"), "PNG", {}),
    ],
    ids=lambda value: value.mode if isinstance(value, Image.Image) else str(value),
)
def test_other_forms_become_rgb_jpegs(image: Image.Image, form: str, options: dict[str, object]):
    data = encoded(image, form, **options)
    stored = decode(data, "", LIMITS)
    assert stored.sha256 == hashlib.sha256(data).hexdigest()
    result = opened(stored)
    assert (result.format, result.mode, result.size) == ("JPEG", "RGB", (64, 48))
    # CMYK has no exact red.
    assert close(result.getpixel((10, 20)), RED, by=40)
    assert close(result.getpixel((54, 20)), BLUE, by=40)


def test_gray_becomes_rgb():
    for mode in ("L", "1", "LA"):
        result = opened(decode(encoded(picture(mode=mode), "PNG"), "", LIMITS))
        assert result.mode == "RGB"


def test_sixteen_bits_of_gray_are_scaled_not_cut():
    deep = Image.new("I;16", (32, 32))
    deep.putdata([0x8000 if n % 32 < 16 else 0x4000 for n in range(32 * 32)])
    result = opened(decode(encoded(deep, "PNG"), "", LIMITS))
    assert close(result.getpixel((4, 16)), (128, 128, 128), by=4)
    assert close(result.getpixel((28, 16)), (64, 64, 64), by=4)


def test_transparency_is_laid_on_white():
    image = picture(mode="RGBA")
    ImageDraw.Draw(image).rectangle((0, 0, 31, 47), fill=(0, 0, 0, 0))
    palette = picture().quantize(8)
    gray = Image.new("LA", (64, 48), (0, 0))
    for data in (
        encoded(image, "PNG"),
        encoded(image, "WEBP", lossless=True),
        encoded(palette, "PNG", transparency=palette.getpixel((0, 0))),
        encoded(palette, "GIF", transparency=palette.getpixel((0, 0))),
        encoded(gray, "PNG"),
        encoded(picture(), "PNG", transparency=RED),
    ):
        assert close(opened(decode(data, "", LIMITS)).getpixel((10, 20)), WHITE)


@pytest.mark.parametrize("turn", range(1, 9))
@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP"])
def test_exif_orientation_is_applied(form: str, turn: int):
    # What a camera stores when the upright picture is red on the left, blue on the right, 64 x 48.
    undo = {
        1: None, 2: Image.Transpose.FLIP_LEFT_RIGHT, 3: Image.Transpose.ROTATE_180, 4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE, 6: Image.Transpose.ROTATE_90, 7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }[turn]  # fmt: skip
    upright = picture()
    ImageDraw.Draw(upright).rectangle((0, 0, 63, 9), fill=WHITE)  # up is where white is
    exif = Image.Exif()
    exif[0x0112] = turn
    data = encoded(upright.transpose(undo) if undo is not None else upright, form, exif=exif)
    stored = decode(data, "", LIMITS)
    assert (stored.width, stored.height) == (64, 48)
    result = opened(stored)
    assert result.size == (64, 48)
    assert result.getexif().get(0x0112, 1) == 1
    assert close(result.getpixel((10, 30)), RED, by=30)
    assert close(result.getpixel((54, 30)), BLUE, by=30)
    assert close(result.getpixel((30, 3)), WHITE, by=30)


@pytest.mark.filterwarnings("ignore:Corrupt EXIF")
def test_broken_exif_does_not_cost_the_picture():
    data = encoded(picture(), "JPEG", exif=b"Exif\x00\x00MM\x00*\xff\xff\xff\xff\xff")
    assert opened(decode(data, "", LIMITS)).size == (64, 48)


def test_metadata_does_not_survive_re_encoding():
    exif = Image.Exif()
    exif[0x0112] = 3
    exif[0x010E] = "home of somebody"
    stored = decode(encoded(picture(), "JPEG", exif=exif, comment=b"secret"), "", LIMITS)
    assert b"somebody" not in stored.image
    assert b"secret" not in stored.image


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "GIF"])
@pytest.mark.parametrize("size", [(1200, 600), (600, 1200), (513, 900)])
def test_large_pictures_are_shrunk_to_their_shortest_side(form: str, size: tuple[int, int]):
    stored = decode(encoded(picture(size), form), "", LIMITS)
    assert (stored.width, stored.height) == size
    result = opened(stored)
    assert (result.format, result.mode, min(result.size)) == ("JPEG", "RGB", 512)
    assert result.width / result.height == pytest.approx(size[0] / size[1], rel=0.01)


@pytest.mark.parametrize(
    ("mode", "form"), [("CMYK", "JPEG"), ("L", "JPEG"), ("P", "PNG"), ("RGBA", "PNG"), ("L", "PNG")]
)
def test_large_pictures_of_other_modes(mode: str, form: str):
    result = opened(
        decode(encoded(picture((1400, 1000), mode), form), "", DownloadLimits(stored_shortest_side=100))
    )
    assert (result.mode, result.size) == ("RGB", (140, 100))
    left, right = result.getpixel((20, 50)), result.getpixel((120, 50))
    assert left != right


def test_multi_picture_jpegs_of_phones_are_read():
    data = encoded(picture(), "MPO", save_all=True, append_images=[picture((32, 32))])
    result = opened(decode(data, "", LIMITS))
    assert (result.size, result.format) == ((64, 48), "JPEG")
    assert close(result.getpixel((10, 20)), RED)


def test_shrunk_sideways_picture():
    exif = Image.Exif()
    exif[0x0112] = 6
    stored = decode(encoded(picture((1200, 600)), "JPEG", exif=exif), "", LIMITS)
    assert (stored.width, stored.height) == (600, 1200)
    assert opened(stored).size == (512, 1024)


def test_scaled_decoding_stays_close_to_the_whole():
    image = Image.effect_mandelbrot((1600, 1600), (-2, -1.5, 1, 1.5), 100).convert("RGB")
    data = encoded(image, "JPEG", quality=90)
    limits = DownloadLimits(stored_shortest_side=384)
    got = opened(decode(data, "", limits))
    full = Image.open(io.BytesIO(data)).resize((384, 384), Image.Resampling.BICUBIC)
    difference = [abs(a - b) for a, b in zip(got.tobytes(), full.tobytes(), strict=True)]
    assert sum(difference) / len(difference) < 2


def test_first_frame_of_animations():
    frames = [Image.new("RGB", (64, 48), colour) for colour in (RED, BLUE, WHITE)]
    for form in ("GIF", "WEBP", "PNG"):
        data = encoded(frames[0], form, save_all=True, append_images=frames[1:])
        assert close(opened(decode(data, "", LIMITS)).getpixel((9, 9)), RED)


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
@pytest.mark.parametrize("side", [30_000, 12_000, 9_000, 8_001])
def test_declared_pixels_are_refused_before_any_memory_is_spent(side: int):
    tracemalloc.start()
    with pytest.raises(PictureRefused) as refused:
        decode(png_that_declares(side, side), "", LIMITS)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert refused.value.reason == Reason.TOO_MANY_PIXELS
    assert peak < 5_000_000


@pytest.mark.parametrize(
    ("data", "reason", "what"),
    [
        (b"", Reason.NOT_AN_IMAGE, "nothing"),
        (b"<!doctype HTML><title>404</title>", Reason.NOT_AN_IMAGE, "HTML"),
        (b"\xef\xbb\xbf\n <HTML>", Reason.NOT_AN_IMAGE, "HTML"),
        (b"<?xml version='1.0'?><Error>AccessDenied</Error>", Reason.NOT_AN_IMAGE, "XML"),
        (b'{"message": "no"}', Reason.NOT_AN_IMAGE, "JSON"),
        (b"Not found", Reason.NOT_AN_IMAGE, "text"),
        (b"%PDF-1.7", Reason.NOT_AN_IMAGE, "PDF"),
        (b"PK\x03\x04....", Reason.NOT_AN_IMAGE, "ZIP"),
        (b"\x00\x00\x00\x18ftypmp42\x00\x00\x00\x00isommp42", Reason.NOT_AN_IMAGE, "MP4"),
        (b"\x1aE\xdf\xa3", Reason.NOT_AN_IMAGE, "WebM"),
        (b"RIFF\x00\x00\x00\x00WAVE", Reason.NOT_AN_IMAGE, "RIFF"),
        (b"\x00\x01\x02\x03", Reason.NOT_AN_IMAGE, "unknown"),
        (b"<svg xmlns='x'/>", Reason.UNSUPPORTED_FORMAT, "SVG"),
        (b"<?xml version='1.0'?><!-- x --><svg/>", Reason.UNSUPPORTED_FORMAT, "SVG"),
        (b"\x00\x00\x00\x18ftypheic\x00\x00\x00\x00mif1heic", Reason.UNSUPPORTED_FORMAT, "HEIC"),
        (b"II*\x00\x08\x00\x00\x00", Reason.UNSUPPORTED_FORMAT, "TIFF"),
        (b"\x00\x00\x01\x00\x01\x00", Reason.UNSUPPORTED_FORMAT, "ICO"),
        (b"\xff\x0a\x00", Reason.UNSUPPORTED_FORMAT, "JPEG XL"),
        (b"8BPS\x00\x01", Reason.UNSUPPORTED_FORMAT, "PSD"),
        (b"\xff\xd8\xff\xe0garbage", Reason.TRUNCATED_IMAGE, "JPEG"),
        (jpeg()[:20] + bytes(3000), Reason.UNDECODABLE_IMAGE, "JPEG"),
        (b"BM" + bytes(50), Reason.UNDECODABLE_IMAGE, "BMP"),
        (b"GIF89a", Reason.UNDECODABLE_IMAGE, "GIF"),
        (jpeg()[:-400], Reason.TRUNCATED_IMAGE, "JPEG"),
        (encoded(picture(), "GIF")[:-40], Reason.TRUNCATED_IMAGE, "GIF"),
        (encoded(picture(), "BMP")[:-400], Reason.TRUNCATED_IMAGE, "BMP"),
        (encoded(picture((3, 3)), "PNG"), Reason.TOO_SMALL, "3 x 3"),
        (encoded(picture((900, 20)), "PNG"), Reason.TOO_ELONGATED, "900 x 20"),
    ],
)
def test_refusals(data: bytes, reason: Reason, what: str):
    with pytest.raises(PictureRefused) as refused:
        decode(data, "", LIMITS)
    assert refused.value.reason == reason, refused.value.detail
    assert what in refused.value.detail


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "GIF", "BMP", "AVIF"])
def test_cut_files_never_pass(form: str):
    data = encoded(Image.effect_noise((64, 48), 60).convert("RGB"), form)
    for keep in (0.9, 0.5, 0.2):
        with pytest.raises(PictureRefused) as refused:
            decode(data[: int(len(data) * keep)], "", LIMITS)
        assert refused.value.reason in {Reason.TRUNCATED_IMAGE, Reason.UNDECODABLE_IMAGE}


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "GIF", "BMP", "AVIF"])
def test_damaged_files_are_refused_or_read_and_nothing_else(form: str):
    rng = random.Random(form)
    whole = encoded(picture(), form)
    outcomes = set()
    for _ in range(150):
        data = bytearray(whole)
        for _ in range(rng.choice((1, 3, 20))):
            data[rng.randrange(len(data))] = rng.randrange(256)
        if rng.random() < 0.2:
            at = rng.randrange(len(data))
            data[at:at] = rng.randbytes(rng.randrange(30))
        try:
            outcomes.add(opened(decode(bytes(data), "", LIMITS)).mode)
        except PictureRefused as refused:
            outcomes.add(refused.reason)
    assert outcomes <= {"RGB", *Reason}
    assert len(outcomes) > 1


def test_jpegs_of_endless_scans_are_refused():
    data = encoded(picture(), "JPEG", progressive=True)
    start = data.rindex(b"\xff\xda")
    assert decode(data, "", LIMITS).image == data
    with pytest.raises(PictureRefused) as refused:
        decode(data[:start] + data[start:-2] * 200 + data[-2:], "", LIMITS)
    assert refused.value.reason == Reason.UNDECODABLE_IMAGE
    assert "scans" in refused.value.detail


def test_png_text_bombs_are_refused():
    def chunk(name: bytes, content: bytes) -> bytes:
        return (
            struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))
        )

    bomb = b"k\x00\x00" + zlib.compress(bytes(80_000_000), 9)
    data = encoded(picture(), "PNG")
    with pytest.raises(PictureRefused) as refused:
        decode(data[:33] + chunk(b"zTXt", bomb) + data[33:], "", LIMITS)
    assert refused.value.reason == Reason.UNDECODABLE_IMAGE
