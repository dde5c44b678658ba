"""The six stages in this process, over HTTP, with tiny random models: accounting, skipping, quarantine, the gate."""

from __future__ import annotations

import dataclasses
import http.server
import io
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from expectations.caption_suite import GateThresholds
from expectations.schema import published_schema, rejected_schema
from models.profiles import CaptionerRef, RankerRef, RepairerRef
from models.sampling import Sampling
from tasks.caption import CaptionSettings, caption
from tasks.download import DownloadLimits
from tasks.download.stage import DownloadSettings, download
from tasks.errors import DownloadFailed, PublishFailed, ValidationFailed
from tasks.partition_state import is_settled, read_state
from tasks.plan import PlanSettings, plan_run
from tasks.publish import PublishSettings, publish
from tasks.rank import RankSettings, rank
from tasks.repair import RepairSettings, repair
from tasks.stages import STAGES, Job, StageRecord, marker_path, read_record, table_path
from tasks.validate import ValidateSettings, validate, validation_path
from tests.models.tiny import build_tiny_blip, build_tiny_clip, build_tiny_t5

IMAGES = 12
LENIENT = GateThresholds(min_words=1, max_quarantined_share=1.0)


@dataclass(frozen=True)
class Settings:
    """The settings of all stages, as a test wants them."""

    download: DownloadSettings
    caption: CaptionSettings
    rank: RankSettings
    repair: RepairSettings
    validate: ValidateSettings
    publish: PublishSettings


class Pictures(http.server.BaseHTTPRequestHandler):
    """Pictures of plain colours by number; anything else is not found."""

    def do_GET(self) -> None:
        number = self.path.removeprefix("/").removesuffix(".png")
        if not number.isdecimal():
            self.send_error(404)
            return
        content = io.BytesIO()
        Image.new("RGB", (40, 30), (20 * int(number) % 256, 90, 200 - 15 * int(number))).save(content, "PNG")
        self.send_response(200)
        self.end_headers()
        self.wfile.write(content.getvalue())

    def log_message(self, format: str, *args: object) -> None:
        """Quiet."""


@pytest.fixture(scope="module")
def host() -> Iterator[str]:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Pictures)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory, host: str) -> Settings:
    models = tmp_path_factory.mktemp("models")
    clip = RankerRef(f"local-dir:{build_tiny_clip(models / 'clip')}")
    sampling = Sampling(
        candidates=6, top_p=0.95, min_new_tokens=2, max_new_tokens=6, force_eos_probability=None
    )
    return Settings(
        download=DownloadSettings(DownloadLimits(allow_hosts=(host,), attempts=1)),
        caption=CaptionSettings(CaptionerRef(str(build_tiny_blip(models / "blip"))), "blip", sampling, 5),
        rank=RankSettings(clip, clip, "clip", "clip", keep=3, images_per_batch=5),
        repair=RepairSettings(RepairerRef(str(build_tiny_t5(models / "t5"))), "t5"),
        validate=ValidateSettings(LENIENT, "tiny@0"),
        publish=PublishSettings(metadata={"cocoscribe_model": "tiny@0"}, run_digest="one"),
    )


@pytest.fixture
def job(tmp_path: Path, host: str) -> Job:
    urls: list[str | None] = [f"http://{host}/{n}.png" for n in range(IMAGES)]
    urls[3:3] = [None, f"http://{host}/none.png", urls[0]]
    source = tmp_path / "in.parquet"
    pq.write_table(
        pa.table({"URL": urls, "TEXT": [f"text {n}" for n in range(len(urls))], "hash": range(len(urls))}),
        source,
    )
    return plan_run([source], tmp_path / "out", PlanSettings()).job(tmp_path / "out", 0)


