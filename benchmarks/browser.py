"""Times of the codec in Chromium, and what it fetches: python benchmarks/browser.py SITE, which `make site-web` makes.

A photo of 768 x 512 is encoded and decoded with one thread and with threads; times are medians over `--rounds`, weights
loaded. At most 14 MB should come before the first picture.
"""

import argparse
import base64
import io
import json
import os
import statistics
import subprocess
from pathlib import Path

from PIL import Image

ROOT = Path(__file__).resolve().parents[1]
GOAL = 14_000_000


def perform(site: Path, jobs: list[dict], **options: object) -> dict:
    """What web/test/browser.mjs gives."""
    command = ["node", ROOT / "web" / "test" / "browser.mjs", site.resolve()]
    question = json.dumps({"jobs": jobs, **options})
    done = subprocess.run(command, input=question, capture_output=True, text=True, cwd=ROOT / "web", check=True)
    return json.loads(done.stdout)


def pictures() -> list[str]:
    """The photo of demo/ at 768 x 512, and its mirror image, so that nothing is known from the time before."""
    photo = Image.open(ROOT / "demo" / "photo.png").convert("RGB").resize((768, 512), Image.Resampling.LANCZOS)
    files = []
    for picture in (photo, photo.transpose(Image.Transpose.FLIP_LEFT_RIGHT)):
        buffer = io.BytesIO()
        picture.save(buffer, "PNG")
        files.append(base64.b64encode(buffer.getvalue()).decode())
    return files


def main() -> None:
    parser = argparse.ArgumentParser(description="Times of the codec in Chromium.")
    parser.add_argument("site", type=Path, nargs="?", default=ROOT / "site")
    parser.add_argument("--rounds", type=int, default=5, help="of which times are the median (default: 5)")
    options = parser.parse_args()
    site, rounds = options.site, options.rounds
    encodings = [{"kind": "encode", "file": file, "options": {"quality": 28}} for file in pictures()]
    files = [result["value"]["bytes"] for result in perform(site, encodings)["jobs"]]
    first = perform(site, [{"kind": "decode", "bytes": files[0], "quiet": True}])["requests"]
    fetched = [(path, size) for path, size in first if path.startswith("/codec/")]
    total = sum(size for _, size in fetched)
    print(f"the first decode fetches {total:,} bytes in {len(fetched)} files, {total / GOAL:.0%} of what it may")
    print(f"load {os.getloadavg()[0]:.1f}; seconds")
    print(f"{'threads':>7} {'first decode':>13} {'decode':>7} {'4 steps':>8} {'encode':>7}")
    for threads in (1, max(2, (os.cpu_count() or 2) // 2)):
        decode = [{"kind": "decode", "bytes": files[n % 2], "quiet": True} for n in range(1 + rounds)]
        sample = [{**decode[n % 2], "options": {"steps": 4}} for n in range(3)]
        encode = [{**encodings[n % 2], "quiet": True} for n in range(1 + rounds)]
        answer = perform(site, [*decode, *sample, *encode], isolated=True, options={"threads": threads})
        times = [result["ms"] / 1000 for result in answer["jobs"]]
        decodes, samples, encodes = times[1 : len(decode)], times[len(decode) + 1 : -len(encode)], times[-rounds:]
        medians = [statistics.median(part) for part in (decodes, samples, encodes)]
        print(f"{threads:7} {times[0]:13.2f} {medians[0]:7.2f} {medians[1]:8.2f} {medians[2]:7.2f}")


if __name__ == "__main__":
    main()
