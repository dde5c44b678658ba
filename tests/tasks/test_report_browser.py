"""The report in a real browser: nothing is fetched, nothing is refused by its own policy, no width scrolls sideways."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tasks.report import build_report
from tests.tasks.runs import make_run

pytestmark = pytest.mark.browser

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
WIDTHS = (360, 768, 1280)
# Frames of phone, tablet and desktop width around the report, measured from outside: it has no scripts of its own.
PROBE = """<!doctype html><body>%s<pre id="found"></pre><script>
addEventListener("load", () => {
  const found = [...document.querySelectorAll("iframe")].map(frame => {
    const page = frame.contentDocument;
    page.querySelectorAll("details").forEach(part => part.open = true);
    return {
      wide: page.documentElement.scrollWidth,
      room: frame.clientWidth,
      pictures: page.images.length,
      bars: page.querySelectorAll("rect.bar").length,
      padding: frame.contentWindow.getComputedStyle(page.querySelector(".sheet")).paddingTop,
    };
  });
  document.getElementById("found").textContent = JSON.stringify(found);
});
</script></body>"""


@pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed")
def test_report_in_a_browser(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", failed=1, partitions=2)
    build_report(run)
    frames = "".join(
        f'<iframe src="run/reports/index.html" style="width:{w}px;height:900px;border:0"></iframe>'
        for w in WIDTHS
    )
    (tmp_path / "probe.html").write_text(PROBE % frames)
    asked: list[str] = []

    class Handler(SimpleHTTPRequestHandler):
        def log_message(self, format: str, *args: object) -> None:
            asked.append(self.path)

    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=tmp_path)) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        shown = subprocess.run(
            [
                str(CHROMIUM), "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
                "--disable-background-networking", "--disable-component-update", "--disable-sync",
                "--enable-logging=stderr", f"--user-data-dir={tmp_path / 'profile'}", "--window-size=2600,1000",
                "--virtual-time-budget=8000", "--dump-dom", f"http://127.0.0.1:{server.server_port}/probe.html",
            ],
            capture_output=True, text=True, timeout=60, check=True,
        )  # fmt: skip
        server.shutdown()
    measured = json.loads(re.search(r'<pre id="found">(.*?)</pre>', shown.stdout).group(1))  # type: ignore[union-attr]
    assert [page["room"] for page in measured] == list(WIDTHS)
    for page in measured:
        assert page["wide"] <= page["room"], f"scrolls sideways at {page['room']} px"
        assert page["pictures"] == 16
        assert page["bars"] > 5
        assert page["padding"] != "0px", "the styles inside the page are at work"
    assert set(asked) - {"/favicon.ico"} == {"/probe.html", "/run/reports/index.html"}
    assert "Content Security Policy" not in shown.stderr
