/** The codec in a worker: what a page uses. */

import { Deviation, type DeviationMap } from "./deviation.ts";
import type { DecodeOptions, Encoded, EncodeOptions, MapOptions, Picture, ProgressEvent } from "./options.ts";
import { type ErrorName, fail, RegrainError } from "./errors.ts";
import type { Symbols } from "./latents.ts";
import type { Job } from "./worker.ts";

export type { Header, Method, Section } from "./bitstream.ts";
export { type DeviationMap, drawMap, MAP_COLOURS } from "./deviation.ts";
export { inspect } from "./inspect.ts";
export { MAX_PIXELS } from "./options.ts";
export type { DecodeOptions, Encoded, EncodeOptions, Info, MapOptions, Metadata, Picture, ProgressEvent } from "./options.ts";
export { type ErrorName, RegrainError } from "./errors.ts";
export { type ReadOptions, readPicture } from "./picture.ts";
export { encodePng } from "./png.ts";

export interface Options {
  /** Where the files of this package lie; beside this module unless said. */
  base?: string | URL;
  /** As many as half of the cores, at most 4, unless said; 1 where the page is not isolated across origins. */
  threads?: number;
  /** Whether a graphics card may run the denoiser; unless said, where there is one. */
  gpu?: boolean;
}

type Progress = (event: ProgressEvent) => void;
type Unnumbered<T> = T extends unknown ? Omit<T, "id"> : never;
interface Waiting {
  job: Unnumbered<Job>;
  resolve: (value: never) => void;
  reject: (error: RegrainError) => void;
  progress?: Progress | undefined;
}
interface Reply {
  id: number;
  value?: never;
  progress?: ProgressEvent;
  error?: { name: ErrorName; message: string };
}

export class Regrain {
  private readonly waiting = new Map<number, Waiting>();
  private readonly ready: Promise<void>;
  private worker?: Worker;
  private onGpu = false;
  private jobs = 0;

  constructor(private readonly options: Options = {}) {
    const { gpu } = options;
    this.ready = (gpu === false ? Promise.resolve(false) : hasGpu(gpu === true)).then((onGpu) => this.start(onGpu));
  }

  /** The file of a picture. */
  encode(picture: Picture, options: EncodeOptions = {}, progress?: Progress): Promise<Encoded> {
    return this.send({ kind: "encode", picture, options }, progress);
  }

  /** The picture of a file. */
  decode(bytes: Uint8Array, options: DecodeOptions = {}, progress?: Progress): Promise<Picture> {
    return this.send({ kind: "decode", bytes, options }, progress);
  }

  /**
   * How far apart the pictures of several seeds are, from `seed` on: what was invented. In two steps at least, by default
   * three, as one step has one picture. After an abort it is over the seeds that were drawn, and nothing where they are under two.
   */
  async deviationMap(
    bytes: Uint8Array, options: DecodeOptions = {}, { seeds = 8, signal }: MapOptions = {}, progress?: Progress,
  ): Promise<DeviationMap | undefined> {
    if (!(Number.isInteger(seeds) && seeds >= 2 && seeds <= 1000)) fail("UsageError", `seeds is ${seeds}; allowed is a whole number from 2 to 1000`);
    let deviation: Deviation | undefined;
    for (let number = 0; number < seeds && !signal?.aborted; number++) {
      const seed = BigInt.asUintN(64, BigInt(options.seed ?? 0) + BigInt(number));
      const picture = await this.decode(bytes, { ...options, seed, steps: Math.max(2, options.steps ?? 3) }, (event) =>
        progress?.(event.stage === "picture" ? { stage: "seeds", done: (number + event.done) / seeds } : event),
      );
      deviation ??= new Deviation(picture.width, picture.height);
      deviation.add(picture);
    }
    return deviation?.map();
  }

  /** The symbols of a file's tiles, which are the same on every machine. */
  symbols(bytes: Uint8Array): Promise<Symbols[]> {
    return this.send({ kind: "symbols", bytes });
  }

  /** Ends the worker, and all that it was at. */
  close(): void {
    this.abandon("it was closed");
    void this.ready.then(() => this.worker?.terminate());
  }

  private start(onGpu: boolean): void {
    const { base = new URL("./", import.meta.url), threads } = this.options;
    const folder = new URL(base, location.href);
    const worker = new Worker(new URL(onGpu ? "worker-gpu.js" : "worker.js", folder), { type: "module" });
    worker.addEventListener("message", ({ data }: MessageEvent<Reply>) => worker === this.worker && this.receive(data));
    worker.addEventListener("error", ({ message }) => {
      if (worker === this.worker && !this.leftGpu()) this.abandon(message || "its script cannot be loaded");
    });
    const count = crossOriginIsolated ? (threads ?? Math.min(4, Math.ceil(navigator.hardwareConcurrency / 2))) : 1;
    worker.postMessage({ id: 0, kind: "start", start: { base: folder.href, threads: count, gpu: onGpu } } satisfies Job);
    [this.worker, this.onGpu] = [worker, onGpu];
  }

  /** Whether a graphics card could be to blame; then a worker without it does again all that is waiting. */
  private leftGpu(): boolean {
    if (!this.onGpu) return false;
    this.worker?.terminate();
    this.start(false);
    for (const [id, { job }] of this.waiting) this.worker?.postMessage({ ...job, id });
    return true;
  }

  private async send<T>(job: Unnumbered<Job>, progress?: Progress): Promise<T> {
    const id = ++this.jobs;
    await this.ready;
    return new Promise<T>((resolve, reject) => {
      this.waiting.set(id, { job, resolve, reject, progress });
      this.worker?.postMessage({ ...job, id });
    });
  }

  private receive({ id, value, progress, error }: Reply): void {
    const waiting = this.waiting.get(id);
    if (progress) return waiting?.progress?.(progress);
    if (error?.name === "ModelError" && this.leftGpu()) return;
    this.waiting.delete(id);
    if (error) waiting?.reject(new RegrainError(error.name, error.message));
    else waiting?.resolve(value!);
  }

  private abandon(why: string): void {
    for (const { reject } of this.waiting.values()) reject(new RegrainError("ModelError", `the codec's worker ended: ${why}`));
    this.waiting.clear();
  }
}

/** Whether a graphics card can compute here; one that the processor only plays counts where it was asked for. */
async function hasGpu(forced: boolean): Promise<boolean> {
  const { gpu } = navigator as { gpu?: { requestAdapter(): Promise<{ info?: { isFallbackAdapter?: boolean } } | null> } };
  if (!gpu || !("Suspending" in WebAssembly)) return false;
  const adapter = await gpu.requestAdapter().catch(() => null);
  return adapter !== null && (forced || !adapter.info?.isFallbackAdapter);
}
