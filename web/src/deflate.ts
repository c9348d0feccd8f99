/** Deflate streams by the platform's own (de)compressor, in memory that the caller bounds. */

import { concatenate } from "./bytes.ts";

type Format = "gzip" | "deflate" | "deflate-raw";

/** At most `most` bytes more than which throws a RangeError; so do bytes that are no whole stream, or go on after it. */
export async function inflate(bytes: Uint8Array<ArrayBuffer>, format: Format, most: number): Promise<Uint8Array<ArrayBuffer>> {
  const parts: Uint8Array[] = [];
  let size = 0;
  const reader = new Blob([bytes]).stream().pipeThrough(new DecompressionStream(format)).getReader();
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return concatenate(parts);
    size += value.length;
    if (size > most) {
      await reader.cancel();
      throw new RangeError(`it unpacks to more than ${most} bytes`);
    }
    parts.push(value);
  }
}

export async function deflate(bytes: Uint8Array<ArrayBuffer>, format: Format): Promise<Uint8Array<ArrayBuffer>> {
  const packed = new Blob([bytes]).stream().pipeThrough(new CompressionStream(format));
  return new Uint8Array(await new Response(packed).arrayBuffer());
}
