"""Stage repair: a small T5 mends grammar and punctuation of the winner, behind a guard. Never re-scored."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.parquet as pq
from prefect import task
from prefect.cache_policies import NO_CACHE

from models.profiles import RepairerRef
from tasks.errors import RepairFailed
from tasks.stages import Job, StageOutput, StageRecord, complete_stage, table_path

VERSION = 1  # raise it when equal inputs give other text

SCHEMA = pa.schema(
    [
        pa.field("key", pa.string(), nullable=False),
        pa.field("top_caption", pa.string(), nullable=False),
        pa.field("repair", pa.string(), nullable=False),
    ]
)


@dataclass(frozen=True)
class RepairSettings:
    """What the repair stage is told."""

    repairer: RepairerRef
    fingerprint: str
    captions_per_batch: int = 512
    """Changes speed and memory only: not part of the digest."""


@task(name="repair", task_run_name="{job.partition} repair", cache_policy=NO_CACHE)
def repair(job: Job, ranked: StageRecord, settings: RepairSettings) -> StageRecord:
    """Write ``top_caption`` from ``top_caption_raw`` and say what was done to it."""

    def work(output: StageOutput) -> None:
        from tasks.residents import resident_repairer  # torch: for workers only, not for schedulers

        repairer = resident_repairer(settings.repairer)
        outcomes: Counter[str] = Counter()
        with pq.ParquetFile(table_path(job, "rank")) as file:
            columns = ["key", "top_caption_raw"]
            for batch in file.iter_batches(batch_size=settings.captions_per_batch, columns=columns):
                repairs = repairer.repair(batch["top_caption_raw"].to_pylist())
                outcomes.update(r.reason for r in repairs)
                output.write(
                    {
                        "key": batch["key"].to_pylist(),
                        "top_caption": [r.text for r in repairs],
                        "repair": [r.reason for r in repairs],
                    }
                )
                output.progress(output.rows_out)
        output.figures = {"repairs": dict(sorted(outcomes.items()))}

    return complete_stage(
        job,
        "repair",
        depends_on={
            "version": VERSION,
            "input": ranked.key,
            "model": settings.fingerprint,
            "instruction": settings.repairer.instruction,
        },
        schema=SCHEMA,
        rows_in=ranked.rows_out,
        work=work,
        error=RepairFailed,
    )
