"""Stage validate: put the published rows together and let the gate judge them before anything appears in ``data/``.

Rows that fail a row check are quarantined: they end here, in ``rejected/``, under the expectation's name. A partition
that fails a critical check as a whole raises ValidationFailed; the gate's verdict is kept either way in
``OUT/_run/validation/part-00000.json``.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from prefect import task
from prefect.cache_policies import NO_CACHE

from expectations.caption_suite import GateResult, GateThresholds, validate_table
from expectations.schema import published_schema
from tasks.durable import write_json
from tasks.errors import ValidationFailed
from tasks.stages import Job, StageOutput, StageRecord, complete_stage, table_path

VERSION = 1  # raise it when the suite's meaning changes


@dataclass(frozen=True)
class ValidateSettings:
    """What the validate stage is told."""

    gate: GateThresholds
    model: str
    """Value of the column ``model``: profile@digest."""


def validation_path(job: Job) -> Path:
    """The gate's verdict on a partition, as JSON."""
    return Path(job.out, "_run", "validation", f"{job.partition}.json")


def assemble(job: Job, model: str) -> pa.Table:
    """The partition's rows in the published schema, in input order, from the stage files."""
    repaired = pq.read_table(table_path(job, "repair"))
    ranked = pq.read_table(table_path(job, "rank"))
    downloaded_names = [n for n in pq.read_schema(table_path(job, "download")).names if n != "image"]
    downloaded = pq.read_table(table_path(job, "download"), columns=downloaded_names)
    if downloaded.num_rows != ranked.num_rows:
        downloaded = downloaded.filter(pc.is_in(downloaded["key"], ranked["key"].combine_chunks()))
    if not downloaded["key"].equals(ranked["key"]) or not ranked["key"].equals(repaired["key"]):
        raise ValidationFailed("the stages' keys differ: a defect, please report it", partition=job.partition)
    columns: dict[str, Any] = {}
    for table in (downloaded, ranked, repaired):
        columns.update({name: table[name] for name in table.column_names})
    columns["model"] = pa.array([model] * ranked.num_rows, pa.string())
    schema = published_schema()
    return pa.table([columns[field.name].cast(field.type) for field in schema], schema=schema)


@task(name="validate", task_run_name="{job.partition} validate", cache_policy=NO_CACHE)
def validate(job: Job, repaired: StageRecord, settings: ValidateSettings) -> StageRecord:
    """Judge the partition: good rows go on, bad rows are quarantined, a bad partition stops here."""

    def work(output: StageOutput) -> None:
        table = assemble(job, settings.model)
        verdict = validate_table(table, settings.gate)
        write_json(validation_path(job), {"partition": job.partition, **verdict.to_json()})
        if not verdict.passed:
            raise ValidationFailed(
                f"the gate refused it: {describe(verdict)}; see {validation_path(job)}",
                partition=job.partition,
                counts={"rows": table.num_rows, "bad_rows": len(verdict.bad_rows)},
            )
        bad = pc.is_in(table["key"], pa.array(list(verdict.bad_rows), pa.string()))
        output.write_table(table.filter(pc.invert(bad)))
        output.reject_rows(
            [
                {
                    "key": row["key"],
                    "URL": row["URL"],
                    "TEXT": row["TEXT"],
                    "stage": "validate",
                    "reason": verdict.bad_rows[row["key"]][0],
                    "detail": f"{', '.join(verdict.bad_rows[row['key']])}: {row['top_caption']!r}",
                }
                for row in table.filter(bad).select(["key", "URL", "TEXT", "top_caption"]).to_pylist()
            ]
        )
        output.figures = {
            "expectations": len(verdict.results),
            "failed": [
                {"name": r.name, "severity": r.severity, "rows": r.unexpected_count}
                for r in verdict.results
                if not r.success
            ],
        }

    return complete_stage(
        job,
        "validate",
        depends_on={
            "version": VERSION,
            "input": repaired.key,
            "gate": settings.gate,
            "model": settings.model,
        },
        schema=published_schema(),
        rows_in=repaired.rows_out,
        work=work,
        error=ValidationFailed,
    )


def describe(verdict: GateResult) -> str:
    """The critical failures of a verdict in one line."""
    return "; ".join(
        f"{r.name} ({r.unexpected_count} of {r.element_count} rows)" if r.unexpected_count else r.name
        for r in verdict.results
        if not r.success and r.severity == "critical"
    )
