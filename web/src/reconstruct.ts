/**
 * Latents -> picture: the sampler's steps are the outer loop and windows the inner one, as in `conditional/decode.py`.
 *
 *     x_1 = realism initNoise eps; where there is a sampler 0 in one step, which makes the picture g, and
 *           alpha_1 g + sigma_1 m eps in more, where m lets no noise onto strong edges of g
 *     x_s = DDIM(x_t, X(x_t, t, y_hat), eta)        pixels = x_0, or g + realism (x_0 - g)
 */

import { noiseGate } from "./edges.ts";
import type { Model } from "./model.ts";
import type { Networks } from "./networks.ts";
import { normal, quantiles } from "./noise.ts";
import { cut, inside, paste, type Planes, pixelsOf, type Region, STRIDE, windowsOf, zeros } from "./planes.ts";
import { ddimStep, SCHEDULES, type Schedule } from "./sampling.ts";
import type { Progress } from "./latents.ts";

const WINDOW = 64;
const HALO = 4;
const QUALITY_TOP = 25600;
/** The standard deviation of what the latents leave open, about. */
const RESIDUAL = 0.1;
/** Pixels of pictures whose contexts are kept from step to step. */
const KEPT_MOST = 2 ** 23;

export interface Drawing {
  steps: number;
  realism: number;
  eta: number;
  seed: bigint;
}

/** Whether pictures are drawn by the sampler: one step is the denoiser's alone, in less time. */
export function samples(model: Model, { steps, realism }: Drawing): boolean {
  return model.manifest.sampler && steps > 1 && realism > 0;
}

/** RGBA pixels, opaque, of a picture of so many pixels from its latents. */
export async function reconstruct(
  networks: Networks, yHat: Planes, width: number, height: number, quality: number, drawing: Drawing,
  grey: boolean, progress?: Progress,
): Promise<Uint8ClampedArray<ArrayBuffer>> {
  const pixels = new Uint8ClampedArray(4 * width * height);
  const windows = windowsOf(yHat.rows, yHat.columns, WINDOW, HALO);
  const painter = samples(networks.model, drawing)
    ? new Sampler(networks, yHat, quality, drawing, width * height <= KEPT_MOST)
    : new Faithful(networks, yHat, quality, drawing);
  let current: Planes | undefined;
  const passes = samples(networks.model, drawing) ? drawing.steps - 1 : drawing.steps; // the guide is the first step
  for (let number = 1; number <= passes; number++) {
    const [t, s] = [(passes - number + 1) / passes, (passes - number) / passes];
    const next = s ? zeros(3, yHat.rows * STRIDE, yHat.columns * STRIDE) : undefined;
    const rule = s ? ddimStep(painter.schedule, t, s, drawing.eta) : undefined;
    for (const [index, { core, outer }] of windows.entries()) {
      const xT = current ? cut(current, pixelsOf(outer)) : await painter.start(outer);
      const x0 = clip(await painter.estimate(xT, t, outer));
      const place = pixelsOf(core);
      const from = pixelsOf(inside(core, outer));
      if (next && rule) {
        const step = mix(x0, rule.picture, xT, rule.past);
        paste(next, place, step, from);
        if (rule.std) addNoise(next, place, await painter.fresh(number, core, outer), rule.std * painter.std);
      } else {
        paint(pixels, width, height, place, await painter.finish(x0, outer), from, grey);
      }
      progress?.((number - 1 + (index + 1) / windows.length) / passes);
    }
    current = next;
  }
  return pixels;
}

abstract class Painter {
  abstract readonly schedule: Schedule;
  abstract readonly std: number;
  private readonly table: Float32Array;

  constructor(
    protected readonly networks: Networks,
    protected readonly yHat: Planes,
    protected readonly quality: number,
    protected readonly drawing: Drawing,
  ) {
    this.table = quantiles(networks.model.words("quantiles"));
  }

  /** x_1 in a region of latents. */
  abstract start(region: Region): Promise<Planes>;
  /** The estimate of x_0 from x_t. */
  abstract estimate(xT: Planes, t: number, region: Region): Promise<Planes>;

  /** The picture that the last estimate makes. */
  async finish(x0: Planes, _region: Region): Promise<Planes> {
    return x0;
  }

  /** Noise for the core of a window after step `number`. */
  async fresh(number: number, core: Region, _outer: Region): Promise<Planes> {
    return this.noise(number, core);
  }

  protected noise(number: number, region: Region): Planes {
    const { top, left, bottom, right } = pixelsOf(region);
    const data = normal(this.table, this.drawing.seed, number, top, left, bottom - top, right - left);
    return { data, channels: 3, rows: bottom - top, columns: right - left };
  }

  protected scalars(...values: number[]): Planes {
    return { data: Float32Array.from(values), channels: values.length, rows: 1, columns: 1 };
  }

  protected get level(): number {
    return this.quality / QUALITY_TOP;
  }

  /** The denoiser's estimate at this realism. */
  protected async denoised(xT: Planes, t: number, region: Region): Promise<Planes> {
    const scalars = this.scalars(t, this.level, this.drawing.realism);
    return (await this.networks.run("denoiser", "denoiser", [xT, cut(this.yHat, region), scalars]))[0]!;
  }
}

/** The denoiser of one step, which also makes all pictures at realism 0. */
class Faithful extends Painter {
  readonly schedule = SCHEDULES[this.networks.model.manifest.schedule];
  readonly std = this.networks.model.manifest.sampler && this.drawing.steps === 1
    ? 0
    : this.drawing.realism * this.networks.model.manifest.initNoise;

