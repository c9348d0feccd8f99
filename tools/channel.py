"""What reverse channel coding costs: bytes over the KL divergence, and time, by the size of a chunk.

    python tools/channel.py

One shift of 2^18 values (296 x 296 pixels) and 8,000 bits of divergence, at each chunk size; `kept` is how much of
the shift the samples have on average, 1 where the candidates suffice.
"""

import time

import numpy as np

from regrain.progressive import sections
from regrain.progressive.channel import divergence, receive, send

SIZE, BITS, RUNS = 2**18, 8000.0, 3


def main() -> None:
    """Print the table."""
    shift = np.random.default_rng(0).standard_normal(SIZE).astype(np.float32)
    shift *= np.float32(np.sqrt(BITS / divergence(shift)))
    print("| bits a chunk | candidates | bits written, over the divergence | kept | encode, s | decode, s |")
    print("|---|---|---|---|---|---|")
    for chunk in (1.0, 2.0, 4.0, 6.0, 8.0, 10.0):
        print(_line(shift, chunk))


def _line(shift: np.ndarray, chunk: float) -> str:
    size, kept, seconds = 0.0, 0.0, np.zeros(2)
    for run in range(RUNS):
        start = time.perf_counter()
        message = send(shift, 0, run, chunk_bits=chunk)
        middle = time.perf_counter()
        sample = receive(message, SIZE, 0, run)
        seconds += (middle - start, time.perf_counter() - middle)
        size += 8 * len(sections.pack([message])) / RUNS
        kept += float(sample @ shift / (shift @ shift)) / RUNS
    encode, decode = seconds / RUNS
    share = size / divergence(shift)
    return f"| {chunk:g} | 2^{message.candidates} | {share:.2f} | {kept:.3f} | {encode:.2f} | {decode:.2f} |"


if __name__ == "__main__":
    main()
