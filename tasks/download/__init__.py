"""Images from URLs of strangers: bounded in time, bytes and pixels, public addresses only, one result per
row.

Read ``downloader.py`` first; ``docs/download.md`` gives the rules and the reasons for people.
"""

from tasks.download.downloader import download_images, download_rows
from tasks.download.limits import DownloadLimits
from tasks.download.results import Downloaded, ImageRow, Reason, Refused

__all__ = [
    "DownloadLimits",
    "Downloaded",
    "ImageRow",
    "Reason",
    "Refused",
    "download_images",
    "download_rows",
]
