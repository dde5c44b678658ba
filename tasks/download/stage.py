"""Stage download: read the partition's rows, fetch their images, keep both. The first stage of a partition.

Images come in the order in which hosts answer and leave in the order of the input: until the last has come they wait in
a spool file beside the table, so that memory holds no more than the downloads under way.
"""

from __future__ import annotations

import os
import threading
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import BinaryIO

import pyarrow as pa
from prefect import task
from prefect.cache_policies import NO_CACHE

from expectations.schema import LAION_COCO, PASSED_THROUGH
from tasks.download import Downloaded, DownloadLimits, ImageRow, Refused, download_images
from tasks.download.limits import SPEED_ONLY
from tasks.errors import DownloadFailed
from tasks.plan import duplicates_path
from tasks.rows import InputRow, read_rows
from tasks.stages import Job, StageOutput, StageRecord, complete_stage, table_path

VERSION = 1  # raise it when equal bytes from the web give another stored image

_TYPES = {column.name: column.type for column in LAION_COCO}
SCHEMA = pa.schema(
    [
        pa.field("key", pa.string(), nullable=False),
        pa.field("URL", pa.string(), nullable=False),
        pa.field("TEXT", pa.string()),
        *(pa.field(name, _TYPES[name]) for name in PASSED_THROUGH),
        pa.field("image_width", pa.int32(), nullable=False),
        pa.field("image_height", pa.int32(), nullable=False),
        pa.field("image_sha256", pa.string(), nullable=False),
        pa.field("image", pa.binary(), nullable=False),
    ]
)

# A row group holds about so many bytes of images: what a reader of one batch must have in memory.
_ROW_GROUP_BYTES = 32 << 20


@dataclass(frozen=True)
class DownloadSettings:
    """What the download stage is told."""

    limits: DownloadLimits
    reject_duplicate_urls: bool = True


@dataclass(frozen=True)
class _Spooled:
    offset: int
    length: int
    sha256: str
    width: int
    height: int


class _Spool:
    """Images that have come, one after the other in a file without a name; thread-safe."""

    def __init__(self, file: BinaryIO, output: StageOutput, total: int) -> None:
        self.images: dict[str, _Spooled] = {}
        self.refusals: dict[str, Refused] = {}
        self.attempts: Counter[int] = Counter()
        self._file, self._end = file, 0
        self._output, self._total = output, total
        self._lock = threading.Lock()

    def take(self, result: Downloaded | Refused) -> None:
        with self._lock:
            if isinstance(result, Refused):
                self.refusals[result.key] = result
            else:
                self._file.seek(self._end)
                self._file.write(result.image)
                self.images[result.key] = _Spooled(
                    self._end, len(result.image), result.sha256, result.width, result.height
                )
                self._end += len(result.image)
                self.attempts[result.attempts] += 1
            self._output.progress(self._total + len(self.images) + len(self.refusals))

    def read(self, spooled: _Spooled) -> bytes:
        return os.pread(self._file.fileno(), spooled.length, spooled.offset)

    def flush(self) -> None:
        self._file.flush()


@task(name="download", task_run_name="{job.partition} download", cache_policy=NO_CACHE)
def download(job: Job, settings: DownloadSettings) -> StageRecord:
    """Store every image that its host gives and its bytes deserve; every other row ends here with its reason."""
    duplicates = duplicates_path(Path(job.out)) if settings.reject_duplicate_urls else None

    def work(output: StageOutput) -> None:
        rows, unreadable = read_rows(job, duplicates)
        if len(rows) != job.rows:
            raise DownloadFailed(
                f"{job.source} now has {len(rows)} rows where {job.rows} were planned: it was changed during the run",
                partition=job.partition,
            )
        wanted = [ImageRow(row.key, row.url or "") for row in rows if row.ended is None]
        spool_path = table_path(job, "download").with_name(f"download.spool-{os.getpid()}.tmp")
        with spool_path.open("w+b") as file:
            spool_path.unlink()  # gone with this process, however it ends
            spool = _Spool(file, output, len(rows) - len(wanted))
            download_images(wanted, settings.limits, spool.take)
            spool.flush()
            _write(rows, spool, output)
        output.figures = {
            "bytes": sum(image.length for image in spool.images.values()),
            "retried": sum(count for attempts, count in spool.attempts.items() if attempts > 1),
            **({"unreadable_values": unreadable} if unreadable else {}),
        }

    limits = {name: value for name, value in asdict(settings.limits).items() if name not in SPEED_ONLY}
    return complete_stage(
        job,
        "download",
        depends_on={"version": VERSION, "input": job.input_digest, "limits": limits},
        schema=SCHEMA,
        rows_in=job.rows,
        work=work,
        error=DownloadFailed,
    )


def _write(rows: Sequence[InputRow], spool: _Spool, output: StageOutput) -> None:
    group: list[InputRow] = []
    size = 0
    rejected: list[dict[str, str | None]] = []
    for row in rows:
        if row.ended is not None:
            rejected.append(_rejection(row, "plan", *row.ended))
        elif (refused := spool.refusals.get(row.key)) is not None:
            rejected.append(_rejection(row, "download", refused.reason, refused.detail))
        else:
            group.append(row)
            size += spool.images[row.key].length
        if size >= _ROW_GROUP_BYTES:
            _write_group(group, spool, output)
            group, size = [], 0
    if group:
        _write_group(group, spool, output)
    output.reject_rows(rejected)


def _rejection(row: InputRow, stage: str, reason: str, detail: str) -> dict[str, str | None]:
    return {
        "key": row.key,
        "URL": row.url,
        "TEXT": row.text,
        "stage": stage,
        "reason": str(reason),
        "detail": detail,
    }


def _write_group(rows: Sequence[InputRow], spool: _Spool, output: StageOutput) -> None:
    images = [spool.images[row.key] for row in rows]
    output.write(
        {
            "key": [row.key for row in rows],
            "URL": [row.url for row in rows],
            "TEXT": [row.text for row in rows],
            **{name: [row.passed[name] for row in rows] for name in PASSED_THROUGH},
            "image_width": [image.width for image in images],
            "image_height": [image.height for image in images],
            "image_sha256": [image.sha256 for image in images],
            "image": [spool.read(image) for image in images],
        }
    )
