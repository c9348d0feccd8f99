"""The codec in a real browser, for the tests: jobs in, results out; skipped where there is no Node or no Chromium."""

import base64
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
WEB = ROOT / "web"


def require() -> None:
    """Skip, with what is missing, where no browser can run."""
    if shutil.which("node") is None:
        pytest.skip("needs Node")
    if not (WEB / "node_modules" / "playwright-core").is_dir():
        pytest.skip("needs the packages of web/package-lock.json: npm ci in web")
    if not Path(os.environ.get("CHROMIUM", "/usr/bin/chromium")).exists():
        pytest.skip("needs Chromium; CHROMIUM names it where it is not /usr/bin/chromium")


def build(folder: Path) -> Path:
    """The site, built of the weights in the package."""
    model, site = folder / "model", folder / "site"
    subprocess.run([sys.executable, ROOT / "scripts" / "web.py", model], check=True, capture_output=True, cwd=ROOT)
    subprocess.run(["node", WEB / "build.mjs", "--site", site, model], check=True, cwd=WEB)
    return site


def perform(site: Path, jobs: list[dict[str, Any]], **options: Any) -> dict[str, Any]:
    """Results of jobs, see web/test/browser.mjs."""
    command = ["node", WEB / "test" / "browser.mjs", site]
    question = json.dumps({"jobs": jobs, **options})
    done = subprocess.run(command, input=question, capture_output=True, text=True, cwd=WEB, check=False)
    assert done.returncode == 0, done.stderr
    results: dict[str, Any] = json.loads(done.stdout)
    return results


def pack(data: bytes) -> str:
    return base64.b64encode(data).decode()


def unpack(text: str) -> bytes:
    return base64.b64decode(text)
