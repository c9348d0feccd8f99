/** This browser's JPEG and WebP of a picture, as near to a number of bytes as they come, from below. */

import type { Picture } from "../src/index.ts";

export interface Rival {
  name: string;
  file: Blob;
  decoded: Picture;
  encodeTime: number;
  decodeTime: number;
}

const TYPES = { JPEG: "image/jpeg", WebP: "image/webp" };
const ROUNDS = 8;

export async function rivals(picture: Picture, bytes: number): Promise<Rival[]> {
  const canvas = new OffscreenCanvas(picture.width, picture.height);
  canvas.getContext("2d")!.putImageData(new ImageData(picture.data, picture.width, picture.height), 0, 0);
  const all: Rival[] = [];
  for (const [name, type] of Object.entries(TYPES)) {
    const rival = await nearest(canvas, name, type, bytes).catch(() => undefined);
    if (rival) all.push(rival);
  }
  return all;
}

/** The largest file of at most so many bytes, or else the smallest that there is. */
async function nearest(canvas: OffscreenCanvas, name: string, type: string, bytes: number): Promise<Rival | undefined> {
  let best = await canvas.convertToBlob({ type, quality: 0 });
  if (best.type !== type) return undefined;
  let encodeTime = 0;
  for (let round = 0, low = 0, high = 1; round < ROUNDS && best.size <= bytes; round++) {
    const quality = (low + high) / 2;
    const start = performance.now();
    const file = await canvas.convertToBlob({ type, quality });
    encodeTime = performance.now() - start;
    if (file.size <= bytes) [low, best] = [quality, file];
    else high = quality;
  }
  const start = performance.now();
  const bitmap = await createImageBitmap(best);
  const decodeTime = performance.now() - start;
  const context = new OffscreenCanvas(canvas.width, canvas.height).getContext("2d")!;
  context.drawImage(bitmap, 0, 0);
  const { data, width, height } = context.getImageData(0, 0, canvas.width, canvas.height);
  return { name, file: best, decoded: { data: data as Picture["data"], width, height }, encodeTime, decodeTime };
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
