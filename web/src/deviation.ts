/** Where chance drew the picture: the deviation over seeds, in the colours of `regrain decode --map`. */

import type { Picture } from "./options.ts";

/** The standard deviation over so many seeds at each pixel, in levels of 255, row by row. */
export interface DeviationMap {
  values: Float32Array;
  width: number;
  height: number;
  seeds: number;
}

/** Colours from nothing to the most, evenly spaced. */
export const MAP_COLOURS = [[0, 0, 4], [60, 15, 110], [140, 41, 129], [222, 73, 104], [254, 159, 109], [252, 253, 191]] as const; // prettier-ignore

/** Means and squares of pictures of one size as they come (Welford, Technometrics 4, 1962). */
export class Deviation {
  private count = 0;
  private readonly means: Float32Array;
  private readonly squares: Float32Array;

  constructor(private readonly width: number, private readonly height: number) {
    this.means = new Float32Array(3 * width * height);
    this.squares = new Float32Array(width * height);
  }

  add({ data }: Picture): void {
    this.count++;
    for (let pixel = 0; pixel < this.squares.length; pixel++) {
      for (let channel = 0; channel < 3; channel++) {
        const [value, at] = [data[4 * pixel + channel]!, 3 * pixel + channel];
        const apart = value - this.means[at]!;
        this.means[at]! += apart / this.count;
        this.squares[pixel]! += (apart * (value - this.means[at]!)) / 3;
      }
    }
  }

  /** The root mean square over the channels of the unbiased estimate; nothing where there are fewer than two pictures. */
  map(): DeviationMap | undefined {
    const { width, height, count } = this;
    if (count < 2) return undefined;
    return { values: this.squares.map((sum) => Math.sqrt(sum / (count - 1))), width, height, seeds: count };
  }
}

/**
 * A map in false colours, and the figure that has the last of them: the next of 1, 2, 5, 10, 20, 50 and so on over the
 * 99.5th percentile.
 */
export function drawMap({ values, width, height }: DeviationMap): { picture: Picture; top: number } {
  const top = roundUp(percentile(values, 0.995));
  const data = new Uint8ClampedArray(4 * width * height).fill(255);
  for (let pixel = 0; pixel < values.length; pixel++) data.set(colour(values[pixel]! / top), 4 * pixel);
  return { picture: { width, height, data }, top };
}

/** The colour of a fraction, 1 at most. */
function colour(fraction: number): number[] {
  const place = Math.min(1, fraction) * (MAP_COLOURS.length - 1);
  const below = Math.min(MAP_COLOURS.length - 2, Math.floor(place));
  const [from, to] = [MAP_COLOURS[below]!, MAP_COLOURS[below + 1]!];
  return from.map((level, channel) => level + (place - below) * (to[channel]! - level));
}

function percentile(values: Float32Array, share: number): number {
  const sorted = values.slice().sort();
  const place = share * (sorted.length - 1);
  const below = sorted[Math.floor(place)]!;
  return below + (place % 1) * (sorted[Math.ceil(place)]! - below);
}

/** The smallest of 1, 2 and 5 times a power of ten, 1 at least, that is no smaller. */
function roundUp(value: number): number {
  let power = 1;
  while (5 * power < value) power *= 10;
  return [1, 2, 5].map((step) => step * power).find((step) => step >= value) ?? 10 * power;
}
