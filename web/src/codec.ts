/** A picture to bytes and back, in this thread. `index.ts` is the same in a worker, which is what a page wants. */

import { decodeAlpha, encodeAlpha, fillHidden } from "./alpha.ts";
import { analyse } from "./analysis.ts";
import * as bitstream from "./bitstream.ts";
import { equal } from "./bytes.ts";
import { ContextModel } from "./context_model.ts";
import { fail } from "./errors.ts";
import { foregroundCells, pasteForeground } from "./foreground.ts";
import { decodeLatents, encodeLatents, type Symbols } from "./latents.ts";
import { type Fetch, type FileName, Model, type Runtime } from "./model.ts";
import { Networks } from "./networks.ts";
import {
  type DecodeOptions, type Encoded, type EncodeOptions, MAX_PIXELS, type Picture, type ProgressEvent, QUALITY_UNIT,
} from "./options.ts"; // prettier-ignore
import type { Planes } from "./planes.ts";
import { type Drawing, reconstruct, samples } from "./reconstruct.ts";

type Told = (event: ProgressEvent) => void;

export class Codec {
  private readonly latents = new Map<Networks, ContextModel>();
  private readonly others = new Map<string, Networks>();
  private analysed?: { data: Uint8ClampedArray; width: number; y: Planes; tooFine: boolean };
  private decoded?: { bytes: Uint8Array; yHat: Planes };

  private constructor(private readonly networks: Networks) {}

  /** Opens the weights that `fetch` reaches. The graphics card may run denoisers where `gpu` says so. */
  static async open(fetch: Fetch, runtime?: Runtime, gpu = false): Promise<Codec> {
    return new Codec(new Networks(await Model.open(fetch, runtime), { used: gpu }));
  }

  /** 8 hexadecimal digits, which name the latents. */
  get fingerprint(): string {
    return this.networks.model.manifest.fingerprint;
  }

  private async load(networks: Networks, names: FileName[], told?: Told): Promise<ContextModel> {
    const progress = (done: number, total: number) => told?.({ stage: "load", done: done / total, bytes: { done, total } });
    await networks.model.load(names, progress);
    const latents = this.latents.get(networks) ?? new ContextModel(networks);
    this.latents.set(networks, latents);
    return latents;
  }

  /** The networks of a file: those of the package, or these as an adapter changes them. */
  private networksOf({ fingerprint }: bitstream.Header): Networks {
    if (fingerprint === this.fingerprint) return this.networks;
    const loaded = this.others.get(fingerprint);
    if (loaded) return loaded;
    const model = this.networks.model.adapted(fingerprint);
    if (!model) {
      return fail("ModelError", `the file needs the weights with latent fingerprint ${fingerprint}, these are ${this.fingerprint}`);
    }
    const networks = this.networks.of(model);
    this.others.set(fingerprint, networks);
    return networks;
  }

  async encode(picture: Picture, options: EncodeOptions = {}, told?: Told): Promise<Encoded> {
    const { width, height, data, metadata = {} } = picture;
    checkRange("quality", options.quality ?? 50, 0, 100);
    if (options.targetSize !== undefined) checkRange("targetSize", options.targetSize, 1, 2 ** 40);
    if (!(width * height > 0) || data.length !== 4 * width * height) {
      fail("ImageError", `a picture of ${width} x ${height} has ${data.length} numbers, not ${4 * width * height}`);
    }
    if (width * height > MAX_PIXELS) fail("LimitError", `${width} x ${height} pixels; allowed are ${MAX_PIXELS}`);
    const latents = await this.load(this.networks, ["latents", "encoder"], told);
    const alpha = alphaOf(data);
    const { y, tooFine } = await this.analysis(picture, told);
    const alphaBytes = alpha && (await encodeAlpha(alpha, width));
    const header: bitstream.Header = {
      width, height, quality: 0, fingerprint: this.fingerprint, method: "conditional",
      grey: isGrey(data), alpha: Boolean(alpha), tile: options.tile ?? 1024,
    };
    const at = async (quality: number) => {
      const tiles = await encodeLatents(latents, y, quality, header.tile, (done) => told?.({ stage: "latents", done }));
      return bitstream.write({ header: { ...header, quality }, tiles, ...metadata, ...(alphaBytes && { alphaBytes }) });
    };
    const { bytes, quality } =
      options.targetSize === undefined
        ? await once(Math.round((options.quality ?? 50) * QUALITY_UNIT), at)
        : await largestWithin(at, options.targetSize);
    return { bytes, quality: quality / QUALITY_UNIT, tooFine };
  }

  /** y of a picture; that of the one before, where it has the same pixels. */
  private async analysis({ data, width, height }: Picture, told?: Told): Promise<{ y: Planes; tooFine: boolean }> {
    const { analysed } = this;
    if (analysed?.width === width && equal(analysed.data, data)) return analysed;
    const progress = (done: number) => told?.({ stage: "analysis", done });
    const made = await analyse(this.networks, fillHidden(data, width, height), width, height, progress);
    this.analysed = { ...made, data: data.slice(), width };
    return made;
  }

