/**
 * The weights: files that `scripts/web.py` writes, tensors in them, and graphs that ONNX Runtime loads.
 *
 * A file is fetched when something in it is first asked for, and then kept packed out: the latents (tables, means and
 * scales) and the denoiser to decode in one step, the sampler for more steps, the encoder to encode.
 */

import { concatenate, putVarint } from "./bytes.ts";
import { wavesBack, wavesForth } from "./dct.ts";
import { fail, reason, RegrainError } from "./errors.ts";
import { unpack } from "./fetching.ts";

export type FileName = "latents" | "denoiser" | "encoder" | "sampler";
type Kind = "f32" | "f16" | "i32" | "u16" | "i8" | "q8" | "waves" | "waves-back";
type Place = [file: FileName, tensor: number];

/** A step of coding y: channels `first` .. `last`, given the first `known`, at places of one parity or at all. */
export type Step = [first: number, last: number, known: number, parity: 0 | 1 | null];

export interface Manifest {
  fingerprint: string;
  latent: number;
  hyper: number;
  features: number;
  anchors: number;
  order: Step[];
  schedule: "cosine";
  initNoise: number;
  sampler: boolean;
  tables: Record<"zTables" | "gaussian" | "logGain" | "offset" | "quantiles", Place>;
  files: Record<FileName, { file: string; bytes: number; unpacked: number }>;
}

interface Bundle {
  tensors: [kind: Kind, shape: number[], at: number][];
  graphs: Record<string, [at: number, bytes: number, constants: Record<string, [...Place, ...(Place | [])]>]>;
  data: Uint8Array<ArrayBuffer>;
}

/** Fetches a file beside the manifest whole, and says how many bytes have come. */
export type Fetch = (name: string, arrived?: (bytes: number) => void) => Promise<Uint8Array<ArrayBuffer>>;

/** What must be there before anything runs: its bytes on the way, and how to get it. */
export interface Runtime {
  bytes: number;
  load: (arrived: (bytes: number) => void) => Promise<void>;
}

/** Hears how many bytes of how many have come. */
export type Loading = (done: number, total: number) => void;

export class Model {
  private readonly files = new Map<FileName, Bundle>();

  private constructor(
    readonly manifest: Manifest,
    private readonly fetch: Fetch,
    private runtime?: Runtime,
  ) {}

  static async open(fetch: Fetch, runtime?: Runtime): Promise<Model> {
    const text = new TextDecoder().decode(await fetch("manifest.json"));
    return new Model(JSON.parse(text) as Manifest, fetch, runtime);
  }

  /** Fetches what is missing of these files, and the runtime the first time. */
  async load(names: readonly FileName[], loading?: Loading): Promise<void> {
    const parts: Runtime[] = names
      .filter((name) => !this.files.has(name))
      .map((name) => ({
        bytes: this.manifest.files[name].bytes,
        load: async (arrived) => void this.files.set(name, await this.fetchBundle(name, arrived)),
      }));
    if (this.runtime) parts.push(this.runtime);
    const total = parts.reduce((sum, part) => sum + part.bytes, 0);
    const arrived = parts.map(() => 0);
    await Promise.all(
      parts.map((part, at) =>
        part.load((bytes) => {
          arrived[at] = bytes;
          loading?.(arrived.reduce((sum, own) => sum + own, 0), total);
        }),
      ),
    );
    delete this.runtime;
  }

  private async fetchBundle(name: FileName, arrived: (bytes: number) => void): Promise<Bundle> {
    const { file, unpacked } = this.manifest.files[name];
    try {
      const plain = await unpack(await this.fetch(file, arrived), unpacked);
      const length = new DataView(plain.buffer).getUint32(0, true);
      const head = JSON.parse(new TextDecoder().decode(plain.subarray(4, 4 + length))) as Omit<Bundle, "data">;
      return { ...head, data: plain.subarray(Math.ceil((4 + length) / 8) * 8) };
    } catch (error) {
      if (error instanceof RegrainError) throw error;
      return fail("ModelError", `the weights in ${file} cannot be read: ${reason(error)}`);
    }
  }

  /** A tensor of a file that is loaded, as it is stored. */
  stored(file: FileName, index: number): { kind: Kind; shape: number[]; at: number; data: Uint8Array<ArrayBuffer> } {
    const bundle = this.files.get(file) ?? fail("ModelError", `the weights of the ${file} are not loaded`);
    const [kind, shape, at] = bundle.tensors[index]!;
    return { kind, shape, at: bundle.data.byteOffset + at, data: bundle.data };
  }

