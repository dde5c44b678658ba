"""Bytes from strangers to the picture that is stored. Blocking, thread-safe; knows nothing of the network.

The decoders only ever see the formats of ``sniff.DECODED``, and only after the header's declared size has
passed the limits: a file of 100 bytes may declare 30,000 x 30,000 pixels.
"""

from __future__ import annotations

import hashlib
import io
import struct
import warnings
import zlib
from dataclasses import dataclass

from PIL import ExifTags, Image

from tasks.download.limits import DownloadLimits
from tasks.download.results import Reason
from tasks.download.sniff import DECODED, IMAGES_NOT_DECODED, sniff

# Re-encoded pictures. At 95 without chroma subsampling the loss is below what the captioner's resize does;
# one format keeps sizes predictable, where PNG takes three times the bytes and ten times the time on
# photographs.
_JPEG_QUALITY = 95
# Passes over the picture that a progressive JPEG may ask for. Encoders make about 10; a file of a few kB can
# ask for thousands, each as costly as a picture.
_MAX_JPEG_SCANS = 100
_START_OF_SCAN = b"\xff\xda"  # the encoded picture itself never contains it

_AS_IT_CAME = frozenset({"JPEG", "PNG", "WEBP"})

# Pillow's decoders meet hostile bytes; this is what they have been seen to raise, or may. MemoryError: for
# sizes that a broken file claims in places other than its header (the header's were checked).
_DECODER_ERRORS = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    BufferError,
    EOFError,
    LookupError,
    MemoryError,
    OSError,
    RuntimeError,
    SyntaxError,
    TypeError,
    ValueError,
    struct.error,
    zlib.error,
)
_TRUNCATED = ("truncated", "unexpected end", "end of file", "not enough data", "premature", "incomplete")

_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_SIDEWAYS = frozenset({5, 6, 7, 8})

# Pillow warns of odd metadata and of sizes that the limits below judge; strangers' files would fill the log.
# Once, for the process: the interpreter's catch_warnings is not safe in threads.
warnings.filterwarnings("ignore", module=r"PIL\.")
warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)


@dataclass(frozen=True)
class Picture:
    """A file that decodes whole, as it is stored."""

    image: bytes
    sha256: str
    width: int
    height: int


class PictureRefused(Exception):
    """The file holds no picture for us, with its reason."""

    def __init__(self, reason: Reason, detail: str) -> None:
        self.reason = reason
        self.detail = detail
        super().__init__(f"{reason}: {detail}")


def decode(body: bytes, content_encoding: str, limits: DownloadLimits) -> Picture:
    """Check, orient, convert and shrink one downloaded file; raises ``PictureRefused``.

    What needs nothing of this (JPEG, PNG or WebP, RGB, upright, small enough) is stored as it came, metadata
    included; anything else becomes a JPEG without metadata. Of animations the first picture is taken.
    """
    data = _unpack(body, content_encoding, limits.max_bytes)
    kind = sniff(data)
    if kind in IMAGES_NOT_DECODED:
        raise PictureRefused(Reason.UNSUPPORTED_FORMAT, kind)
    if kind not in DECODED:
        raise PictureRefused(Reason.NOT_AN_IMAGE, f"the content is {kind}, {len(data)} bytes")
    if kind == "JPEG" and data.count(_START_OF_SCAN) > _MAX_JPEG_SCANS:
        raise PictureRefused(Reason.UNDECODABLE_IMAGE, f"JPEG with {data.count(_START_OF_SCAN)} scans")
    try:
        with Image.open(io.BytesIO(data), formats=[kind]) as picture:
            _check_size(picture.size, limits)
            return _store(picture, data, limits)
    except Image.DecompressionBombError as error:
        raise PictureRefused(Reason.TOO_MANY_PIXELS, "far more pixels declared than allowed") from error
    except _DECODER_ERRORS as error:
        text = f"{kind}: {' '.join(str(error).split()) or type(error).__name__}"[:200]
        cut = any(word in text.lower() for word in _TRUNCATED)
        raise PictureRefused(Reason.TRUNCATED_IMAGE if cut else Reason.UNDECODABLE_IMAGE, text) from error


