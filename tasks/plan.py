"""Fix what a run is: its input files, its partitions, and which rows repeat a URL. Written once; a run never changes.

``plan_run`` reads footers only, then streams the URL column once to find repeats. Knows nothing of Prefect or Dask.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from tasks.duplicates import find_duplicates
from tasks.durable import digest_of, disk_trouble, write_json
from tasks.errors import UserError
from tasks.stages import Job

PLAN_VERSION = 1


@dataclass(frozen=True)
class PlanSettings:
    """What fixes the partitions of a run; changing any of it makes another run."""

    url_column: str = "URL"
    text_column: str = "TEXT"
    partition_rows: int = 10_000
    """Rows per partition: the unit of retry. 10,000 is img2dataset's and LAION's shard size."""
    limit: int | None = None
    """Take only the first rows, counted over all input files."""
    reject_duplicate_urls: bool = True
    """The first row with a URL is captioned, later ones are rejected as ``duplicate_url``."""


@dataclass(frozen=True)
class Source:
    """One input file."""

    path: str
    rows: int
    """Rows taken from it (fewer than it has under ``limit``)."""
    digest: str
    """Of the parquet footer and the file's size: cheap for any size, changes whenever the file is rewritten."""


@dataclass(frozen=True)
class Plan:
    """The run, fixed: ``OUT/_run/plan.json``."""

    settings: PlanSettings
    sources: tuple[Source, ...]

    @property
    def digest(self) -> str:
        """Of settings and inputs; file names count, folders do not, so that data may be moved."""
        files = [[Path(s.path).name, s.rows, s.digest] for s in self.sources]
        return digest_of({"version": PLAN_VERSION, "settings": self.settings, "sources": files})

    @property
    def rows(self) -> int:
        return sum(source.rows for source in self.sources)

    @property
    def partitions(self) -> int:
        """How many partitions there are."""
        return sum(self._partitions_of(source) for source in self.sources)

    def jobs(self, out: Path) -> Iterator[Job]:
        """The partitions in order."""
        return (self.job(out, number) for number in range(self.partitions))

    def job(self, out: Path, number: int) -> Job:
        """Partition ``number``; IndexError where there is none such."""
        left, run_row = number, 0
        for source_number, source in enumerate(self.sources):
            count = self._partitions_of(source)
            if left < count:
                first = left * self.settings.partition_rows
                rows = min(self.settings.partition_rows, source.rows - first)
                return Job(
                    out=str(out),
                    partition=f"part-{number:05d}",
                    source=source.path,
                    source_number=source_number,
                    first_row=first,
                    rows=rows,
                    first_run_row=run_row + first,
                    url_column=self.settings.url_column,
                    text_column=self.settings.text_column,
                    input_digest=digest_of([source.digest, first, rows, self.settings]),
                )
            left -= count
            run_row += source.rows
        raise IndexError(number)

    def _partitions_of(self, source: Source) -> int:
        return -(-source.rows // self.settings.partition_rows)


def plan_path(out: Path) -> Path:
    """Where a run keeps its plan."""
    return out / "_run" / "plan.json"


def duplicates_path(out: Path) -> Path:
    """Rows that repeat a URL: int64 pairs (row, first row with that URL), by row, counted over the run."""
    return out / "_run" / "duplicates.npy"


def read_plan(out: Path) -> Plan:
    """The plan of an existing run; UserError where there is none."""
    try:
        found = json.loads(plan_path(out).read_text())
        return Plan(PlanSettings(**found["settings"]), tuple(Source(**s) for s in found["sources"]))
    except FileNotFoundError:
        raise UserError(f"{out} holds no run: start one with 'cocoscribe run SOURCE --out {out}'") from None
    except (json.JSONDecodeError, KeyError, TypeError) as reason:
        raise UserError(f"{plan_path(out)} is damaged ({reason}); give another --out") from None


def plan_run(paths: Sequence[Path], out: Path, settings: PlanSettings) -> Plan:
    """Plan a run into ``out``, or take up the one that is there. Raises UserError as :func:`inspect_run` does."""
    plan = inspect_run(paths, out, settings)
    if not plan_path(out).exists():
        _write_plan(plan, out)
    return plan


def inspect_run(paths: Sequence[Path], out: Path, settings: PlanSettings) -> Plan:
    """The plan that :func:`plan_run` would write, from footers alone; writes nothing.

    Raises UserError for a missing, unreadable or empty input, a missing column, or an
    ``out`` that holds another run.
    """
    if settings.partition_rows < 1:
        raise UserError("--partition-rows must be at least 1")
    if settings.limit is not None and settings.limit < 1:
        raise UserError("--limit must be at least 1")
    plan = Plan(settings, tuple(_take(expand_sources(paths), settings)))
    if plan_path(out).exists():
        if read_plan(out).digest != plan.digest:
            raise UserError(
                f"{out} holds another run (other input, columns, limit or partition size); give another --out"
            )
    elif (out / "data").exists() or (out.exists() and not out.is_dir()):
        raise UserError(f"{out} exists and is not a run of cocoscribe; give another --out")
    return plan


def _write_plan(plan: Plan, out: Path) -> None:
    try:
        if plan.settings.reject_duplicate_urls:
            files = [(Path(source.path), source.rows) for source in plan.sources]
            find_duplicates(files, plan.settings.url_column, duplicates_path(out))
        # Last: its existence means that the duplicates are whole.
        write_json(plan_path(out), {**asdict(plan), "digest": plan.digest, "rows": plan.rows})
    except OSError as reason:
        if why := disk_trouble(reason):
            raise UserError(why) from reason
        raise


def expand_sources(paths: Sequence[Path]) -> list[Path]:
    """Files as given; a directory stands for its parquet files, by name."""
    files: list[Path] = []
    for path in paths:
        if path.is_dir():
            inside = sorted(p for p in path.rglob("*.parquet") if not p.name.startswith((".", "_")))
            if not inside:
                raise UserError(f"{path} holds no .parquet file")
            files += inside
        elif path.exists():
            files.append(path)
        else:
            raise UserError(f"{path}: no such file or directory")
    if not files:
        raise UserError("no input given")
    return files


def _take(files: Sequence[Path], settings: PlanSettings) -> Iterator[Source]:
    left = settings.limit
    total = 0
    for path in files:
        rows, digest = _inspect(path, settings)
        if left is not None:
            rows = min(rows, left)
            left -= rows
        if rows:
            total += rows
            yield Source(str(path.resolve()), rows, digest)
        if left == 0:
            break
    if total == 0:
        raise UserError(f"{files[0]}{' and the others' if len(files) > 1 else ''}: no rows")


def _inspect(path: Path, settings: PlanSettings) -> tuple[int, str]:
    try:
        with pq.ParquetFile(path) as file:
            schema, rows = file.schema_arrow, file.metadata.num_rows
    except (pa.ArrowInvalid, OSError) as reason:
        # Arrow's own messages run over several lines; the first says it.
        raise UserError(f"{path} is not a readable parquet file: {str(reason).splitlines()[0]}") from None
    for option, column in (("--url-col", settings.url_column), ("--text-col", settings.text_column)):
        if column not in schema.names:
            raise UserError(
                f"{path} has no column {column!r} (it has {', '.join(schema.names)}): name it with {option}"
            )
        if not is_text(schema.field(column).type):
            raise UserError(
                f"{path}: column {column!r} holds {schema.field(column).type}, not text; see {option}"
            )
    return rows, digest_of([path.stat().st_size, _footer_digest(path)])


def is_text(kind: pa.DataType) -> bool:
    """Whether a column of this type can be read as strings."""
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    return bool(
        pa.types.is_null(kind)
        or pa.types.is_string(kind)
        or pa.types.is_large_string(kind)
        or pa.types.is_string_view(kind)
    )


def _footer_digest(path: Path) -> str:
    with path.open("rb") as file:
        file.seek(-8, 2)
        length = int.from_bytes(file.read(4), "little")
        file.seek(-8 - length, 2)
        return hashlib.sha256(file.read(length)).hexdigest()
