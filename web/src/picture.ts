/** A picture file that the browser can show -> pixels as the file has them, upright, and its metadata. */

import { concatenate, equal } from "./bytes.ts";
import { MAX_PIXELS, type Metadata, type Picture } from "./options.ts";
import { inflate } from "./deflate.ts";
import { fail, reason } from "./errors.ts";

const PROFILE_MOST = 2 ** 22;
const ORIENTATION = 0x0112;

export interface ReadOptions {
  /** A picture of more pixels than this is refused; 2^25 unless said. */
  maxPixels?: number;
  /** A picture of more pixels than this is scaled down. */
  fit?: number;
}

/** Reads PNG, JPEG, WebP and what else the browser knows; of the three the profile, EXIF and XMP are kept. */
export async function readPicture(file: Blob, { maxPixels = MAX_PIXELS, fit = Infinity }: ReadOptions = {}): Promise<Picture> {
  const metadata = await metadataOf(new Uint8Array(await file.arrayBuffer())).catch((): Metadata => ({}));
  const whole = await createImageBitmap(file, {
    colorSpaceConversion: metadata.icc ? "none" : "default",
    premultiplyAlpha: "none",
    imageOrientation: "from-image",
  }).catch((error) => fail("ImageError", `the browser cannot read this picture: ${reason(error)}`));
  const bitmap = await scaledDown(whole, fit);
  const { width, height } = bitmap;
  if (width * height > maxPixels) fail("LimitError", `${width} x ${height} pixels; allowed are ${maxPixels}`);
  const context = new OffscreenCanvas(width, height).getContext("2d", { willReadFrequently: true });
  if (!context) return fail("ImageError", "the browser gives no canvas of this size");
  context.drawImage(bitmap, 0, 0);
  bitmap.close();
  const { data } = context.getImageData(0, 0, width, height);
  return { width, height, data: data as Uint8ClampedArray<ArrayBuffer>, metadata };
}

async function scaledDown(bitmap: ImageBitmap, most: number): Promise<ImageBitmap> {
  const share = Math.sqrt(most / (bitmap.width * bitmap.height));
  if (share >= 1) return bitmap;
  const [resizeWidth, resizeHeight] = [bitmap.width, bitmap.height].map((side) => Math.max(1, Math.round(side * share))) as [number, number];
  const smaller = await createImageBitmap(bitmap, { resizeWidth, resizeHeight, resizeQuality: "high", premultiplyAlpha: "none", colorSpaceConversion: "none" });
  bitmap.close();
  return smaller;
}

async function metadataOf(bytes: Uint8Array): Promise<Metadata> {
  const starts = (text: string, at = 0) => equal(bytes.subarray(at, at + text.length), codes(text));
  const found = starts("\x89PNG") ? await ofPng(bytes) : starts("\xff\xd8") ? ofJpeg(bytes) : starts("WEBP", 8) ? ofWebp(bytes) : {};
  if (found.exif) found.exif = upright(found.exif);
  return found;
}

async function ofPng(bytes: Uint8Array): Promise<Metadata> {
  const found: Metadata = {};
  const view = viewOf(bytes);
  for (let at = 8; at + 12 <= bytes.length; at += 12 + view.getUint32(at)) {
    const body = bytes.subarray(at + 8, at + 8 + view.getUint32(at));
    const kind = String.fromCharCode(...bytes.subarray(at + 4, at + 8));
    if (kind === "IEND" || kind === "IDAT") {
      if (kind === "IEND") break;
      continue;
    }
    if (kind === "eXIf") found.exif = body.slice();
    if (kind === "iCCP") found.icc = await inflate(body.slice(body.indexOf(0) + 2), "deflate", PROFILE_MOST);
    const key = codes("XML:com.adobe.xmp\0\0\0\0\0");
    if (kind === "iTXt" && equal(body.subarray(0, key.length), key)) found.xmp = body.slice(key.length);
  }
  return found;
}

function ofJpeg(bytes: Uint8Array): Metadata {
  const found: Metadata = {};
  const view = viewOf(bytes);
  const profile = new Map<number, Uint8Array>();
  for (let at = 2; at + 4 <= bytes.length && bytes[at] === 0xff && bytes[at + 1] !== 0xda; at += 2 + view.getUint16(at + 2)) {
    const [marker, body] = [bytes[at + 1], bytes.subarray(at + 4, at + 2 + view.getUint16(at + 2))];
    const after = (text: string) => (equal(body.subarray(0, text.length), codes(text)) ? body.slice(text.length) : undefined);
    if (marker === 0xe1) found.exif ??= after("Exif\0\0")!;
    if (marker === 0xe1) found.xmp ??= after("http://ns.adobe.com/xap/1.0/\0")!;
    const part = marker === 0xe2 && after("ICC_PROFILE\0");
    if (part) profile.set(part[0]!, part.subarray(2));
  }
  if (profile.size) found.icc = concatenate([...profile].sort(([a], [b]) => a - b).map(([, part]) => part));
  return Object.fromEntries(Object.entries(found).filter(([, block]) => block)) as Metadata;
}

function ofWebp(bytes: Uint8Array): Metadata {
  const found: Metadata = {};
  const view = viewOf(bytes);
  for (let at = 12; at + 8 <= bytes.length; at += 8 + 2 * Math.ceil(view.getUint32(at + 4, true) / 2)) {
    const body = bytes.slice(at + 8, at + 8 + view.getUint32(at + 4, true));
    const kind = String.fromCharCode(...bytes.subarray(at, at + 4));
    if (kind === "ICCP") found.icc = body;
    if (kind === "XMP ") found.xmp = body;
    if (kind === "EXIF") found.exif = equal(body.subarray(0, 6), codes("Exif\0\0")) ? body.slice(6) : body;
  }
  return found;
}

/** EXIF that says that the picture is upright, as its pixels are now. */
function upright(exif: Uint8Array): Uint8Array {
  const copy = exif.slice();
  const entry = orientationEntry(copy);
  if (entry) viewOf(copy).setUint16(entry.at, 1, entry.little);
  return copy;
}

/** Where the value of the orientation stands in a TIFF block. */
function orientationEntry(exif: Uint8Array): { at: number; little: boolean } | undefined {
  const view = viewOf(exif);
  if (exif.length < 14) return undefined;
  const little = exif[0] === 0x49;
  const start = view.getUint32(4, little);
  if (start + 2 > exif.length) return undefined;
  for (let at = start + 2, left = view.getUint16(start, little); left && at + 12 <= exif.length; at += 12, left--) {
    if (view.getUint16(at, little) === ORIENTATION) return { at: at + 8, little };
  }
  return undefined;
}

function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

function codes(text: string): Uint8Array {
  return Uint8Array.from(text, (char) => char.charCodeAt(0));
}
