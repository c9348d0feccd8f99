/** Other formats of a picture, as near to a number of bytes as they come, from below. */

import { type Picture, type ProgressEvent, RegrainError } from "../src/index.ts";
import type { Answer, Question } from "./avif_worker.ts";

export interface Rival {
  name: Format;
  file: Blob;
  decoded: Picture;
  encodeTime: number;
  decodeTime: number;
}
export type Format = keyof typeof TYPES;

const TYPES = { JPEG: "image/jpeg", WebP: "image/webp", AVIF: "image/avif" };
export const FORMATS = Object.keys(TYPES) as Format[];
const ROUNDS = 8;

interface Trial {
  file: Blob;
  time: number;
}
/** A file at a quality from 0 to 1. */
type Encode = (quality: number) => Promise<Trial>;
type Told = (event: ProgressEvent) => void;

/** A picture in a format; nothing where the result has become `stale` on the way. Throws, with why, where there is none. */
export async function rival(
  name: Format, picture: Picture, bytes: number, told: Told, stale: () => boolean,
): Promise<Rival | undefined> {
  const encode = name === "AVIF" ? avif(picture, told) : canvas(picture, TYPES[name]);
  const best = await nearest(encode, bytes, told, stale);
  if (!best) return undefined;
  const start = performance.now();
  const bitmap = await createImageBitmap(best.file).catch(() => refuse("this browser cannot show it"));
  const decodeTime = performance.now() - start;
  const context = new OffscreenCanvas(picture.width, picture.height).getContext("2d")!;
  context.drawImage(bitmap, 0, 0);
  const { data, width, height } = context.getImageData(0, 0, picture.width, picture.height);
  const decoded = { data: data as Picture["data"], width, height };
  return { name, file: best.file, decoded, encodeTime: best.time, decodeTime };
}

/** The largest file of at most so many bytes, or else the smallest that there is. */
async function nearest(encode: Encode, bytes: number, told: Told, stale: () => boolean): Promise<Trial | undefined> {
  let best: Trial | undefined;
  for (let round = 0, low = 0, high = 1; round < ROUNDS; round++) {
    if (stale()) return undefined;
    told({ stage: "picture", done: round / ROUNDS });
    const quality = (low + high) / 2;
    const trial = await encode(quality);
    if (trial.file.size <= bytes) [low, best] = [quality, trial];
    else high = quality;
  }
  return best ?? encode(0);
}

/** This browser's own encoder. */
function canvas({ data, width, height }: Picture, type: string): Encode {
  const drawn = new OffscreenCanvas(width, height);
  drawn.getContext("2d")!.putImageData(new ImageData(data, width, height), 0, 0);
  return async (quality) => {
    const start = performance.now();
    const file = await drawn.convertToBlob({ type, quality });
    if (file.type !== type) refuse("this browser does not write it");
    return { file, time: performance.now() - start };
  };
}

let worker: Worker | undefined;

/** libavif's, which is fetched when it is first asked for. */
function avif(picture: Picture, told: Told): Encode {
  let question: Partial<Question> = { picture };
  return async (quality) => {
    worker ??= new Worker(new URL("avif.js", import.meta.url), { type: "module" });
    const asked = ask(worker, { ...question, quality: Math.round(100 * quality) }, told);
    question = {};
    try {
      const { file, time } = await asked;
      return { file: new Blob([file], { type: TYPES.AVIF }), time };
    } catch (error) {
      worker.terminate();
      worker = undefined;
      throw error;
    }
  };
}

function ask(to: Worker, question: Question, told: Told): Promise<{ file: Uint8Array<ArrayBuffer>; time: number }> {
  return new Promise((resolve, reject) => {
    to.onmessage = ({ data }: MessageEvent<Answer>) => {
      if ("loading" in data) told({ stage: "load", done: data.loading.done / data.loading.total, bytes: data.loading });
      else if ("error" in data) reject(new RegrainError("ImageError", data.error));
      else resolve(data);
    };
    to.onerror = () => reject(new RegrainError("ImageError", "its encoder cannot be loaded"));
    to.postMessage(question);
  });
}

function refuse(why: string): never {
  throw new RegrainError("ImageError", why);
}

/** Peak signal-to-noise ratio in dB of the colours, where the original is not wholly transparent. */
export function psnr(original: Picture, other: Picture): number {
  let [sum, count] = [0, 0];
  for (let at = 0; at < original.data.length; at++) {
    if (at % 4 === 3 || !original.data[at | 3]) continue;
    sum += (original.data[at]! - other.data[at]!) ** 2;
    count++;
  }
  return 10 * Math.log10((255 ** 2 * count) / sum);
}
