/**
 * The weights: files that `scripts/web.py` writes, tensors in them, and graphs that ONNX Runtime loads.
 *
 * A file is fetched when something in it is first asked for, and then kept packed out: the latents (tables, means and
 * scales) and the denoiser to decode in one step, the sampler for more steps, the encoder to encode. An adapter,
 * weights for another kind of picture, is a file of what it changes in the others.
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
  files: Record<FileName, Entry>;
  /** By the fingerprint of the latents that files then have. */
  adapters: Record<string, Entry>;
}

interface Entry {
  file: string;
  bytes: number;
  unpacked: number;
}

interface Bundle {
  tensors: [kind: Kind, shape: number[], at: number][];
  graphs: Record<string, [at: number, bytes: number, constants: Record<string, Place>]>;
  data: Uint8Array<ArrayBuffer>;
}

type Tensors = Pick<Bundle, "tensors" | "data">;

/** An adapter's file: tensors for constants, whole or as the factors of what is added to them, and for tables. */
interface Change extends Omit<Bundle, "graphs"> {
  changes: Record<string, Record<string, [whole: number] | [left: number, right: number]>>;
  tables: Partial<Record<keyof Manifest["tables"], number>>;
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
  private change?: Change;

  private constructor(
    readonly manifest: Manifest,
    private readonly fetch: Fetch,
    private readonly needs: { runtime?: Runtime },
    private readonly files = new Map<FileName, Bundle>(),
    private readonly adapter?: Entry,
  ) {}

  static async open(fetch: Fetch, runtime?: Runtime): Promise<Model> {
    const text = new TextDecoder().decode(await fetch("manifest.json"));
    return new Model(JSON.parse(text) as Manifest, fetch, runtime ? { runtime } : {});
  }

  /** These weights as an adapter changes them, of latents with another fingerprint; nothing where there is none. */
  adapted(fingerprint: string): Model | undefined {
    const { manifest, fetch, needs, files } = this;
    const adapter = Object.hasOwn(manifest.adapters, fingerprint) ? manifest.adapters[fingerprint] : undefined;
    return adapter && new Model({ ...manifest, fingerprint, adapters: {} }, fetch, needs, files, adapter);
  }

  /** Fetches what is missing of these files, of the adapter, and the runtime the first time. */
  async load(names: readonly FileName[], loading?: Loading): Promise<void> {
    const parts: Runtime[] = names
      .filter((name) => !this.files.has(name))
      .map((name) => this.part(this.manifest.files[name], (bundle: Bundle) => this.files.set(name, bundle)));
    if (this.adapter && !this.change) parts.push(this.part(this.adapter, (change: Change) => (this.change = change)));
    if (this.needs.runtime) parts.push(this.needs.runtime);
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
    delete this.needs.runtime;
  }

  private part<Head extends { data: Uint8Array<ArrayBuffer> }>(entry: Entry, keep: (head: Head) => unknown): Runtime {
    return { bytes: entry.bytes, load: async (arrived) => void keep(await this.fetchHead<Head>(entry, arrived)) };
  }

  private async fetchHead<Head extends { data: Uint8Array<ArrayBuffer> }>(
    { file, unpacked }: Entry, arrived: (bytes: number) => void,
  ): Promise<Head> {
    try {
      const plain = await unpack(await this.fetch(file, arrived), unpacked);
      const length = new DataView(plain.buffer).getUint32(0, true);
      const head = JSON.parse(new TextDecoder().decode(plain.subarray(4, 4 + length))) as Omit<Head, "data">;
      return { ...head, data: plain.subarray(Math.ceil((4 + length) / 8) * 8) } as Head;
    } catch (error) {
      if (error instanceof RegrainError) throw error;
      return fail("ModelError", `the weights in ${file} cannot be read: ${reason(error)}`);
    }
  }

  private bundle(file: FileName): Bundle {
    return this.files.get(file) ?? fail("ModelError", `the weights of the ${file} are not loaded`);
  }

  /** What the adapter changes, if there is one. */
  private changed(): Change | undefined {
    if (this.adapter && !this.change) fail("ModelError", `the weights in ${this.adapter.file} are not loaded`);
    return this.change;
  }

  /** A table as it is stored: where it begins, and how many numbers it has. */
  private table(name: keyof Manifest["tables"]): { holder: Tensors; index: number; at: number; size: number } {
    const [file, index] = this.manifest.tables[name];
    const own = this.changed()?.tables[name];
    const [holder, place] = own === undefined ? [this.bundle(file), index] : [this.change!, own];
    const [, shape, at] = holder.tensors[place]!;
    return { holder, index: place, at: holder.data.byteOffset + at, size: sizeOf(shape) };
  }

  integers(name: "zTables" | "offset"): Int32Array {
    const { holder, at, size } = this.table(name);
    return new Int32Array(holder.data.buffer, at, size);
  }

  words(name: "gaussian" | "quantiles"): Uint16Array {
    const { holder, at, size } = this.table(name);
    return new Uint16Array(holder.data.buffer, at, size);
  }

  logGain(): Float32Array {
    const { holder, index } = this.table("logGain");
    return this.numbers(holder, index);
  }

  private numbers({ tensors, data }: Tensors, index: number): Float32Array {
    const [kind, shape, place] = tensors[index]!;
    const [at, size] = [data.byteOffset + place, sizeOf(shape)];
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

  /** A constant of a graph, as the adapter has it where there is one. */
  private constant(graph: string, name: string, [file, index]: Place): Float32Array {
    const numbers = this.numbers(this.bundle(file), index);
    const change = this.changed();
    const [first, second] = change?.changes[graph]?.[name] ?? [];
    if (!change || first === undefined) return numbers;
    const own = this.numbers(change, first);
    if (second === undefined) return own;
    const [, [rank]] = change.tensors[second]!;
    return withProduct(numbers, own, this.numbers(change, second), rank!);
  }

  /** An ONNX model. */
  graph(file: FileName, name: string): Uint8Array<ArrayBuffer> {
    const bundle = this.bundle(file);
    const [at, bytes, constants] = bundle.graphs[name] ?? fail("ModelError", `the ${file} holds no ${name}`);
    const tensors = Object.entries(constants).flatMap(([constant, place]) =>
      field(5, tensor(constant, this.bundle(place[0]).tensors[place[1]]![1], this.constant(name, constant, place))),
    );
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

/** The sum of a matrix and of the product of `left` (O, rank) and `right` (rank, columns). */
function withProduct(matrix: Float32Array, left: Float32Array, right: Float32Array, rank: number): Float32Array {
  const [sum, columns] = [matrix.slice(), right.length / rank];
  for (let at = 0; at < left.length; at++) {
    const [row, from] = [Math.floor(at / rank) * columns, (at % rank) * columns];
    for (let column = 0; column < columns; column++) sum[row + column]! += left[at]! * right[from + column]!;
  }
  return sum;
}

/** Rows of numbers, each times its scale, in place. */
function scaled(numbers: Float32Array, scales: Float32Array): Float32Array {
  const each = numbers.length / scales.length;
  for (let row = 0, at = 0; row < scales.length; row++) {
    for (const end = at + each; at < end; at++) numbers[at]! *= scales[row]!;
  }
  return numbers;
}
