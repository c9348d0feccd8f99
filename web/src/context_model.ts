/**
 * The context model: what is coded already predicts the mean and the scale of what comes next.
 *
 *     mean_k  = gain (h_s(z) + c_k(y_hat before k, h(z)))                          floats
 *     index_k = floor((s(z) + d_k(symbols before k, a(z)) + offset) / 16 + 1/2)     integers alone
 *     y_hat   = (symbols + mean) / gain
 *
 * The integers run as float32 on ONNX Runtime's CPU: no sum of theirs reaches 2^24, so each is exact in any order.
 * Encoder and decoder take the same steps: `predict`, then code, then `update`.
 */

import type { Step } from "./model.ts";
import type { Networks } from "./networks.ts";
import { cut, type Planes, zeros } from "./planes.ts";
import { gaussianTables, type Table, unpackTables } from "./tables.ts";

export const HYPER_FACTOR = 4;
export const HYPER_MAX = 127;
export const LATENT_MAX = 512;
const QUALITY_TOP = 25600;
const TABLES = 64;

/** How large a symbol is, 8 steps an octave, of min(1 + |symbol|, 255). */
const LEVELS = Uint8Array.from({ length: 256 }, (_, size) => {
  const octave = Math.floor(Math.log2(Math.max(1, size)));
  return 8 * octave + Math.floor((8 * (size - 2 ** octave)) / 2 ** octave);
});

export class ContextModel {
  readonly gaussian: Table[];
  private readonly zTables: Table[];
  private readonly logGain: Float32Array;
  private readonly offset: Int32Array;

  /** Takes the tables of a model whose latents are loaded. */
  constructor(readonly networks: Networks) {
    const { model } = networks;
    this.gaussian = gaussianTables(model.words("gaussian"));
    this.zTables = unpackTables(model.integers("zTables"));
    this.logGain = model.logGain();
    this.offset = model.integers("offset");
  }

  get order(): Step[] {
    return this.networks.model.manifest.order;
  }

  /** Gains of the latents' channels at quality q times 256: logarithms are linear between the anchors. */
  gain(quality: number): Float32Array {
    const { left, part } = this.between(quality);
    const { latent } = this.networks.model.manifest;
    return Float32Array.from({ length: latent }, (_, channel) => {
      const low = this.logGain[left * latent + channel]!;
      return Math.exp(low + (part / QUALITY_TOP) * (this.logGain[(left + 1) * latent + channel]! - low));
    });
  }

  /** The tables of z's channels at the nearest anchor, ties to the higher. */
  hyperTables(quality: number): Table[] {
    const { anchors, hyper } = this.networks.model.manifest;
    const anchor = Math.floor((2 * quality * (anchors - 1) + QUALITY_TOP) / (2 * QUALITY_TOP));
    return this.zTables.slice(anchor * hyper, (anchor + 1) * hyper);
  }

  private between(quality: number): { left: number; part: number } {
    const { anchors } = this.networks.model.manifest;
    const left = Math.min(Math.floor((quality * (anchors - 1)) / QUALITY_TOP), anchors - 2);
    return { left, part: quality * (anchors - 1) - left * QUALITY_TOP };
  }

  private offsets(quality: number): Int32Array {
    const { left, part } = this.between(quality);
    const { latent } = this.networks.model.manifest;
    return Int32Array.from({ length: latent }, (_, channel) => {
      const [here, there] = [this.offset[left * latent + channel]!, this.offset[(left + 1) * latent + channel]!];
      return Math.floor((here * (QUALITY_TOP - part) + there * part + QUALITY_TOP / 2) / QUALITY_TOP);
    });
  }

