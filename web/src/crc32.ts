/** CRC-32 as in zlib, PNG and gzip. */

const TABLE = Uint32Array.from({ length: 256 }, (_, byte) => {
  let crc = byte;
  for (let bit = 0; bit < 8; bit++) crc = crc & 1 ? (crc >>> 1) ^ 0xedb88320 : crc >>> 1;
  return crc;
});

/** The CRC of bytes that follow others, whose CRC is `before`. */
export function crc32(bytes: Uint8Array, before = 0): number {
  let crc = ~before;
  for (let at = 0; at < bytes.length; at++) crc = (crc >>> 8) ^ TABLE[(crc ^ bytes[at]!) & 255]!;
  return ~crc >>> 0;
}

/** The CRC of integers as little-endian int32. */
export function crc32OfIntegers(numbers: Int32Array, before = 0): number {
  if (LITTLE) return crc32(new Uint8Array(numbers.buffer, numbers.byteOffset, numbers.byteLength), before);
  const view = new DataView(new ArrayBuffer(numbers.byteLength));
  numbers.forEach((number, at) => view.setInt32(4 * at, number, true));
  return crc32(new Uint8Array(view.buffer), before);
}

const LITTLE = new Uint8Array(new Uint16Array([1]).buffer)[0] === 1;
