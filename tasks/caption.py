"""Stage caption: BLIP writes candidates for each image. Unique texts in candidate order; ranking comes next."""

from __future__ import annotations

from dataclasses import dataclass

import pyarrow as pa
from prefect import task
from prefect.cache_policies import NO_CACHE

from models.profiles import CaptionerRef
from models.sampling import Sampling
from tasks.errors import GenerationFailed
from tasks.images import decoded_batches
from tasks.stages import Job, StageOutput, StageRecord, complete_stage, table_path

VERSION = 1  # raise it when equal inputs give other captions

SCHEMA = pa.schema(
    [
        pa.field("key", pa.string(), nullable=False),
        pa.field("candidates", pa.list_(pa.string()), nullable=False),
    ]
)


@dataclass(frozen=True)
class CaptionSettings:
    """What the caption stage is told."""

    captioner: CaptionerRef
    fingerprint: str
    """Of the model's files: another model is another result."""
    sampling: Sampling
    images_per_batch: int = 16
    """Changes speed and memory, never a caption: not part of the digest."""


@task(name="caption", task_run_name="{job.partition} caption", cache_policy=NO_CACHE)
def caption(job: Job, downloaded: StageRecord, settings: CaptionSettings) -> StageRecord:
    """Write ``candidates`` for every downloaded image."""

    def work(output: StageOutput) -> None:
        from tasks.residents import resident_captioner  # torch: for workers only, not for schedulers

        captioner = resident_captioner(settings.captioner)
        done = written = 0
        for batch in decoded_batches(table_path(job, "download"), settings.images_per_batch):
            found = captioner.caption(batch.images, batch.keys, settings.sampling)
            texts = [[candidate.text for candidate in candidates if candidate.text] for candidates in found]
            output.write({"key": batch.keys, "candidates": texts})
            done += len(texts)
            written += sum(map(len, texts))
            output.progress(done)
        output.figures = {"candidates": written}

    return complete_stage(
        job,
        "caption",
        depends_on={
            "version": VERSION,
            "input": downloaded.key,
            "model": settings.fingerprint,
            "sampling": settings.sampling,
        },
        schema=SCHEMA,
        rows_in=downloaded.rows_out,
        work=work,
        error=GenerationFailed,
    )
