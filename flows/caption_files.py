"""Caption a few image files in this process: the recipe without orchestration, for a look at what a profile writes."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import TypedDict

from PIL import Image, ImageOps, UnidentifiedImageError

from models.profiles import get_profile
from tasks.errors import UserError
from tasks.rank import rank_candidates
from tasks.residents import resident_captioner, resident_ranker, resident_repairer


class FileCaption(TypedDict):
    """One object of ``cocoscribe caption --json``."""

    image: str
    top_caption: str
    captions: list[str]
    """Candidates by falling similarity."""
    similarities: list[float]
    """Stage-1 cosine similarities, parallel to ``captions``."""


def caption_files(paths: Sequence[Path], profile_name: str, seed: int) -> list[FileCaption]:
    """Caption each file. Raises UserError naming the file that is missing or not an image."""
    profile = get_profile(profile_name)
    images = [_open(path) for path in paths]
    sampling = dataclasses.replace(profile.sampling, seed=seed)
    keys = [path.name for path in paths]
    found = resident_captioner(profile.captioner).caption(images, keys, sampling)
    candidates = [[c.text for c in each if c.text] for each in found]
    if empty := [str(path) for path, each in zip(paths, candidates, strict=True) if not each]:
        raise UserError(f"{empty[0]}: every candidate was empty")
    rankings = rank_candidates(
        images,
        candidates,
        resident_ranker(profile.ranker1),
        resident_ranker(profile.ranker2) if profile.ranker2 else None,
        profile.keep,
    )
    repairs = resident_repairer(profile.repairer).repair([r.captions[r.winner] for r in rankings])
    return [
        FileCaption(
            image=str(path),
            top_caption=repair.text,
            captions=ranking.captions,
            similarities=ranking.similarities,
        )
        for path, ranking, repair in zip(paths, rankings, repairs, strict=True)
    ]


def _open(path: Path) -> Image.Image:
    try:
        with Image.open(path) as image:
            return ImageOps.exif_transpose(image).convert("RGB")
    except FileNotFoundError:
        raise UserError(f"{path}: no such file") from None
    except (UnidentifiedImageError, OSError, Image.DecompressionBombError) as reason:
        raise UserError(f"{path} is not a readable image: {reason}") from None
