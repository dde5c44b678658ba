"""Every knob of a run, once. Composes the settings that stand beside the code they govern; a TOML file overrides them.

[run]        partition_rows = 10000   limit = 1000   seed = 0   keep_images = true
[download]   total_timeout_seconds = 30   allow_hosts = ["intranet.example:8080"]   ...
[sampling]   top_p = 0.9   candidates = 40   ...        (what is named replaces the profile's value)
[gate]       max_words = 40   ...
[batch]      caption_images = 16   rank_images = 32   repair_captions = 512
"""

from __future__ import annotations

import dataclasses
import tomllib
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from expectations.caption_suite import GateThresholds
from models.identity import ModelError
from models.profiles import Profile, get_profile
from models.sampling import Sampling
from tasks.download import DownloadLimits
from tasks.errors import UserError
from tasks.plan import PlanSettings


class BatchSizes(BaseModel):
    """How much at once: speed and memory, never results."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    caption_images: int = Field(default=16, ge=1, description="images per forward pass of the captioner")
    rank_images: int = Field(default=32, ge=1, description="images per forward pass of a ranker")
    repair_captions: int = Field(default=512, ge=1, description="captions handed to the repairer at once")


class RunConfig(BaseModel):
    """The one parameter of the flow ``caption-dataset``."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    sources: tuple[Path, ...] = Field(description="parquet files, or directories of them")
    out: Path = Field(description="directory of the run")
    profile: str = Field(
        "embedded", description="which models and hyperparameters: see 'cocoscribe models list'"
    )
    seed: int = Field(default=0, ge=0, lt=2**63, description="of the captioner's draws")
    plan: PlanSettings = PlanSettings()
    download: DownloadLimits = DownloadLimits()
    sampling: dict[str, Any] = Field(
        default_factory=dict, description="replaces values of the profile's sampling"
    )
    gate: GateThresholds = GateThresholds()
    batch: BatchSizes = BatchSizes()
    keep_images: bool = Field(
        True, description="keep downloaded images for later re-runs under other settings"
    )
    workers: int | None = Field(
        None, ge=1, description="Dask worker processes; one per GPU or core if not given"
    )
    scheduler: str | None = Field(
        default=None, description="address of a running Dask scheduler, tcp://host:8786"
    )

    def resolve_profile(self) -> Profile:
        """The profile with this run's sampling. Raises UserError in one line."""
        try:
            profile = get_profile(self.profile)
        except ModelError as reason:
            raise UserError(str(reason)) from None
        values = {**dataclasses.asdict(profile.sampling), **self.sampling, "seed": self.seed}
        if unknown := set(values) - {f.name for f in dataclasses.fields(Sampling)}:
            raise UserError(f"[sampling] has no {', '.join(sorted(unknown))}")
        try:
            sampling = TypeAdapter(Sampling).validate_python(values)
        except (ValidationError, ValueError) as reason:
            raise UserError(f"[sampling] {_first_error(reason)}") from None
        return dataclasses.replace(profile, sampling=sampling)


# Which TOML table holds which field of RunConfig.
_RUN_KEYS = ("profile", "seed", "keep_images", "workers", "scheduler")
_TABLES = ("run", "download", "sampling", "gate", "batch")


def load_config(path: Path | None, overrides: dict[str, Any]) -> RunConfig:
    """A RunConfig from a TOML file (may be None) and the command line's values, which win.

    ``overrides`` has RunConfig's fields; ``plan`` and ``download`` are dicts of what was given. Raises UserError.
    """
    found = _read_toml(path) if path else {}
    if unknown := set(found) - set(_TABLES):
        raise UserError(f"{path}: unknown table [{min(unknown)}]; there are [{'], ['.join(_TABLES)}]")
    run = found.get("run", {})
    plan_keys = {f.name for f in dataclasses.fields(PlanSettings)}
    if unknown := set(run) - plan_keys - set(_RUN_KEYS):
        raise UserError(
            f"{path}: [run] has no {min(unknown)}; there are {', '.join([*_RUN_KEYS, *sorted(plan_keys)])}"
        )
    values = {
        **{key: run[key] for key in _RUN_KEYS if key in run},
        **{key: value for key, value in overrides.items() if key not in ("plan", "download")},
        "plan": {**{k: v for k, v in run.items() if k in plan_keys}, **overrides.get("plan", {})},
        "download": {**found.get("download", {}), **overrides.get("download", {})},
        "sampling": found.get("sampling", {}),
        "gate": found.get("gate", {}),
        "batch": found.get("batch", {}),
    }
    for table, kind in (("download", DownloadLimits), ("gate", GateThresholds)):
        if unknown := set(values[table]) - {f.name for f in dataclasses.fields(kind)}:
            raise UserError(f"{path}: [{table}] has no {min(unknown)}")
    try:
        config = RunConfig.model_validate(values)
    except (ValidationError, ValueError) as reason:
        raise UserError(_first_error(reason)) from None
    config.resolve_profile()
    return config


def _read_toml(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text())
    except OSError as reason:
        raise UserError(f"cannot read {path}: {reason.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as reason:
        raise UserError(f"{path} is not valid TOML: {reason}") from None


def _first_error(reason: Exception) -> str:
    if isinstance(reason, ValidationError):
        first = reason.errors()[0]
        return f"{'.'.join(str(part) for part in first['loc'])}: {first['msg']}"
    return str(reason)
