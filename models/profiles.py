"""Profiles: each names four models, their revisions and every sampling number; the code that runs them is the same.

About revisions. ``Salesforce/blip-image-captioning-large`` and ``bigscience/T0_3B`` are pinned to commits that appear
as hub cache snapshots in several public repositories (one, for T0_3B); neither could be fetched and checked here, nor
whether they hold safetensors (if not: save the model once with ``save_pretrained`` and name the directory). The
grammar T5 has no commit that could be verified, so it is not pinned: pin it with a local directory. open_clip names
OpenAI's weights by the tag ``openai``, which takes no revision.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from models.identity import LOCAL_PREFIX, ModelError
from models.sampling import Sampling

WEIGHTS = Path(__file__).resolve().parent / "embedded" / "weights"
"""The shipped models."""


@dataclass(frozen=True)
class CaptionerRef:
    """A BLIP: directory or hub name, and the hub's commit."""

    source: str
    revision: str | None = None


@dataclass(frozen=True)
class RankerRef:
    """A CLIP as open_clip names it; a directory is ``local-dir:/path`` with an empty ``pretrained``."""

    name: str
    pretrained: str = ""


@dataclass(frozen=True)
class RepairerRef:
    """A T5; ``instruction`` is put before the caption (T0 needs one)."""

    source: str
    revision: str | None = None
    instruction: str = ""


@dataclass(frozen=True)
class Profile:
    """One complete recipe."""

    name: str
    description: str
    captioner: CaptionerRef
    ranker1: RankerRef
    ranker2: RankerRef | None
    repairer: RepairerRef
    sampling: Sampling
    keep: int = 5
    """Candidates that ranker 1 hands to ranker 2."""


_BLIP_LARGE = CaptionerRef(
    "Salesforce/blip-image-captioning-large", "353689b859fcf0523410b1806dace5fb46ecdf41"
)

_EMBEDDED = Profile(
    name="embedded",
    description="Tiny shipped models of a world of emoji scenes: no network, no GPU, for a first look.",
    captioner=CaptionerRef(str(WEIGHTS / "captioner")),
    ranker1=RankerRef(f"{LOCAL_PREFIX}{WEIGHTS / 'ranker1'}"),
    ranker2=RankerRef(f"{LOCAL_PREFIX}{WEIGHTS / 'ranker2'}"),
    repairer=RepairerRef(str(WEIGHTS / "repairer")),
    # The recipe's nucleus of 0.24 leaves these models 1 caption per image and ranking nothing to do. By top_p, over
    # 1,000 held-out scenes (models/embedded/README.md): unique candidates, first candidates and winners that are wholly
    # right: 0.35: 1.0, .875, .878; 0.6: 1.3, .845, .897; 0.8: 2.9, .804, .884; 0.85: 4.6, .776, .881; 0.9: 6.6, .741,
    # .877; greedy .873. 0.85 costs a point or two against 0.6 and leaves ranking something to do. No penalty and no
    # forced end: this world's captions repeat words ("a dog next to a couch on the beach"), end where they should, and
    # may be short ("a dog at night").
    sampling=Sampling(
        top_p=0.85,
        top_k=0,
        min_new_tokens=3,
        max_new_tokens=24,
        force_eos_probability=None,
        repetition_penalty=1.0,
    ),
)

_LAION_COCO = Profile(
    name="laion-coco",
    description="The recipe of the LAION-COCO blog post: BLIP large, two CLIP stages, T0 repairs the winner.",
    captioner=_BLIP_LARGE,
    ranker1=RankerRef("ViT-L-14", "openai"),
    ranker2=RankerRef("RN50x64", "openai"),
    repairer=RepairerRef(
        "bigscience/T0_3B",
        "8794c7177e3a67b8a0ec739d94eecfa6a591c974",
        "Correct the grammar and punctuation of this image caption, and change nothing else: ",
    ),
    sampling=Sampling(),
)

_LAION_IDLE_CAP = Profile(
    name="laion-idle-cap",
    description="The recipe as the checked-in code ran it: BLIP large, one CLIP stage at 336 px, a small grammar T5.",
    captioner=_BLIP_LARGE,
    ranker1=RankerRef("ViT-L-14-336", "openai"),
    ranker2=None,
    # The original's own fine-tuned T5 is not public any more; this one is trained for the prefix "grammar: ".
    repairer=RepairerRef("vennify/t5-base-grammar-correction", None, "grammar: "),
    sampling=Sampling(),
    keep=1,
)

PROFILES: dict[str, Profile] = {
    profile.name: profile for profile in (_EMBEDDED, _LAION_COCO, _LAION_IDLE_CAP)
}


def get_profile(name: str) -> Profile:
    """The profile of that name. Raises ModelError naming those that exist."""
    try:
        return PROFILES[name]
    except KeyError:
        raise ModelError(f"profile {name!r} is not one of {', '.join(PROFILES)}") from None
