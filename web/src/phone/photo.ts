// A photo from the bytes of a file: decoded, turned upright, in three planes.
// JPEG is decoded by libjpeg compiled to WebAssembly, so that every browser sees the same levels as Python does;
// PNG is lossless, so the browser's own decoder gives the same, as long as it leaves colours alone. Other kinds than
// JPEG are turned by the browser.

import type { Photo } from "./measure/arrays.ts";

/** Why a file is no photo that can be screened; a key of messages, and what stands in it. */
export class PhotoError extends Error {
  constructor(
    readonly key: string,
    readonly values: Readonly<Record<string, string | number>> = {},
    /** Whether the quality stage speaks, else reading has failed. */
    readonly readable = false,
  ) {
    super(key);
  }
}

/** Pixels with alpha, row by row, as canvases hold them. */
export interface Pixels {
  readonly data: Uint8ClampedArray;
  readonly width: number;
  readonly height: number;
}

/** Decoders of a browser; tests bring their own. */
export interface Decoders {
  readonly jpeg: (bytes: ArrayBuffer) => Promise<Pixels>;
  readonly other: (bytes: ArrayBuffer) => Promise<Pixels>;
}

/** More pixels than these are refused: a phone would run out of memory. */
export const LARGEST = 50_000_000;

interface Header {
  readonly kind: "jpeg" | "png" | "other";
  readonly height: number;
  readonly width: number;
  readonly channels: number;
  readonly bits: number;
  readonly orientation: number;
}

/** Read a photo from the bytes of a file. */
export async function readPhoto(bytes: ArrayBuffer, decoders: Decoders): Promise<Photo> {
  if (!bytes.byteLength) throw new PhotoError("reading.empty");
  const header = headerOf(new DataView(bytes));
  if (header.height * header.width > LARGEST) {
    throw new PhotoError("reading.large", { megapixels: (header.height * header.width) / 1e6, most: LARGEST / 1e6 });
  }
  let pixels: Pixels;
  try {
    pixels = await (header.kind === "jpeg" ? decoders.jpeg : decoders.other)(bytes);
  } catch {
    throw new PhotoError(header.kind === "other" ? "reading.unknown" : "reading.damaged");
  }
  if (pixels.width * pixels.height > LARGEST) {
    throw new PhotoError("reading.large", { megapixels: (pixels.width * pixels.height) / 1e6, most: LARGEST / 1e6 });
  }
  if (header.channels < 3 || header.bits > 8) {
    throw new PhotoError("quality.channels", { channels: header.channels, type: header.bits > 8 ? "uint16" : "uint8" }, true);
  }
  return upright(photoOf(pixels), header.orientation);
}

/** Planes of pixels; what is transparent is no photo. */
export function photoOf({ data, width, height }: Pixels): Photo {
  const planes = [0, 1, 2].map((channel) => {
    const plane = new Uint8Array(width * height);
    for (let at = 0; at < plane.length; at++) plane[at] = data[4 * at + channel];
    return plane;
  }) as unknown as Photo["planes"];
  for (let at = 3; at < data.length; at += 4) if (data[at] === 0) throw new PhotoError("reading.transparent");
  return { planes, height, width };
}

/** Turn a photo the way that the camera noted (EXIF tag 274). */
export function upright(photo: Photo, orientation: number): Photo {
  if (orientation < 2 || orientation > 8) return photo;
  const swapped = orientation >= 5;
  const mirrored = [2, 3, 6, 7].includes(orientation);
  const reversed = [3, 4, 7, 8].includes(orientation);
  const [height, width] = swapped ? [photo.width, photo.height] : [photo.height, photo.width];
  const planes = photo.planes.map((plane) => {
    const out = new Uint8Array(plane.length);
    for (let row = 0; row < height; row++) {
      for (let column = 0; column < width; column++) {
        const [y, x] = [reversed ? height - 1 - row : row, mirrored ? width - 1 - column : column];
        out[row * width + column] = swapped ? plane[x * photo.width + y] : plane[y * photo.width + x];
      }
    }
    return out;
  }) as unknown as Photo["planes"];
  return { planes, height, width };
}

function headerOf(view: DataView): Header {
  if (view.byteLength > 4 && view.getUint16(0) === 0xffd8) return jpegHeader(view);
  if (view.byteLength > 32 && view.getUint32(0) === 0x89504e47) return pngHeader(view);
  return { kind: "other", height: 0, width: 0, channels: 3, bits: 8, orientation: 1 };
}

/** Size, components and orientation of a JPEG, from its segments; one without its end is damaged. */
function jpegHeader(view: DataView): Header {
  let end = view.byteLength;
  while (end > 2 && view.getUint8(end - 1) === 0) end--;
  if (view.getUint16(end - 2) !== 0xffd9) throw new PhotoError("reading.damaged");
  let orientation = 1;
  for (let at = 2; at + 9 < view.byteLength; ) {
    if (view.getUint8(at) !== 0xff) break;
    const marker = view.getUint8(at + 1);
    if (marker === 0xff) {
      at++;
      continue;
    }
    const length = view.getUint16(at + 2);
    if (marker === 0xe1 && at + 10 < view.byteLength && view.getUint32(at + 4) === 0x45786966) {
      orientation = orientationIn(view, at + 10, at + 2 + length);
    }
    const frame = marker >= 0xc0 && marker <= 0xcf && ![0xc4, 0xc8, 0xcc].includes(marker);
    if (frame) {
      const [height, width] = [view.getUint16(at + 5), view.getUint16(at + 7)];
      return { kind: "jpeg", height, width, channels: view.getUint8(at + 9), bits: view.getUint8(at + 4), orientation };
    }
    at += 2 + length;
  }
  throw new PhotoError("reading.damaged");
}

function pngHeader(view: DataView): Header {
  const [width, height] = [view.getUint32(16), view.getUint32(20)];
  const [bits, kind] = [view.getUint8(24), view.getUint8(25)];
  const channels = kind === 0 || kind === 4 ? 1 : 3;
  return { kind: "png", height, width, channels, bits: kind === 3 ? 8 : bits, orientation: 1 };
}

/** The orientation in an EXIF block; 1 where it holds none. */
function orientationIn(view: DataView, start: number, end: number): number {
  const last = Math.min(end, view.byteLength);
  if (start + 8 > last) return 1;
  const little = view.getUint16(start) === 0x4949;
  const first = start + view.getUint32(start + 4, little);
  if (first + 2 > last) return 1;
  const entries = view.getUint16(first, little);
  for (let k = 0; k < entries; k++) {
    const at = first + 2 + 12 * k;
    if (at + 12 > last) return 1;
    if (view.getUint16(at, little) === 274) {
      const value = view.getUint16(at + 8, little);
      return value >= 1 && value <= 8 ? value : 1;
    }
  }
  return 1;
}
