/** Every way that regrain can fail: the names of Python's `regrain.errors`, as far as a browser meets them. */

const NAMES = [
  "UsageError", // an argument out of range
  "ImageError", // a picture that cannot be read
  "NotRegrain", // the wrong magic: no .rgn file
  "UnsupportedVersion", // a later version of the format, or a method that this package does not decode
  "Truncated", // the file ends before it says it does
  "Corrupt", // a checksum or a rule of the format is broken
  "ModelError", // weights are missing, or not those that the file names
  "LimitError", // more pixels than allowed
] as const;

export type ErrorName = (typeof NAMES)[number];

/** The one class of errors; `name` says which of them it is, and `message` is one line for people. */
export class RegrainError extends Error {
  constructor(
    override readonly name: ErrorName,
    message: string,
  ) {
    super(message);
  }
}

/** Throws, where an expression must stand. */
export function fail(name: ErrorName, message: string): never {
  throw new RegrainError(name, message);
}

/** What an error says on one line, whatever was thrown. */
export function reason(error: unknown): string {
  const text = error instanceof Error ? error.message || error.name : String(error);
  return text.replace(/\s+/g, " ").trim().slice(0, 300);
}
