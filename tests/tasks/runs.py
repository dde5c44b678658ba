"""Runs as the flow leaves them in OUT, made by hand: for tests of what reads them. Knows no models and no network."""

from __future__ import annotations

import io
from collections import Counter
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from expectations.caption_suite import ExpectationOutcome, GateResult
from expectations.schema import published_schema, rejected_schema
from tasks.download.stage import SCHEMA as DOWNLOAD_SCHEMA
from tasks.durable import write_json
from tasks.plan import PlanSettings, plan_run
from tasks.stages import Job, table_path
from tests.expectations.tables import clean_row

HOSTILE = "<script>alert('x')</script> & \"quoted\" </title><img src=http://evil.example/p.png> | `md`"
SECONDS = {"download": 2.0, "caption": 5.0, "rank": 1.5, "repair": 0.5, "validate": 0.25, "publish": 0.125}


def make_run(
    out: Path,
    *,
    partitions: int = 2,
    rows: int = 20,
    rejected: int = 3,
    keep_images: bool = True,
    failed: int = 0,
) -> Path:
    """A run of ``partitions`` of ``rows`` rows, ``rejected`` of each refused; the last ``failed`` ones failed."""
    source = out.parent / "input.parquet"
    source.parent.mkdir(parents=True, exist_ok=True)
    total = partitions * rows
    pq.write_table(
        pa.table({"URL": [clean_row(n)["URL"] for n in range(total)], "TEXT": ["text"] * total}), source
    )
    plan = plan_run([source], out, PlanSettings(partition_rows=rows))
    for number, job in enumerate(plan.jobs(out)):
        if number >= partitions - failed:
            write_json(
                job.state_file,
                {
                    "partition": job.partition,
                    "state": "failed",
                    "stage": "rank",
                    "error": HOSTILE,
                    "rows_in": rows,
                },
            )
        else:
            _publish(job, rejected, keep_images)
    identity = {
        "models": {
            "captioner": {"source": "/home/somebody/blip", "revision": None, "fingerprint": "c" * 64},
            "ranker1": {"source": "ViT-L-14", "revision": "openai", "fingerprint": "d" * 64},
        },
        "sampling": {"candidates": 40, "prompt": "a picture of ", "max_new_tokens": [20] * 8 + [30] * 32},
        "versions": {"cocoscribe": "0.1.0"},
    }
    write_json(out / "_run" / "models.json", identity)
    write_json(out / "_run" / "config.json", {"profile": "embedded", "seed": 7})
    return out


def jpeg(number: int, size: tuple[int, int] = (320, 200)) -> bytes:
    """A picture of one colour."""
    buffer = io.BytesIO()
    Image.new("RGB", size, (number * 9 % 256, 120, 200)).save(buffer, "JPEG")
    return buffer.getvalue()


ENDS = (("validate", "repeated_words"), ("download", "http_404"), ("plan", "missing_url"))


def _publish(job: Job, rejected: int, keep_images: bool) -> None:
    numbers = range(job.first_row, job.first_row + job.rows)
    rows = [clean_row(number) for number in numbers]
    rows[0] |= {"TEXT": HOSTILE, "punsafe": 0.99}
    good, bad = rows[: job.rows - rejected], rows[job.rows - rejected :]
    refusals: list[dict[str, Any]] = [
        {
            "key": row["key"], "URL": row["URL"], "TEXT": HOSTILE, "stage": stage, "reason": reason, "detail": HOSTILE,
        }
        for row, (stage, reason) in zip(bad, islice(cycle(ENDS), len(bad)), strict=True)
    ]  # fmt: skip
    _write(job.data_file, pa.Table.from_pylist(good, schema=published_schema()))
    _write(job.rejected_file, pa.Table.from_pylist(refusals, schema=rejected_schema()))
    if keep_images:
        images = [
            {name: row.get(name) for name in DOWNLOAD_SCHEMA.names} | {"image": jpeg(i)}
            for i, row in enumerate(good)
        ]
        _write(
            table_path(job, "download"),
            pa.Table.from_pylist(images, schema=DOWNLOAD_SCHEMA),
            row_group_size=6,
        )
    counts = Counter((row["stage"], row["reason"]) for row in refusals)
    write_json(
        job.state_file,
        {
            "partition": job.partition, "state": "published", "run_digest": "x", "rows_in": job.rows,
            "rows_published": len(good), "rows_rejected": len(bad),
            "rejected": [{"stage": s, "reason": r, "rows": n} for (s, r), n in counts.items()],
            "seconds": SECONDS,
            "started_at": "2026-11-23T05:30:00+00:00", "finished_at": "2026-11-23T05:31:00+00:00", "figures": {},
        },
    )  # fmt: skip
    verdict = GateResult(
        passed=True,
        bad_rows={bad[0]["key"]: ["repeated_words"]} if bad else {},
        results=[
            ExpectationOutcome("schema", "expect_s", "", "partition", "critical", True, 0, job.rows, "Why."),
            ExpectationOutcome(
                "repeated_words", "expect_r", "top_caption", "row", "critical", not bad, min(1, len(bad)), job.rows,
                "Circles.",
            ),
            ExpectationOutcome(
                "mean_words", "expect_m", "words", "partition", "warning", False, 0, job.rows, "Style.", 6.5
            ),
        ],
        rows=job.rows,
    )  # fmt: skip
    write_json(
        job.state_file.parents[1] / "validation" / job.state_file.name,
        {"partition": job.partition, **verdict.to_json()},
    )


def _write(path: Path, table: pa.Table, row_group_size: int | None = None) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, path, row_group_size=row_group_size)
