/** What a file says about itself, without weights. */

import { read } from "./bitstream.ts";
import { type Info, QUALITY_UNIT } from "./options.ts";

/** Header and sections of a file. Throws where it is not whole. */
export function inspect(bytes: Uint8Array, maxPixels = 2 ** 62): Info {
  const { stream, sections } = read(bytes, maxPixels);
  const { header } = stream;
  const bpp = (8 * bytes.length) / (header.width * header.height);
  return { ...header, quality: header.quality / QUALITY_UNIT, size: bytes.length, bpp, sections };
}