  /** Begins on a tile of `rows` x `columns` latents, whose z is (hyper, ceil(rows / 4), ceil(columns / 4)). */
  async start(z: Int32Array, quality: number, rows: number, columns: number): Promise<State> {
    const { hyper, latent } = this.networks.model.manifest;
    const input = zeros(hyper, Math.ceil(rows / HYPER_FACTOR), Math.ceil(columns / HYPER_FACTOR));
    input.data.set(z);
    for (let at = 0; at < z.length; at++) input.data[at] = Math.min(HYPER_MAX, Math.max(-HYPER_MAX, z[at]!));
    const size = { top: 0, bottom: rows, left: 0, right: columns };
    const own = async (name: string) => (await this.networks.run("latents", name, [input])).map((planes) => cut(planes, size));
    const [means, features] = (await own("synthesis")) as [Planes, Planes];
    const [scales, hidden] = (await own("scale0")) as [Planes, Planes];
    const offsets = this.offsets(quality);
    const places = rows * columns;
    const total = Int32Array.from(scales.data, (scale, at) => scale + offsets[Math.floor(at / places)]!);
    return new State(this.networks, this.gain(quality), means, features, total, hidden, zeros(latent, rows, columns));
  }
}

/** What is coded of one tile so far: `symbols` and `yHat`, 0 where nothing is coded yet. */
export class State {
  readonly symbols: Int32Array;

  constructor(
    private readonly networks: Networks,
    readonly gain: Float32Array,
    private readonly means: Planes,
    private readonly features: Planes,
    private readonly scales: Int32Array,
    private readonly hidden: Planes,
    readonly yHat: Planes,
  ) {
    this.symbols = new Int32Array(yHat.data.length);
  }

  /** Where in y the symbols of a step are, and for each the mean of gained y and the table. */
  async predict(number: number, step: Step): Promise<{ places: Int32Array; mean: Float32Array; index: Uint8Array }> {
    const [first, , known] = step;
    const places = placesOf(step, this.yHat.rows, this.yHat.columns);
    const area = this.yHat.rows * this.yHat.columns;
    let added: Float32Array | undefined;
    let scales: Float32Array | undefined;
    if (known) {
      const head = { ...this.yHat, channels: known };
      const yHat = { ...head, data: this.yHat.data.subarray(0, known * area) };
      const levels = { ...head, data: Float32Array.from(this.symbols.subarray(0, known * area), levelOf) };
      added = (await this.networks.run("latents", `context${number}`, [yHat, this.features]))[0]!.data;
      scales = (await this.networks.run("latents", `scale${number}`, [levels, this.hidden]))[0]!.data;
    }
    const mean = new Float32Array(places.length);
    const index = new Uint8Array(places.length);
    for (let n = 0; n < places.length; n++) {
      const at = places[n]!;
      const own = at - first * area;
      mean[n] = this.gain[Math.floor(at / area)]! * (this.means.data[at]! + (added?.[own] ?? 0));
      const total = this.scales[at]! + (scales?.[own] ?? 0);
      index[n] = Math.min(TABLES - 1, Math.max(0, (total + 8) >> 4));
    }
    return { places, mean, index };
  }

  /** Takes the symbols that were coded at these places. */
  update(symbols: Int32Array, mean: Float32Array, places: Int32Array): void {
    const area = this.yHat.rows * this.yHat.columns;
    for (let n = 0; n < places.length; n++) {
      const at = places[n]!;
      this.symbols[at] = symbols[n]!;
      const latent = Math.fround(Math.fround(symbols[n]!) + mean[n]!) / this.gain[Math.floor(at / area)]!;
      this.yHat.data[at] = Math.min(LATENT_MAX, Math.max(-LATENT_MAX, latent));
    }
  }
}

function levelOf(symbol: number): number {
  return LEVELS[Math.min(255, 1 + Math.abs(symbol))]!;
}

/** The places in y that a step codes, in C order. */
function placesOf([first, last, , parity]: Step, rows: number, columns: number): Int32Array {
  const places: number[] = [];
  for (let at = first * rows * columns; at < last * rows * columns; at++) {
    const column = at % columns;
    const row = Math.floor(at / columns) % rows;
    if (parity === null || (row + column) % 2 === parity) places.push(at);
  }
  return Int32Array.from(places);
}
