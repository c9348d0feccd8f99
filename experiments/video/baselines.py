"""Frames between two key frames without a network: held, mixed, mixed along motion; and a whole clip by x265.

Clips are uint8 (F, H, W, 3). Key frames are the first and the last.
"""

from io import BytesIO
from typing import Final

import numpy as np
from numpy.typing import NDArray

__all__ = ["hevc", "hevc_within", "hold", "matched_mean", "mean"]

BLOCK, WINDOW, REACH = 8, 16, 14
"""Blocks that move as one, windows on which they are matched, and how far motion is sought each way, all in pixels."""
X265: Final = "qp={}:keyint={}:min-keyint={}:info=0:log-level=none:pools=none:frame-threads=1"
Clip = NDArray[np.uint8]


def hold(first: Clip, last: Clip, frames: int) -> Clip:
    """Each frame is the nearer key frame."""
    return np.stack([first if 2 * k < frames - 1 else last for k in range(frames)])


def mean(first: Clip, last: Clip, frames: int) -> Clip:
    """Each frame is the mean of the key frames, which stay as they are."""
    middle = np.round((first.astype(np.float64) + last) / 2).astype(np.uint8)
    return np.stack([first, *[middle] * (frames - 2), last])


def matched_mean(first: Clip, last: Clip, frames: int) -> Clip:
    """Each block of a frame at time k is a mix of those where the motion d, which makes them most alike, has it.

    Block by block, first(p - k d) against last(p + (1 - k) d) on windows about the block, all d of whole pixels within
    REACH, and a little dearer the longer d is.
    """
    ends = first.astype(np.float32), last.astype(np.float32)
    between = [_matched(*ends, k / (frames - 1)) for k in range(1, frames - 1)]
    return np.stack([first, *between, last])


def _matched(first: NDArray[np.float32], last: NDArray[np.float32], time: float) -> Clip:
    """The frame at a time between 0 and 1."""
    height, width = first.shape[:2]
    pad = REACH + WINDOW
    ends = [np.pad(frame, ((pad, pad), (pad, pad), (0, 0)), "edge") for frame in (first, last)]

    def pair(down: int, across: int) -> list[NDArray[np.float32]]:
        """Both key frames as the whole frame would have them if all of it moved so far."""
        shifts = [(-round(time * d), d - round(time * d)) for d in (down, across)]
        return [end[pad + y : pad + y + height, pad + x : pad + x + width]
                for end, y, x in zip(ends, shifts[0], shifts[1], strict=True)]  # fmt: skip

    best = np.full((height // BLOCK, width // BLOCK), np.inf)
    frame = np.zeros_like(first)
    for down in range(-REACH, REACH + 1):
        for across in range(-REACH, REACH + 1):
            a, b = pair(down, across)
            cost = _windowed(np.abs(a - b).mean(2)) + 0.02 * np.hypot(down, across)
            better = cost < best
            best[better] = cost[better]
            frame = np.where(_grown(better), (1 - time) * a + time * b, frame)
    return np.round(frame).astype(np.uint8)


def _windowed(error: NDArray[np.float32]) -> NDArray[np.float32]:
    """Means of (h, w) over windows about each block, (h / BLOCK, w / BLOCK)."""
    margin = (WINDOW - BLOCK) // 2
    padded = np.pad(error, margin, "edge")
    sums = np.pad(padded.cumsum(0).cumsum(1), ((1, 0), (1, 0)))
    top, left = (np.arange(0, side, BLOCK) for side in error.shape)
    corners = [sums[np.ix_(top + y, left + x)] for y in (0, WINDOW) for x in (0, WINDOW)]
    whole: NDArray[np.float32] = (corners[3] - corners[1] - corners[2] + corners[0]) / WINDOW**2
    return whole


def _grown(blocks: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Blocks as pixels, (h, w, 1)."""
    return blocks.repeat(BLOCK, 0).repeat(BLOCK, 1)[..., None]


def hevc(clip: Clip, qp: int) -> tuple[int, Clip]:
    """Bytes of the raw stream, and the decoded clip, by PyAV's x265 at one quantiser, 4:4:4, preset slow."""
    import av

    frames, file = len(clip), BytesIO()
    with av.open(file, "w", format="hevc") as container:
        stream = container.add_stream("libx265", rate=25)
        stream.width, stream.height, stream.pix_fmt = clip.shape[2], clip.shape[1], "yuv444p"
        stream.options = {"preset": "slow", "x265-params": X265.format(qp, frames, frames)}
        for picture in clip:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="rgb24")))
        container.mux(stream.encode())
    data = file.getvalue()
    with av.open(BytesIO(data), format="hevc") as container:
        decoded = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    return len(data), np.stack(decoded)


def hevc_within(clip: Clip, limit: int) -> tuple[int, Clip]:
    """The best of x265 that takes at most `limit` bytes, or its coarsest."""
    low, high = 0, 51
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if hevc(clip, middle)[0] <= limit else (middle + 1, high)
    return hevc(clip, low)
