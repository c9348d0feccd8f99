/**
 * The fixed ground beneath the learned transforms: a 16 x 16 DCT in opponent colours, whitened, as `conditional/dct.py`.
 *
 *     b_(k, u, v) = colour_k cos_u cos_v        y_c = <b_c, x> / std_c        sketch = sum_c std_c y_c b_c
 */

import { type Planes, STRIDE as BLOCK } from "./planes.ts";

const COLOURS = [[1, 1, 1], [1, 0, -1], [1, -2, 1]]; // prettier-ignore
const LEVEL = [3.9, 1.5, 0.75];
const KNEE = 0.2;
const FALL = -0.75;
const FINE_LEVELS = 24;
const MEAN_STEPS = 4;
const LEAST_UNCLIPPED = 0.25;
const PLACES = BLOCK * BLOCK;

export interface Waves {
  /** (channels, 3 x 256), orthonormal rows. */
  basis: Float32Array;
  /** (channels,), falling. */
  std: Float32Array;
}

const kept = new Map<number, Waves>();

export function dctWaves(channels: number): Waves {
  if (!kept.has(channels)) kept.set(channels, computeWaves(channels));
  return kept.get(channels)!;
}

function computeWaves(channels: number): Waves {
  const all = LEVEL.flatMap((level, colour) =>
    Array.from({ length: PLACES }, (_, place) => {
      const [u, v] = [Math.floor(place / BLOCK), place % BLOCK];
      return { colour, u, v, std: level * (u * u + v * v + KNEE) ** FALL };
    }),
  );
  const chosen = all.sort((one, other) => other.std - one.std).slice(0, channels);
  const cosine = (u: number, i: number) =>
    Math.cos((Math.PI * (i + 0.5) * u) / BLOCK) * Math.sqrt(2 / BLOCK) * (u ? 1 : Math.SQRT1_2);
  const basis = new Float32Array(channels * 3 * PLACES);
  chosen.forEach(({ colour, u, v }, channel) => {
    const length = Math.hypot(...COLOURS[colour]!);
    for (let at = 0; at < 3 * PLACES; at++) {
      const [i, j] = [Math.floor((at % PLACES) / BLOCK), at % BLOCK];
      basis[channel * 3 * PLACES + at] = (COLOURS[colour]![Math.floor(at / PLACES)]! / length) * cosine(u, i) * cosine(v, j);
    }
  });
  return { basis, std: Float32Array.from(chosen, ({ std }) => std) };
}

/** What an analysis convolves patches in the order (place, colour) with: (channels, 768). */
export function wavesForth(channels: number): Float32Array {
  const { basis, std } = dctWaves(channels);
  return basis.map((_, at) => {
    const [channel, rest] = [Math.floor(at / (3 * PLACES)), at % (3 * PLACES)];
    return basis[channel * 3 * PLACES + (rest % 3) * PLACES + Math.floor(rest / 3)]! / std[channel]!;
  });
}

/** What a sketch convolves latents with: (768, channels). */
export function wavesBack(channels: number): Float32Array {
  const { basis, std } = dctWaves(channels);
  return basis.map((_, at) => basis[(at % channels) * 3 * PLACES + Math.floor(at / channels)]! * std[at % channels]!);
}

/** Corrects y where a block of x has detail that latents cannot hold: its mean colour stays. Returns their number. */
export function matchFineBlocks(y: Planes, x: Planes, ground: Planes): number {
  const { std } = dctWaves(y.channels);
  const blocks = y.rows * y.columns;
  let fine = 0;
  for (let block = 0; block < blocks; block++) {
    const pixels = blockOf(x, block);
    let missing = pixels.reduce((sum, value) => sum + value * value, 0);
    for (let channel = 0; channel < y.channels; channel++) {
      missing -= (ground.data[channel * blocks + block]! * std[channel]!) ** 2;
    }
    if (!(Math.sqrt(Math.max(0, missing) / (3 * PLACES)) * 127.5 > FINE_LEVELS)) continue;
    matchMeans(y, block, pixels);
    fine++;
  }
  return fine;
}

/** Newton steps towards latents whose sketch, clipped, has the mean colour of the block. */
function matchMeans(y: Planes, block: number, pixels: Float32Array): void {
  const { basis, std } = dctWaves(y.channels);
  const blocks = y.rows * y.columns;
  for (let step = 0; step < MEAN_STEPS; step++) {
    const sketch = new Float32Array(3 * PLACES);
    for (let channel = 0; channel < y.channels; channel++) {
      const value = y.data[channel * blocks + block]! * std[channel]!;
      for (let at = 0; at < sketch.length; at++) sketch[at]! += basis[channel * 3 * PLACES + at]! * value;
    }
    const moves = [0, 1, 2].map((colour) => {
      let [error, unclipped] = [0, 0];
      for (let at = colour * PLACES; at < (colour + 1) * PLACES; at++) {
        error += pixels[at]! - Math.min(1, Math.max(-1, sketch[at]!));
        unclipped += Math.abs(sketch[at]!) < 1 ? 1 : 0;
      }
      return error / PLACES / Math.max(LEAST_UNCLIPPED, unclipped / PLACES);
    });
    for (let channel = 0; channel < y.channels; channel++) {
      for (let at = 0; at < 3 * PLACES; at++) {
        y.data[channel * blocks + block]! += (basis[channel * 3 * PLACES + at]! / std[channel]!) * moves[Math.floor(at / PLACES)]!;
      }
    }
  }
}

/** The 768 numbers of a block of a picture. */
function blockOf(x: Planes, block: number): Float32Array {
  const columns = x.columns / BLOCK;
  const [top, left] = [Math.floor(block / columns) * BLOCK, (block % columns) * BLOCK];
  const out = new Float32Array(3 * PLACES);
  for (let line = 0; line < 3 * BLOCK; line++) {
    const start = (Math.floor(line / BLOCK) * x.rows + top + (line % BLOCK)) * x.columns + left;
    out.set(x.data.subarray(start, start + BLOCK), line * BLOCK);
  }
  return out;
}
