"""Stage rank: CLIP orders each image's candidates; the first model keeps a few, the second chooses among these.

Stage 1 is always computed, so that ``all_similarities`` is never null. Stage 2 runs only where it can change the
choice: at least two finalists.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image
from prefect import task
from prefect.cache_policies import NO_CACHE

from models.profiles import RankerRef
from tasks.errors import RankingFailed
from tasks.images import decoded_batches
from tasks.stages import Job, StageOutput, StageRecord, complete_stage, table_path

if TYPE_CHECKING:
    from models.ranker import Ranker

VERSION = 1  # raise it when equal inputs give another order

SCHEMA = pa.schema(
    [
        pa.field("key", pa.string(), nullable=False),
        pa.field("all_captions", pa.list_(pa.string()), nullable=False),
        pa.field("all_similarities", pa.list_(pa.float64()), nullable=False),
        pa.field("top_caption_raw", pa.string(), nullable=False),
        pa.field("top_similarity", pa.float64(), nullable=False),
        pa.field("finalist_similarities", pa.list_(pa.float64())),
    ]
)


@dataclass(frozen=True)
class RankSettings:
    """What the rank stage is told."""

    ranker1: RankerRef
    ranker2: RankerRef | None
    fingerprint1: str
    fingerprint2: str
    keep: int = 5
    """Finalists that stage 1 hands to stage 2."""
    images_per_batch: int = 32
    """Changes speed and memory only: not part of the digest."""


@dataclass(frozen=True)
class Ranking:
    """One image's candidates in order."""

    captions: list[str]
    """By falling stage-1 similarity; equal ones in candidate order."""
    similarities: list[float]
    """Stage 1, parallel to ``captions``."""
    finalist_similarities: list[float] | None
    """Stage 2 of the first ``keep`` captions; None where stage 2 had nothing to choose."""
    winner: int
    """Index into ``captions``."""


def rank_candidates(
    images: Sequence[Image.Image],
    candidates: Sequence[Sequence[str]],
    ranker1: Ranker,
    ranker2: Ranker | None,
    keep: int,
) -> list[Ranking]:
    """Two-stage ranking of each image's candidates (at least one each)."""
    rankings = []
    for texts, similarities in zip(candidates, ranker1.similarities(images, candidates), strict=True):
        order = sorted(range(len(texts)), key=lambda i, s=similarities: -s[i])  # type: ignore[misc]
        rankings.append(Ranking([texts[i] for i in order], [similarities[i] for i in order], None, 0))
    contested = [i for i, r in enumerate(rankings) if min(len(r.captions), keep) > 1]
    if ranker2 is None or not contested:
        return rankings
    finals = ranker2.similarities(
        [images[i] for i in contested], [rankings[i].captions[:keep] for i in contested]
    )
    for index, final in zip(contested, finals, strict=True):
        first = rankings[index]
        # max() takes the first of equals: stage 1's order decides ties.
        winner = max(range(len(final)), key=final.__getitem__)
        rankings[index] = Ranking(first.captions, first.similarities, list(final), winner)
    return rankings


@task(name="rank", task_run_name="{job.partition} rank", cache_policy=NO_CACHE)
def rank(job: Job, downloaded: StageRecord, captioned: StageRecord, settings: RankSettings) -> StageRecord:
    """Order the candidates and name a winner; a row without any usable candidate ends here."""

    def work(output: StageOutput) -> None:
        from tasks.residents import resident_ranker  # torch: for workers only, not for schedulers

        ranker1 = resident_ranker(settings.ranker1)
        ranker2 = resident_ranker(settings.ranker2) if settings.ranker2 else None
        candidates = _candidates(job)
        addresses = _addresses(job)
        done = contested = 0
        for batch in decoded_batches(table_path(job, "download"), settings.images_per_batch):
            keys: list[str] = []
            images: list[Image.Image] = []
            texts: list[list[str]] = []
            for key, image in zip(batch.keys, batch.images, strict=True):
                captioned_key, found = next(candidates)
                if captioned_key != key:
                    raise RankingFailed(f"row {captioned_key} where {key} was due", partition=job.partition)
                address = next(addresses)
                if found:
                    keys.append(key)
                    images.append(image)
                    texts.append(found)
                else:
                    output.reject(key, *address, "no_candidate", "every candidate was empty", stage="caption")
            done += len(batch.keys)
            if not keys:
                continue
            rankings = rank_candidates(images, texts, ranker1, ranker2, settings.keep)
            if not all(math.isfinite(s) for r in rankings for s in r.similarities):
                raise RankingFailed("a similarity is not a number: damaged weights?", partition=job.partition)
            contested += sum(r.finalist_similarities is not None for r in rankings)
            output.write(
                {
                    "key": keys,
                    "all_captions": [r.captions for r in rankings],
                    "all_similarities": [r.similarities for r in rankings],
                    "top_caption_raw": [r.captions[r.winner] for r in rankings],
                    "top_similarity": [r.similarities[r.winner] for r in rankings],
                    "finalist_similarities": [r.finalist_similarities for r in rankings],
                }
            )
            output.progress(done)
        output.figures = {"stage_2_images": contested}

    return complete_stage(
        job,
        "rank",
        depends_on={
            "version": VERSION,
            "input": [downloaded.key, captioned.key],
            "models": [settings.fingerprint1, settings.fingerprint2],
            "keep": settings.keep,
        },
        schema=SCHEMA,
        rows_in=captioned.rows_out,
        work=work,
        error=RankingFailed,
    )


def _candidates(job: Job) -> Iterator[tuple[str, list[str]]]:
    with pq.ParquetFile(table_path(job, "caption")) as file:
        for batch in file.iter_batches(batch_size=1024):
            yield from zip(batch["key"].to_pylist(), batch["candidates"].to_pylist(), strict=True)


def _addresses(job: Job) -> Iterator[tuple[str, str | None]]:
    with pq.ParquetFile(table_path(job, "download")) as file:
        for batch in file.iter_batches(batch_size=1024, columns=["URL", "TEXT"]):
            yield from zip(batch["URL"].to_pylist(), batch["TEXT"].to_pylist(), strict=True)
