"""What a file is by its first bytes, whatever its name or header claims. Pure."""

from __future__ import annotations

# Pillow's names of the formats that are decoded.
DECODED = frozenset({"JPEG", "PNG", "WEBP", "GIF", "BMP", "AVIF"})

_MAGIC: tuple[tuple[bytes, str], ...] = (
    (b"\xff\xd8\xff", "JPEG"),
    (b"\x89PNG\r\n\x1a\n", "PNG"),
    (b"GIF87a", "GIF"),
    (b"GIF89a", "GIF"),
    (b"BM", "BMP"),
    (b"II*\x00", "TIFF"),
    (b"MM\x00*", "TIFF"),
    (b"II+\x00", "TIFF"),
    (b"\x00\x00\x01\x00", "ICO"),
    (b"8BPS", "PSD"),
    (b"\xff\x0a", "JPEG XL"),
    (b"\x00\x00\x00\x0cJXL ", "JPEG XL"),
    (b"\x00\x00\x00\x0cjP  ", "JPEG 2000"),
    (b"\xff\x4f\xff\x51", "JPEG 2000"),
    (b"%PDF-", "PDF"),
    (b"PK\x03\x04", "ZIP"),
    (b"\x1f\x8b", "gzip"),
    (b"\x1aE\xdf\xa3", "WebM or Matroska"),
)
IMAGES_NOT_DECODED = frozenset({"TIFF", "ICO", "PSD", "JPEG XL", "JPEG 2000", "HEIC", "SVG"})

_AVIF_BRANDS = frozenset({b"avif", b"avis"})
_HEIC_BRANDS = frozenset({b"heic", b"heix", b"hevc", b"hevx", b"heim", b"heis", b"mif1", b"msf1"})


def sniff(data: bytes) -> str:
    """A format's name.

    One of ``DECODED``, one of ``IMAGES_NOT_DECODED``, or something else ("HTML", "text", ...).
    """
    if not data:
        return "nothing"
    for magic, name in _MAGIC:
        if data.startswith(magic):
            return name
    if data[:4] == b"RIFF":
        return "WEBP" if data[8:12] == b"WEBP" else "RIFF audio or video"
    if data[4:8] == b"ftyp":
        return _iso_media(data)
    return _text(data[:1024])


def _iso_media(data: bytes) -> str:
    size = min(int.from_bytes(data[:4], "big"), 256)
    brands = {data[8:12]} | {data[at : at + 4] for at in range(16, size, 4)}
    if brands & _AVIF_BRANDS:
        return "AVIF"
    return "HEIC" if brands & _HEIC_BRANDS else "MP4 video"


def _text(head: bytes) -> str:
    text = head.removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    if b"<svg" in text and text.startswith((b"<svg", b"<?xml", b"<!--", b"<!doctype svg")):
        return "SVG"
    if text.startswith((b"<!doctype html", b"<html", b"<head", b"<body", b"<script", b"<!--", b"<title")):
        return "HTML"
    if text.startswith(b"<"):
        return "HTML" if b"<html" in text else "XML"
    if text.startswith((b"{", b"[")):
        return "JSON"
    if not text or all(byte >= 32 or byte in b"\t\n\r\f" for byte in text):
        return "text"
    return "unknown bytes"