  integers(name: "zTables" | "offset"): Int32Array {
    const { shape, at, data } = this.stored(...this.manifest.tables[name]);
    return new Int32Array(data.buffer, at, sizeOf(shape));
  }

  words(name: "gaussian" | "quantiles"): Uint16Array {
    const { shape, at, data } = this.stored(...this.manifest.tables[name]);
    return new Uint16Array(data.buffer, at, sizeOf(shape));
  }

  logGain(): Float32Array {
    return this.numbers(...this.manifest.tables.logGain);
  }

  private numbers(file: FileName, index: number): Float32Array {
    const { kind, shape, at, data } = this.stored(file, index);
    const size = sizeOf(shape);
    switch (kind) {
      case "f32":
        return new Float32Array(data.buffer, at, size);
      case "f16":
        return halfFloats(new Uint16Array(data.buffer, at, size));
      case "i8":
        return new Float32Array(new Int8Array(data.buffer, at, size));
      case "q8": {
        const scales = new Float32Array(data.buffer, at + Math.ceil(size / 4) * 4, shape[0]!);
        return scaled(new Float32Array(new Int8Array(data.buffer, at, size)), scales);
      }
      case "waves":
        return wavesForth(this.manifest.latent);
      case "waves-back":
        return wavesBack(this.manifest.latent);
      default:
        return fail("ModelError", `a constant of a graph has the type ${kind}`);
    }
  }

  /** An ONNX model. At a realism below 1 the sampler's weights lie on a line from the faithful denoiser's. */
  graph(file: FileName, name: string, realism = 1): Uint8Array<ArrayBuffer> {
    const bundle = this.files.get(file) ?? fail("ModelError", `the weights of the ${file} are not loaded`);
    const [at, bytes, constants] = bundle.graphs[name] ?? fail("ModelError", `the ${file} holds no ${name}`);
    const tensors = Object.entries(constants).flatMap(([constant, [holder, index, other, otherIndex]]) => {
      let numbers = this.numbers(holder, index);
      if (realism !== 1 && other !== undefined && otherIndex !== undefined) {
        const faithful = this.numbers(other, otherIndex);
        numbers = numbers.slice();
        for (let n = 0; n < numbers.length; n++) numbers[n] = (1 - realism) * faithful[n]! + realism * numbers[n]!;
      }
      return field(5, tensor(constant, this.stored(holder, index).shape, numbers));
    });
    const length = tensors.reduce((sum, part) => sum + part.length, 0);
    const skeleton = bundle.data.subarray(at, at + bytes);
    return concatenate([skeleton, Uint8Array.from([(7 << 3) | 2, ...putVarint(length)]), ...tensors]);
  }
}

/** A field of a message of protobuf that holds bytes: its number and their length, then the bytes. */
function field(number: number, parts: Uint8Array[]): Uint8Array[] {
  const length = parts.reduce((sum, part) => sum + part.length, 0);
  return [Uint8Array.from([(number << 3) | 2, ...putVarint(length)]), ...parts];
}

/** ONNX's TensorProto of float32: sizes, type, name and numbers. */
function tensor(name: string, shape: number[], numbers: Float32Array): Uint8Array[] {
  const sizes = Uint8Array.from(shape.flatMap((size) => [1 << 3, ...putVarint(size)]));
  const bytes = new Uint8Array(numbers.buffer, numbers.byteOffset, numbers.byteLength);
  return [sizes, Uint8Array.of(2 << 3, 1), ...field(8, [new TextEncoder().encode(name)]), ...field(9, [bytes])];
}

function sizeOf(shape: number[]): number {
  return shape.reduce((product, side) => product * side, 1);
}

/** Numbers of 16 bits (IEEE 754 binary16). */
function halfFloats(words: Uint16Array): Float32Array {
  const numbers = new Float32Array(words.length);
  for (let at = 0; at < words.length; at++) {
    const word = words[at]!;
    const exponent = (word >>> 10) & 31;
    const size = exponent ? POWERS[exponent]! * (1024 + (word & 1023)) : POWERS[1]! * (word & 1023);
    numbers[at] = word & 0x8000 ? -size : size;
  }
  return numbers;
}

const POWERS = Float64Array.from({ length: 32 }, (_, exponent) => 2 ** (exponent - 25));

/** Rows of numbers, each times its scale, in place. */
function scaled(numbers: Float32Array, scales: Float32Array): Float32Array {
  const each = numbers.length / scales.length;
  for (let row = 0, at = 0; row < scales.length; row++) {
    for (const end = at + each; at < end; at++) numbers[at]! *= scales[row]!;
  }
  return numbers;
}
