/** AVIF, by libavif and libaom as WebAssembly, in a thread of its own: a picture and a quality in, a file out. */

import start, { type AVIFModule } from "@jsquash/avif/codec/enc/avif_enc.js";
import { defaultOptions } from "@jsquash/avif/meta.js";

import { fail, reason } from "../src/errors.ts";
import { fetchBytes, unpack } from "../src/fetching.ts";
import type { Picture } from "../src/index.ts";

/** The WebAssembly, gzipped; esbuild puts it here. */
declare const AVIF: { file: string; bytes: number; unpacked: number };

export interface Question {
  /** The picture that is meant from now on. */
  picture?: Picture;
  /** 0 to 100. */
  quality: number;
}
export type Answer =
  | { file: Uint8Array<ArrayBuffer>; time: number }
  | { error: string }
  | { loading: { done: number; total: number } };

let encoder: Promise<AVIFModule> | undefined;
let picture: Picture | undefined;

addEventListener("message", async ({ data }: MessageEvent<Question>) => {
  picture = data.picture ?? picture;
  try {
    encoder ??= load();
    answer(encode(await encoder, picture!, data.quality));
  } catch (error) {
    encoder = undefined;
    answer({ error: reason(error) });
  }
});

async function load(): Promise<AVIFModule> {
  const url = new URL(AVIF.file, import.meta.url);
  const packed = await fetchBytes(url, (done) => answer({ loading: { done, total: AVIF.bytes } }));
  return start({ noInitialRun: true, wasmBinary: (await unpack(packed, AVIF.unpacked)).buffer });
}

function encode(module: AVIFModule, { data, width, height }: Picture, quality: number): Answer {
  const begin = performance.now();
  const file = module.encode(new Uint8Array(data.buffer), width, height, { ...defaultOptions, quality });
  return { file: file?.slice() ?? fail("ImageError", "libavif refuses the picture"), time: performance.now() - begin };
}

function answer(message: Answer): void {
  postMessage(message);
}