  async start(region: Region): Promise<Planes> {
    const { top, left, bottom, right } = pixelsOf(region);
    if (!this.std) return zeros(3, bottom - top, right - left);
    return mix(this.noise(0, region), Math.fround(this.std));
  }

  estimate(xT: Planes, t: number, region: Region): Promise<Planes> {
    return this.denoised(xT, t, region);
  }
}

/** What the sampler stands on in all steps; the gate is how much noise enters where. */
type Context = [guide: Planes, features: Planes, gate: Planes];

/** The sampler: it stands on the picture in one step, and what it computes of a window's latents it computes once. */
class Sampler extends Painter {
  readonly schedule = SCHEDULES.truncated;
  readonly std = 1;
  private readonly contexts = new Map<string, Context>();

  constructor(networks: Networks, yHat: Planes, quality: number, drawing: Drawing, private readonly keeps: boolean) {
    super(networks, yHat, quality, drawing);
  }

  private async context(region: Region): Promise<Context> {
    const key = Object.values(region).join();
    const known = this.contexts.get(key);
    if (known) return known;
    const { top, left, bottom, right } = pixelsOf(region);
    const guide = clip(await this.denoised(zeros(3, bottom - top, right - left), 1, region));
    const inputs = [guide, cut(this.yHat, region), this.scalars(1, this.level)];
    const [features] = await this.networks.run("sampler", "samplingContext", inputs);
    const made: Context = [guide, features!, noiseGate(guide)];
    if (!this.keeps) this.contexts.clear();
    this.contexts.set(key, made);
    return made;
  }

  async start(region: Region): Promise<Planes> {
    const [alpha, sigma] = this.schedule(1);
    const [guide, , gate] = await this.context(region);
    return mix(guide, alpha, gated(this.noise(0, region), gate), sigma);
  }

  /** x_0 = g + k d + sqrt(1 - k) F(d, t, context)   d = x_t / alpha_t - g   k = s^2 / (s^2 + SNR(t)^-1) */
  async estimate(xT: Planes, t: number, region: Region): Promise<Planes> {
    const [alpha, sigma] = this.schedule(t);
    const noise = (sigma / alpha) ** 2;
    const skip = RESIDUAL ** 2 / (RESIDUAL ** 2 + noise);
    const [guide, features] = await this.context(region);
    const difference = mix(xT, 1 / alpha, guide, -1);
    const scaled = mix(difference, (2 * RESIDUAL ** 2 + noise) ** -0.5);
    const inputs = [scaled, features, this.scalars(t, this.level)];
    const [output] = await this.networks.run("sampler", "sampler", inputs);
    return mix(mix(guide, 1, difference, skip), 1, output, Math.sqrt(1 - skip));
  }

  override async fresh(number: number, core: Region, outer: Region): Promise<Planes> {
    const [, , gate] = await this.context(outer);
    return gated(this.noise(number, core), cut(gate, pixelsOf(inside(core, outer))));
  }

  override async finish(x0: Planes, region: Region): Promise<Planes> {
    const [guide] = await this.context(region);
    return mix(guide, 1 - this.drawing.realism, x0, this.drawing.realism);
  }
}

/** a x + b y. */
function mix(x: Planes, a: number, y?: Planes, b = 0): Planes {
  const data = y ? x.data.map((value, at) => a * value + b * y.data[at]!) : x.data.map((value) => a * value);
  return { ...x, data };
}

/** Noise, each of its channels times the gate. */
function gated(noise: Planes, gate: Planes): Planes {
  return { ...noise, data: noise.data.map((value, at) => value * gate.data[at % gate.data.length]!) };
}

function clip(x: Planes): Planes {
  for (let at = 0; at < x.data.length; at++) x.data[at] = Math.min(1, Math.max(-1, x.data[at]!));
  return x;
}

function addNoise(x: Planes, place: Region, noise: Planes, std: number): void {
  for (let line = 0; line < 3 * noise.rows; line++) {
    const row = Math.floor(line / noise.rows) * x.rows + place.top + (line % noise.rows);
    for (let column = 0; column < noise.columns; column++) {
      x.data[row * x.columns + place.left + column]! += std * noise.data[line * noise.columns + column]!;
    }
  }
}

/** Writes a region of x in [-1, 1] as bytes, as far as it lies within the picture; the mean of the three where grey. */
function paint(
  pixels: Uint8ClampedArray, width: number, height: number, place: Region, x: Planes, from: Region, grey: boolean,
): void {
  const area = x.rows * x.columns;
  for (let row = place.top; row < Math.min(place.bottom, height); row++) {
    for (let column = place.left; column < Math.min(place.right, width); column++) {
      const at = (from.top + row - place.top) * x.columns + from.left + column - place.left;
      const [red, green, blue] = [x.data[at]!, x.data[at + area]!, x.data[at + 2 * area]!];
      const to = 4 * (row * width + column);
      const mean = Math.fround(Math.fround(Math.fround(red + green) + blue) / 3);
      pixels[to] = level(grey ? mean : red);
      pixels[to + 1] = level(grey ? mean : green);
      pixels[to + 2] = level(grey ? mean : blue);
      pixels[to + 3] = 255;
    }
  }
}

/** 0 .. 255 before rounding, which a clamped array does, half to even. */
function level(value: number): number {
  return Math.fround(Math.fround(value + 1) * 127.5);
}