  async decode(bytes: Uint8Array, options: DecodeOptions = {}, told?: Told): Promise<Picture> {
    const drawing: Drawing = {
      steps: options.steps ?? 1, realism: options.realism ?? 1, eta: options.eta ?? 0, seed: BigInt(options.seed ?? 0),
    }; // prettier-ignore
    checkRange("realism", drawing.realism, 0, 1);
    checkRange("eta", drawing.eta, 0, 1);
    checkRange("steps", drawing.steps, 1, 1000, true);
    if (drawing.seed < 0n || drawing.seed >= 2n ** 64n) fail("UsageError", `seed is ${drawing.seed}; allowed is 0 to 2^64 - 1`);
    const stream = this.read(bytes, options.maxPixels ?? MAX_PIXELS);
    const { header, alphaBytes, icc, exif, xmp, foreground } = stream;
    const cells = foreground ? foregroundCells(foreground, header) : [];
    const { width, height } = header;
    const alpha = alphaBytes && (await decodeAlpha(alphaBytes, width, height));
    const data = await this.background(bytes, stream, drawing, told);
    await pasteForeground(data, cells, header);
    if (alpha) for (let at = 0; at < alpha.length; at++) data[4 * at + 3] = alpha[at]!;
    return { width, height, data, metadata: { ...(icc && { icc }), ...(exif && { exif }), ...(xmp && { xmp }) } };
  }

  /** RGBA pixels of what the latents say; all are grey where no tile has bytes, and no network is loaded. */
  private async background(
    bytes: Uint8Array, { header, tiles }: bitstream.Stream, drawing: Drawing, told?: Told,
  ): Promise<Uint8ClampedArray<ArrayBuffer>> {
    const { width, height, quality, grey } = header;
    const networks = this.networksOf(header);
    if (tiles.every((tile) => !tile.length)) {
      return new Uint8ClampedArray(4 * width * height).map((_, at) => (at % 4 === 3 ? 255 : 128));
    }
    const files: FileName[] = samples(networks.model, drawing) ? ["latents", "denoiser", "sampler"] : ["latents", "denoiser"];
    const latents = await this.load(networks, files, told);
    const progress = (done: number) => told?.({ stage: "latents", done });
    if (!this.decoded || !equal(this.decoded.bytes, bytes)) {
      const [rows, columns] = [Math.ceil(height / 16), Math.ceil(width / 16)];
      const yHat = await decodeLatents(latents, tiles, rows, columns, quality, header.tile, progress);
      this.decoded = { bytes: bytes.slice(), yHat };
    }
    return reconstruct(networks, this.decoded.yHat, width, height, quality, drawing, grey, (done) =>
      told?.({ stage: "picture", done }),
    );
  }

  /** The symbols of every tile, for tests: the same on every machine. */
  async symbols(bytes: Uint8Array): Promise<Symbols[]> {
    const { header, tiles } = this.read(bytes, MAX_PIXELS);
    const latents = await this.load(this.networksOf(header), ["latents"]);
    const found: Symbols[] = [];
    const [rows, columns] = [Math.ceil(header.height / 16), Math.ceil(header.width / 16)];
    await decodeLatents(latents, tiles, rows, columns, header.quality, header.tile, undefined, (tile) => found.push(tile));
    return found;
  }

  /** A file of this method. */
  private read(bytes: Uint8Array, maxPixels: number): bitstream.Stream {
    const { stream } = bitstream.read(bytes, maxPixels);
    const { method } = stream.header;
    if (method !== "conditional") {
      fail("UnsupportedVersion", `the file is of the ${method} method, which regrain decodes and this package does not`);
    }
    return stream;
  }
}

/** Quality q times 256, and the file there. */
interface Rated {
  bytes: Uint8Array<ArrayBuffer>;
  quality: number;
}

async function once(quality: number, at: (quality: number) => Promise<Uint8Array<ArrayBuffer>>): Promise<Rated> {
  return { bytes: await at(quality), quality };
}

/** The file at the highest quality that keeps to `target` bytes, by bisection: sizes rise with quality. */
async function largestWithin(at: (quality: number) => Promise<Uint8Array<ArrayBuffer>>, target: number): Promise<Rated> {
  let best = await once(0, at);
  if (best.bytes.length > target) {
    fail("UsageError", `targetSize of ${target} bytes is too small: the smallest file of this picture is ${best.bytes.length} bytes`);
  }
  for (let [low, high] = [0, 100 * QUALITY_UNIT + 1]; high - low > 16; ) {
    const middle = (low + high) >> 1;
    const tried = await once(middle, at);
    if (tried.bytes.length <= target) [low, best] = [middle, tried.bytes.length >= best.bytes.length ? tried : best];
    else high = middle;
  }
  return best;
}

function checkRange(name: string, value: number, least: number, most: number, whole = false): void {
  if (!(value >= least && value <= most) || (whole && !Number.isInteger(value))) {
    fail("UsageError", `${name} is ${value}; allowed is a ${whole ? "whole " : ""}number from ${least} to ${most}`);
  }
}

/** The alpha plane, or nothing where all is opaque. */
function alphaOf(data: Uint8ClampedArray): Uint8Array | undefined {
  const alpha = new Uint8Array(data.length / 4);
  for (let at = 0; at < alpha.length; at++) alpha[at] = data[4 * at + 3]!;
  return alpha.every((value) => value === 255) ? undefined : alpha;
}

function isGrey(data: Uint8ClampedArray): boolean {
  for (let at = 0; at < data.length; at += 4) {
    if (data[at] !== data[at + 1] || data[at] !== data[at + 2]) return false;
  }
  return true;
}
