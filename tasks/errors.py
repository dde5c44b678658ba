"""What can go wrong with a run. A failed image is data (a row in ``rejected/``); a failed partition is an exception.

CaptionPipelineError            something stopped a partition or a run
+-- UserError                   the user's mistake or machine; one line that says what to do; nothing was written
+-- DownloadFailed              stage download
+-- GenerationFailed            stage caption
+-- RankingFailed               stage rank
+-- RepairFailed                stage repair
+-- ValidationFailed            stage validate: the gate refused the partition (permanent)
+-- PublishFailed               stage publish: the accounting does not add up, or OUT cannot be written
"""

from __future__ import annotations

from collections.abc import Mapping


class CaptionPipelineError(Exception):
    """Base of all; carries the partition's name and its row counts where they are known."""

    def __init__(
        self, message: str, *, partition: str | None = None, counts: Mapping[str, int] | None = None
    ) -> None:
        self.message = message
        self.partition = partition
        self.counts = dict(counts or {})
        super().__init__(f"{partition}: {message}" if partition else message)

    def __reduce__(self) -> tuple[object, ...]:
        # Dask and Prefect pickle exceptions between processes; keyword-only arguments need help.
        return (_rebuild, (type(self), self.message, self.partition, self.counts))


def _rebuild(
    kind: type[CaptionPipelineError], message: str, partition: str | None, counts: Mapping[str, int]
) -> CaptionPipelineError:
    return kind(message, partition=partition, counts=counts)


class UserError(CaptionPipelineError):
    """The user's mistake or machine: printed as one line, exit code 2 for usage, 1 for failure."""


class DownloadFailed(CaptionPipelineError):
    """The download stage could not finish its partition."""


class GenerationFailed(CaptionPipelineError):
    """The caption stage could not finish its partition."""


class RankingFailed(CaptionPipelineError):
    """The rank stage could not finish its partition."""


class RepairFailed(CaptionPipelineError):
    """The repair stage could not finish its partition."""


class ValidationFailed(CaptionPipelineError):
    """The gate refused the partition: nothing of it appears in ``data/``."""


class PublishFailed(CaptionPipelineError):
    """Rows do not add up, or the output cannot be written."""
