"""The page in a real browser that may not use the network."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from secondcoder.reporting.page import render
from tests.reporting.made import full_content

NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
BROWSER = next(filter(None, map(shutil.which, NAMES)), None)
# Every name and address leads nowhere, so that a request would fail and say so in the console.
OPTIONS = (
    "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync --disable-extensions --host-resolver-rules=MAP\u00a0*\u00a0~NOTFOUND "
    "--enable-logging=stderr --v=0 --virtual-time-budget=2000"
)
pytestmark = [pytest.mark.slow, pytest.mark.skipif(BROWSER is None, reason="there is no Chromium on this machine")]


def opened(page: Path, profile: Path, *more: str) -> subprocess.CompletedProcess[str]:
    options = [option.replace("\u00a0", " ") for option in OPTIONS.split(" ")]
    return subprocess.run(
        [str(BROWSER), *options, f"--user-data-dir={profile}", *more, page.as_uri()],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )


def console(done: subprocess.CompletedProcess[str]) -> list[str]:
    return [line for line in done.stderr.splitlines() if "CONSOLE" in line]


def test_the_report_loads_without_the_network_and_without_an_error(tmp_path: Path) -> None:
    page = tmp_path / "report.html"
    page.write_text(render(full_content()), encoding="utf-8")
    done = opened(page, tmp_path / "profile", "--dump-dom")
    assert console(done) == []
    assert "Made by secondcoder" in done.stdout
    assert done.stdout.count('<svg class="plot"') == 10


def test_what_this_would_find_is_found(tmp_path: Path) -> None:
    page = tmp_path / "bad.html"
    page.write_text('<img src="https://example.org/x.png"><script>nonsense()</script>', encoding="utf-8")
    found = " ".join(console(opened(page, tmp_path / "profile", "--dump-dom")))
    assert "nonsense is not defined" in found


def test_the_report_is_no_wider_than_a_phone(tmp_path: Path) -> None:
    page = tmp_path / "report.html"
    page.write_text(render(full_content()), encoding="utf-8")
    frame = tmp_path / "frame.html"
    # Chromium's windows are never as narrow as a phone, frames may be.
    frame.write_text(
        '<iframe src="report.html" style="width:390px;height:800px"></iframe><p id="out"></p><script>onload = () => {'
        'const inner = document.querySelector("iframe").contentDocument.documentElement;'
        'document.title = inner.scrollWidth + " of " + inner.clientWidth}</script>',
        encoding="utf-8",
    )
    done = opened(frame, tmp_path / "profile", "--dump-dom", "--allow-file-access-from-files")
    title = re.search(r"<title>(\d+) of (\d+)</title>", done.stdout)
    assert title is not None
    assert int(title[1]) <= int(title[2])
