/** Files of the site, and what is packed in them. */

import { inflate } from "./deflate.ts";
import { fail, reason } from "./errors.ts";

/** The bytes of a file; `arrived` hears how many have come. */
export async function fetchBytes(url: URL, arrived?: (bytes: number) => void): Promise<Uint8Array<ArrayBuffer>> {
  const response = await fetch(url).catch((error) => fail("ModelError", `${url.pathname} cannot be fetched: ${reason(error)}`));
  if (!response.ok || !response.body) return fail("ModelError", `${url.pathname} cannot be fetched: ${response.status}`);
  let size = 0;
  const counted = new TransformStream<Uint8Array, Uint8Array>({
    transform(chunk, controller) {
      arrived?.((size += chunk.length));
      controller.enqueue(chunk);
    },
  });
  return new Uint8Array(await new Response(response.body.pipeThrough(counted)).arrayBuffer());
}

/** The bytes of a gzip file; of one that a server has unpacked on the way, the bytes themselves. */
export async function unpack(bytes: Uint8Array<ArrayBuffer>, size: number): Promise<Uint8Array<ArrayBuffer>> {
  if (bytes[0] !== 0x1f || bytes[1] !== 0x8b) return bytes.slice();
  return inflate(bytes, "gzip", size);
}
