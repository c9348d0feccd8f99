/** The codec's own thread: jobs come in as messages, one at a time; progress and results go out. */

import * as ort from "onnxruntime-web/wasm";

import { Codec } from "./codec.ts";
import { reason, RegrainError } from "./errors.ts";
import { fetchBytes, unpack } from "./fetching.ts";
import type { DecodeOptions, EncodeOptions, Picture } from "./options.ts";

/** The WebAssembly of ONNX Runtime as this build has it, gzipped; esbuild puts it here. */
declare const RUNTIME: { script: string; file: string; bytes: number; unpacked: number };

export interface Start {
  base: string;
  threads: number;
  gpu: boolean;
}

export type Job = { id: number } & (
  | { kind: "start"; start: Start }
  | { kind: "encode"; picture: Picture; options: EncodeOptions }
  | { kind: "decode"; bytes: Uint8Array; options: DecodeOptions }
  | { kind: "symbols"; bytes: Uint8Array }
);

let codec: Promise<Codec> | undefined;
let begin: (() => Promise<Codec>) | undefined;
let last: Promise<unknown> = Promise.resolve();

addEventListener("message", ({ data: job }: MessageEvent<Job>) => {
  last = last.then(async () => {
    try {
      const value = await perform(job);
      postMessage({ id: job.id, value }, { transfer: transferable(value) });
    } catch (error) {
      const name = error instanceof RegrainError ? error.name : error instanceof RangeError ? "LimitError" : "ModelError";
      postMessage({ id: job.id, error: { name, message: reason(error) } });
    }
  });
});

async function perform(job: Job): Promise<unknown> {
  if (job.kind === "start") {
    begin = () => open(job.start);
    return undefined;
  }
  const ready = await opened();
  const told = (progress: unknown) => postMessage({ id: job.id, progress });
  if (job.kind === "encode") return ready.encode(job.picture, job.options, told);
  if (job.kind === "decode") return ready.decode(job.bytes, job.options, told);
  return ready.symbols(job.bytes);
}

/** The codec; after a failure the next job tries again. */
async function opened(): Promise<Codec> {
  codec ??= begin!();
  try {
    return await codec;
  } catch (error) {
    codec = undefined;
    throw error;
  }
}

function open({ base, threads, gpu }: Start): Promise<Codec> {
  ort.env.wasm.numThreads = threads;
  ort.env.wasm.wasmPaths = { mjs: new URL(RUNTIME.script, base).href };
  const load = async (arrived: (bytes: number) => void) => {
    const packed = await fetchBytes(new URL(RUNTIME.file, base), arrived);
    ort.env.wasm.wasmBinary = (await unpack(packed, RUNTIME.unpacked)).buffer;
  };
  return Codec.open((name, arrived) => fetchBytes(new URL(`model/${name}`, base), arrived), { bytes: RUNTIME.bytes, load }, gpu);
}

/** What may move to the other thread instead of being copied. */
function transferable(value: unknown): ArrayBuffer[] {
  const { data, bytes } = (value ?? {}) as { data?: Uint8ClampedArray<ArrayBuffer>; bytes?: Uint8Array<ArrayBuffer> };
  return [data, bytes].flatMap((array) => (array ? [array.buffer] : []));
}