def _check_size(size: tuple[int, int], limits: DownloadLimits) -> None:
    width, height = size
    if width * height > limits.max_pixels:
        detail = f"{width} x {height} declared, {limits.max_pixels} pixels allowed"
        raise PictureRefused(Reason.TOO_MANY_PIXELS, detail)
    if min(width, height) < limits.min_shortest_side:
        raise PictureRefused(Reason.TOO_SMALL, f"{width} x {height}")
    if max(width, height) > limits.max_aspect_ratio * min(width, height):
        raise PictureRefused(Reason.TOO_ELONGATED, f"{width} x {height}")


def _store(picture: Image.Image, data: bytes, limits: DownloadLimits) -> Picture:
    width, height = picture.size
    shrink = limits.stored_shortest_side / min(width, height)
    if shrink < 1 and picture.format in {"JPEG", "MPO"}:
        # The JPEG decoder can scale by 1/2, 1/4 or 1/8 in the frequency domain, at a half to a third of the
        # time. Asked for at least 1.5 times the final size, the result differs by 0.2 to 0.35 gray levels on
        # average from decoding all of it; encoding the result costs 1.0 to 1.5.
        picture.draft(None, (round(width * shrink * 1.5), round(height * shrink * 1.5)))
    picture.load()
    turn = _orientation(picture)
    sha256 = hashlib.sha256(data).hexdigest()
    original = (height, width) if turn in _SIDEWAYS else (width, height)
    plain = picture.mode == "RGB" and not picture.has_transparency_data
    if plain and shrink >= 1 and turn == 1 and picture.format in _AS_IT_CAME:
        return Picture(data, sha256, *original)
    upright = _rgb(picture)
    if shrink < 1:
        # Averaging whole blocks of pixels first, then a filter of two thirds of bicubic's cost: together up to
        # eight times as fast, and 0.3 to 0.9 gray levels from bicubic over every pixel (Lanczos: 0.2 to 0.4).
        size = (max(1, round(width * shrink)), max(1, round(height * shrink)))
        upright = upright.resize(size, Image.Resampling.HAMMING, reducing_gap=1.0)
    if turn != 1:
        upright = upright.transpose(_TURNS[turn])
    upright.info.clear()  # Pillow would write a JPEG comment again
    out = io.BytesIO()
    upright.save(out, "JPEG", quality=_JPEG_QUALITY, subsampling="4:4:4")
    return Picture(out.getvalue(), sha256, *original)


def _orientation(picture: Image.Image) -> int:
    """EXIF orientation, 1 to 8; 1 where there is none or it cannot be read (the picture itself is fine)."""
    try:
        value = picture.getexif().get(ExifTags.Base.Orientation, 1)
    except _DECODER_ERRORS:
        return 1
    return value if isinstance(value, int) and value in _TURNS else 1


def _rgb(picture: Image.Image) -> Image.Image:
    """RGB; transparency on white; 16 bits of gray scaled, not cut."""
    if picture.mode == "RGB" and not picture.has_transparency_data:
        return picture
    if picture.mode.startswith("I;16") or picture.mode == "I":
        # 16 bits of gray: Pillow's own conversion would cut everything above 255 to white.
        return picture.convert("I").point([i >> 8 for i in range(65536)], "L").convert("RGB")
    if picture.has_transparency_data:
        with_alpha = picture.convert("RGBA")
        white = Image.new("RGB", with_alpha.size, "white")
        white.paste(with_alpha, mask=with_alpha.getchannel("A"))
        return white
    return picture.convert("RGB")


def _unpack(body: bytes, content_encoding: str, max_bytes: int) -> bytes:
    """Undo a Content-Encoding that was not asked for, never making more than ``max_bytes``."""
    if content_encoding in {"", "identity"}:
        return body
    if content_encoding not in {"gzip", "x-gzip", "deflate"}:
        raise PictureRefused(Reason.UNSUPPORTED_ENCODING, content_encoding[:60])
    if content_encoding != "deflate" and not body.startswith(b"\x1f\x8b"):
        return body  # labelled gzip, sent plain: seen in the wild, and browsers show it
    unpacker = zlib.decompressobj(wbits=zlib.MAX_WBITS | 32)
    try:
        data = unpacker.decompress(body, max_bytes + 1)
    except zlib.error as error:
        raise PictureRefused(Reason.UNSUPPORTED_ENCODING, f"{content_encoding}: {error}") from error
    if len(data) > max_bytes:
        raise PictureRefused(Reason.TOO_MANY_BYTES, f"more than {max_bytes} bytes after unpacking")
    if not unpacker.eof:
        raise PictureRefused(Reason.UNSUPPORTED_ENCODING, f"{content_encoding}: ends early")
    return data
