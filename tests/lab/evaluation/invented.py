"""Rows that nobody measured: curves with closed forms, for the rooms that only read a table."""

import math
from dataclasses import replace

from regrain_lab.evaluation.table import Row, Timing

IMAGES = ("kodim01.png", "kodim02.png", "kodim03.png")
SETTINGS = ("10", "30", "50", "70")
FINGERPRINT = "01020304-05060708"

# Times of three codecs, of one run.
WEBP = Timing(
    run=1,
    codec="WebP",
    version="1",
    options="method 6",
    setting="30",
    seed=None,
    steps=None,
    realism=None,
    fingerprint="",
    pictures=3,
    pixels=393216,
    threads=1,
    encode_s=0.1,
    decode_s=0.01,
    analyse_s=None,
    code_s=None,
    symbols_s=None,
    regrow_s=None,
    cold_encode_s=0.5,
    cold_decode_s=0.4,
    machine="a processor",
)
JPEG = replace(WEBP, codec="JPEG", encode_s=0.05, cold_decode_s=None)
OURS = replace(
    WEBP,
    codec="regrain",
    options="",
    fingerprint=FINGERPRINT,
    seed=0,
    steps=1,
    realism=1.0,
    encode_s=0.4,
    decode_s=0.5,
    analyse_s=0.3,
    code_s=0.1,
    symbols_s=0.1,
    regrow_s=0.4,
)


def psnr(bpp: float) -> float:
    """dB, linear in log-rate: doubling the rate gives 3."""
    return 30 + 3 * math.log2(bpp)


def row(codec: str, image: str, setting: str, scale: float = 1.0, **fields) -> Row:
    """One row. Rates are `scale` times those of JPEG at equal quality; pictures differ in rate by their number."""
    bpp = 0.1 * 1.02 ** (float(setting) + 10 * IMAGES.index(image))
    metrics = {"psnr": psnr(bpp), "ms_ssim": None, "lpips_alex": 0.5 / (1 + bpp), "lpips_squeeze": 0.4 / (1 + bpp)}
    filled = {
        "version": "1.0",
        "options": "fixed",
        "width": 768,
        "height": 512,
        "bytes": round(bpp * scale * 768 * 512 / 8),
        "bpp": bpp * scale,
        "metrics": metrics,
        "encode_s": 0.01,
        "decode_s": 0.002,
        "peak_mb": 300.0,
        "machine": "a processor, 2 cores",
        "threads": 1,
    }
    return Row(image=image, codec=codec, setting=setting, **{**filled, **fields})


def baseline(codec: str = "JPEG", scale: float = 1.0, **fields) -> list[Row]:
    """A codec on all pictures at all settings."""
    return [row(codec, image, setting, scale, **fields) for image in IMAGES for setting in SETTINGS]


def regrain(scale: float = 0.8, ways=((1, 0.0), (1, 1.0)), **fields) -> list[Row]:
    """Regrain in several ways: at higher realism and more steps PSNR falls, and so does LPIPS."""
    made = []
    for image in IMAGES:
        for setting in SETTINGS:
            for steps, realism in ways:
                plain = row("regrain", image, setting, scale, options="", fingerprint=FINGERPRINT)
                metrics = dict(plain.metrics)
                metrics["psnr"] -= realism + 0.1 * steps
                metrics["lpips_alex"] *= 1 - 0.3 * realism - 0.01 * steps
                knobs = {"seed": 0, "steps": steps, "realism": realism, "metrics": metrics, "decode_s": 0.4 * steps}
                made.append(Row(**{**vars(plain), **knobs, **fields}))
    return made