def run_stages(job: Job, settings: Settings) -> dict[str, StageRecord]:
    downloaded = download.fn(job, settings.download)
    captioned = caption.fn(job, downloaded, settings.caption)
    ranked = rank.fn(job, downloaded, captioned, settings.rank)
    repaired = repair.fn(job, ranked, settings.repair)
    validated = validate.fn(job, repaired, settings.validate)
    published = publish.fn(job, validated, settings.publish)
    return dict(zip(STAGES, (downloaded, captioned, ranked, repaired, validated, published), strict=True))


def times(job: Job) -> dict[str, int]:
    return {stage: marker_path(job, stage).stat().st_mtime_ns for stage in STAGES}


def test_every_row_ends_once_in_the_published_schema(job: Job, settings: Settings) -> None:
    records = run_stages(job, settings)
    data, rejected = pq.read_table(job.data_file), pq.read_table(job.rejected_file)
    assert data.schema.equals(published_schema())
    assert rejected.schema.equals(rejected_schema())
    assert pq.read_schema(job.data_file).metadata[b"cocoscribe_model"] == b"tiny@0"
    keys = data["key"].to_pylist() + rejected["key"].to_pylist()
    assert sorted(keys) == [f"00000-{n:09d}" for n in range(IMAGES + 3)]
    reasons = dict(zip(rejected["key"].to_pylist(), rejected["reason"].to_pylist(), strict=True))
    assert reasons["00000-000000003"] == "missing_url"
    assert reasons["00000-000000004"] == "http_not_found"
    assert reasons["00000-000000005"] == "duplicate_url"
    for row in data.to_pylist():
        assert row["top_caption_raw"] in row["all_captions"]
        assert row["all_similarities"] == sorted(row["all_similarities"], reverse=True)
        assert len(row["all_captions"]) == len(row["all_similarities"]) == len(set(row["all_captions"]))
        if row["finalist_similarities"] is None:
            assert len(row["all_captions"]) == 1
        else:
            best = max(range(len(row["finalist_similarities"])), key=row["finalist_similarities"].__getitem__)
            assert row["top_caption_raw"] == row["all_captions"][best]
            assert len(row["finalist_similarities"]) == min(3, len(row["all_captions"]))
        assert row["hash"] == int(row["key"][-9:])
        assert row["TEXT"] == f"text {row['hash']}"
        assert row["WIDTH"] is None
        assert (row["image_width"], row["image_height"]) == (40, 30)
    state = read_state(job)
    assert state is not None
    assert state["rows_in"] == state["rows_published"] + state["rows_rejected"] == IMAGES + 3
    assert state["rows_published"] == data.num_rows == records["publish"].rows_out
    assert is_settled(job, "one")
    assert not is_settled(job, "two")


def test_a_change_repeats_exactly_what_depends_on_it(job: Job, settings: Settings) -> None:
    run_stages(job, settings)
    before = times(job)
    run_stages(job, settings)
    assert times(job) == before, "nothing changed, nothing ran"

    def changed(new: Settings) -> list[str]:
        old = times(job)
        run_stages(job, new)
        return [stage for stage in STAGES if times(job)[stage] != old[stage]]

    reseeded = dataclasses.replace(settings.caption.sampling, seed=7)
    assert changed(dataclasses.replace(settings, caption=dataclasses.replace(settings.caption, sampling=reseeded))) == [
        "caption", "rank", "repair", "validate", "publish",
    ]  # fmt: skip
    run_stages(job, settings)
    assert (
        changed(dataclasses.replace(settings, rank=dataclasses.replace(settings.rank, keep=1)))[0] == "rank"
    )
    run_stages(job, settings)
    # A gate that judges the same rows good changes the verdict alone: what it passes on is equal.
    stricter = ValidateSettings(dataclasses.replace(LENIENT, max_words=39), "tiny@0")
    assert changed(dataclasses.replace(settings, validate=stricter)) == ["validate"]
    run_stages(job, settings)
    batches = dataclasses.replace(
        settings,
        caption=dataclasses.replace(settings.caption, images_per_batch=1),
        rank=dataclasses.replace(settings.rank, images_per_batch=1),
        repair=dataclasses.replace(settings.repair, captions_per_batch=1),
        download=DownloadSettings(dataclasses.replace(settings.download.limits, concurrency=1)),
    )
    assert changed(batches) == [], "how fast is not part of what"


