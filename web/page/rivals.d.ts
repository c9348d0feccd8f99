/** This browser's JPEG and WebP of a picture, as near to a number of bytes as they come, from below. */
import type { Picture } from "../src/index.ts";
export interface Rival {
    name: string;
    file: Blob;
    decoded: Picture;
    encodeTime: number;
    decodeTime: number;
}
export declare function rivals(picture: Picture, bytes: number): Promise<Rival[]>;
/** Peak signal-to-noise ratio in dB of the colours, where the original is not wholly transparent. */
export declare function psnr(original: Picture, other: Picture): number;
