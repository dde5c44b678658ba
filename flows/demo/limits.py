"""The demo's download limits: the defaults with less patience, since its server is on the same machine."""

from __future__ import annotations

from tasks.download import DownloadLimits


def demo_limits(allow_host: str) -> DownloadLimits:
    """Limits under which every planted fault shows within seconds; ``allow_host`` is the demo server's.

    The endless answer costs ``attempts`` times ``total_timeout_seconds``. Healthy answers take milliseconds:
    three seconds leave room on a machine whose cores are all captioning.
    """
    return DownloadLimits(
        allow_hosts=(allow_host,),
        read_timeout_seconds=1.0,
        total_timeout_seconds=3.0,
        attempts=2,
        backoff_seconds=0.2,
        max_bytes=4 * 2**20,
    )