def test_batch_sizes_do_not_change_the_data(job: Job, settings: Settings, tmp_path: Path) -> None:
    run_stages(job, settings)
    one_by_one = dataclasses.replace(
        settings,
        caption=dataclasses.replace(settings.caption, images_per_batch=1),
        rank=dataclasses.replace(settings.rank, images_per_batch=1),
        repair=dataclasses.replace(settings.repair, captions_per_batch=1),
    )
    other = dataclasses.replace(job, out=str(tmp_path / "other"))
    plan_run([Path(job.source)], tmp_path / "other", PlanSettings())
    run_stages(other, one_by_one)
    inexact = ["all_similarities", "top_similarity", "finalist_similarities"]
    first, second = pq.read_table(job.data_file), pq.read_table(other.data_file)
    assert first.drop_columns(inexact).equals(second.drop_columns(inexact))
    for a, b in zip(
        first["all_similarities"].to_pylist(), second["all_similarities"].to_pylist(), strict=True
    ):
        assert a == pytest.approx(b, abs=1e-4)
    assert pq.read_table(job.rejected_file).equals(pq.read_table(other.rejected_file))


def test_a_planted_bad_partition_is_not_published(job: Job, settings: Settings) -> None:
    """Half of the captions keep the captioner's prompt: too many to quarantine."""
    downloaded = download.fn(job, settings.download)
    captioned = caption.fn(job, downloaded, settings.caption)
    ranked = rank.fn(job, downloaded, captioned, settings.rank)
    repaired = repair.fn(job, ranked, settings.repair)
    path = table_path(job, "repair")
    table = pq.read_table(path)
    spoilt = [
        f"a picture of {text}" if n % 2 else text for n, text in enumerate(table["top_caption"].to_pylist())
    ]
    pq.write_table(table.set_column(1, table.schema.field(1), pa.array(spoilt)), path)
    with pytest.raises(ValidationFailed, match="prompt") as caught:
        validate.fn(job, repaired, ValidateSettings(GateThresholds(), "tiny@0"))
    assert "\n" not in str(caught.value)
    assert caught.value.counts["rows"] == IMAGES
    assert not job.data_file.exists()
    assert not job.rejected_file.exists()
    assert read_record(job, "validate") is None
    assert validation_path(job).exists(), "the verdict is kept for people"


def test_rows_lost_on_the_way_stop_publication(job: Job, settings: Settings) -> None:
    records = run_stages(job, settings)
    for path in (job.data_file, marker_path(job, "publish")):
        path.unlink()
    validated = pq.read_table(table_path(job, "validate"))
    pq.write_table(validated.slice(1), table_path(job, "validate"))
    with pytest.raises(PublishFailed, match="nothing was published"):
        publish.fn(job, records["validate"], settings.publish)
    assert not job.data_file.exists()


def test_an_input_that_shrank_during_the_run_is_named(job: Job, settings: Settings) -> None:
    pq.write_table(pq.read_table(job.source).slice(0, 4), job.source)
    with pytest.raises(DownloadFailed, match="was changed during the run"):
        download.fn(job, settings.download)


def test_publishing_again_after_the_data_was_deleted(job: Job, settings: Settings) -> None:
    records = run_stages(job, settings)
    before = job.data_file.read_bytes()
    job.data_file.unlink()
    assert not is_settled(job, "one")
    publish.fn(job, records["validate"], settings.publish)
    assert job.data_file.read_bytes() == before


def test_images_can_be_dropped_once_published(job: Job, settings: Settings) -> None:
    run_stages(
        job, dataclasses.replace(settings, publish=dataclasses.replace(settings.publish, keep_images=False))
    )
    assert not table_path(job, "download").exists()
    assert is_settled(job, "one")
