/** A picture as a PNG with its profile, EXIF and XMP, which a canvas would drop. */

import { concatenate } from "./bytes.ts";
import type { Picture } from "./options.ts";
import { crc32 } from "./crc32.ts";
import { deflate } from "./deflate.ts";

const SIGNATURE = [137, 80, 78, 71, 13, 10, 26, 10];
const XMP_KEY = "XML:com.adobe.xmp\0\0\0\0\0";

export async function encodePng({ width, height, data, metadata = {} }: Picture): Promise<Blob> {
  const channels = data.every((value, at) => at % 4 !== 3 || value === 255) ? 3 : 4;
  const head = new DataView(new ArrayBuffer(13));
  head.setUint32(0, width);
  head.setUint32(4, height);
  head.setUint8(8, 8);
  head.setUint8(9, channels === 3 ? 2 : 6);
  const { icc, exif, xmp } = metadata;
  const parts = [
    Uint8Array.from(SIGNATURE),
    chunk("IHDR", new Uint8Array(head.buffer)),
    ...(icc ? [chunk("iCCP", concatenate([text("profile\0\0"), await deflate(Uint8Array.from(icc), "deflate")]))] : []),
    ...(xmp ? [chunk("iTXt", concatenate([text(XMP_KEY), xmp]))] : []),
    ...(exif ? [chunk("eXIf", exif)] : []),
    chunk("IDAT", await deflate(filtered(data, width, height, channels), "deflate")),
    chunk("IEND", new Uint8Array()),
  ];
  return new Blob([concatenate(parts)], { type: "image/png" });
}

/** Rows with the filter Up: each byte less the one above. */
function filtered(data: Uint8ClampedArray, width: number, height: number, channels: number): Uint8Array<ArrayBuffer> {
  const rows = new Uint8Array(height * (1 + width * channels));
  let to = 0;
  for (let row = 0; row < height; row++) {
    rows[to++] = 2;
    for (let column = 0; column < width; column++) {
      const at = 4 * (row * width + column);
      for (let channel = 0; channel < channels; channel++) {
        rows[to++] = data[at + channel]! - (row ? data[at - 4 * width + channel]! : 0);
      }
    }
  }
  return rows;
}

function chunk(kind: string, body: Uint8Array): Uint8Array {
  const named = concatenate([text(kind), body]);
  const frame = new DataView(new ArrayBuffer(8));
  frame.setUint32(0, body.length);
  frame.setUint32(4, crc32(named));
  return concatenate([new Uint8Array(frame.buffer, 0, 4), named, new Uint8Array(frame.buffer, 4, 4)]);
}

function text(words: string): Uint8Array {
  return new TextEncoder().encode(words);
}
