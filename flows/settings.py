"""From a run's config to what each stage is told, and the files in ``OUT/_run`` that keep it for any process."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from importlib import metadata
from pathlib import Path
from typing import Any

from expectations.caption_suite import GateThresholds
from flows.config import RunConfig
from models.identity import local_directory, model_fingerprint
from models.profiles import Profile
from tasks.caption import CaptionSettings
from tasks.download.stage import DownloadSettings
from tasks.durable import digest_of, write_json
from tasks.errors import UserError
from tasks.partition_state import is_settled
from tasks.plan import Plan
from tasks.publish import PublishSettings
from tasks.rank import RankSettings
from tasks.repair import RepairSettings
from tasks.stages import Job
from tasks.validate import ValidateSettings


@dataclass(frozen=True)
class StageSettings:
    """What the six stages of every partition of a run are told."""

    download: DownloadSettings
    caption: CaptionSettings
    rank: RankSettings
    repair: RepairSettings
    validate: ValidateSettings
    publish: PublishSettings


def identify_models(profile: Profile) -> dict[str, dict[str, str | None]]:
    """Name, revision and fingerprint of the profile's models; hub models are fetched if they are not cached.

    Raises ModelError, in one line, where one is missing.
    """
    refs = (profile.captioner.source, profile.ranker1.name, profile.repairer.source)
    if any(local_directory(source) is None for source in refs):
        from models.loading import fetch_profile  # torch: only where a hub is needed

        fetch_profile(profile)
    models: dict[str, dict[str, str | None]] = {
        "captioner": _identity(profile.captioner.source, profile.captioner.revision),
        "ranker1": _identity(profile.ranker1.name, profile.ranker1.pretrained),
    }
    if profile.ranker2:
        models["ranker2"] = _identity(profile.ranker2.name, profile.ranker2.pretrained)
    models["repairer"] = _identity(profile.repairer.source, profile.repairer.revision)
    return models


def _identity(source: str, revision: str | None) -> dict[str, str | None]:
    return {"source": source, "revision": revision, "fingerprint": model_fingerprint(source, revision)}


def stage_settings(config: RunConfig, models: dict[str, dict[str, str | None]]) -> StageSettings:
    """What each stage is told under ``config`` with the models of :func:`identify_models`."""
    profile = config.resolve_profile()
    prints = {role: str(model["fingerprint"]) for role, model in models.items()}
    recipe = digest_of({"models": prints, "sampling": profile.sampling, "keep": profile.keep})
    model = f"{profile.name}@{recipe[:12]}"
    download = DownloadSettings(config.download, config.plan.reject_duplicate_urls)
    caption = CaptionSettings(
        profile.captioner, prints["captioner"], profile.sampling, config.batch.caption_images
    )
    rank = RankSettings(
        profile.ranker1,
        profile.ranker2,
        prints["ranker1"],
        prints.get("ranker2", ""),
        profile.keep,
        config.batch.rank_images,
    )
    repair = RepairSettings(profile.repairer, prints["repairer"], config.batch.repair_captions)
    gate = config.gate
    if (prompt := profile.sampling.prompt.strip()) and gate.prompt == GateThresholds.prompt:
        gate = replace(gate, prompt=prompt)  # what must not remain is what this profile puts in front
    validate = ValidateSettings(gate, model)
    what = {
        "download": config.download,
        "recipe": recipe,
        "instruction": profile.repairer.instruction,
        "gate": gate,
        "model": model,
    }
    publish = PublishSettings(
        metadata={"cocoscribe_version": metadata.version("cocoscribe"), "cocoscribe_model": model},
        run_digest=digest_of(what),
        keep_images=config.keep_images,
    )
    return StageSettings(download, caption, rank, repair, validate, publish)


def unsettled(plan: Plan, config: RunConfig, models: dict[str, dict[str, str | None]]) -> list[Job]:
    """The partitions that are not published, whole, under these settings."""
    run_digest = stage_settings(config, models).publish.run_digest
    return [job for job in plan.jobs(config.out) if not is_settled(job, run_digest)]


def write_run_files(config: RunConfig, models: dict[str, dict[str, str | None]]) -> None:
    """Keep config and models beside the data: ``OUT/_run/config.json`` and ``OUT/_run/models.json``."""
    sampling = config.resolve_profile().sampling
    run_digest = stage_settings(config, models).publish.run_digest
    write_json(
        config.out / "_run" / "models.json",
        {"models": models, "sampling": sampling, "run_digest": run_digest, "versions": _versions()},
    )
    write_json(config.out / "_run" / "config.json", json.loads(config.model_dump_json()))


def read_config(out: Path) -> RunConfig:
    """The config of the run in ``out``; UserError where there is none."""
    path = out / "_run" / "config.json"
    try:
        return RunConfig.model_validate_json(path.read_text()).model_copy(update={"out": out})
    except FileNotFoundError:
        raise UserError(f"{out} holds no run: start one with 'cocoscribe run SOURCE --out {out}'") from None
    except ValueError as reason:
        raise UserError(f"{path} cannot be read by this version: {str(reason).splitlines()[0]}") from None


def read_models(out: Path) -> dict[str, dict[str, str | None]]:
    """The models of the run in ``out``, as identified when it was started."""
    found: dict[str, Any] = json.loads((out / "_run" / "models.json").read_text())
    return found["models"]  # type: ignore[no-any-return]


def _versions() -> dict[str, str]:
    names = (
        "cocoscribe",
        "torch",
        "transformers",
        "open_clip_torch",
        "pyarrow",
        "great_expectations",
        "prefect",
        "dask",
    )
    return {name: metadata.version(name) for name in names}
