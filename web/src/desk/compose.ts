// From masks and probabilities to the pixels of an overlay. Pure: arrays in, arrays out.

export interface Layer {
  value: number;
  color: string;
  shown: boolean;
}

export type Look = "fill" | "outline" | "probability";

/** "#rrggbb" as the bytes of an opaque pixel, in the order of ImageData on little-endian machines. */
export function pixel(color: string, alpha = 255): number {
  const rgb = parseInt(color.slice(1), 16);
  return ((alpha << 24) | ((rgb & 0xff) << 16) | (rgb & 0xff00) | (rgb >> 16)) >>> 0;
}

/** Classes that exclude one another: `value` where p >= threshold, else 0. */
export function above(plane: Uint8Array, threshold: number, value: number): Uint8Array {
  const out = new Uint8Array(plane.length);
  const limit = level(threshold);
  for (let i = 0; i < plane.length; i++) if (plane[i]! >= limit) out[i] = value;
  return out;
}

/** The least 8-bit level that counts as p >= threshold; planes hold round(255 p). */
export function level(threshold: number): number {
  return Math.round(threshold * 255);
}

/** A region with its probability; `within` are the places of those that it is a part of. */
export interface Region {
  plane: Uint8Array;
  threshold: number;
  value: number;
  within: number[];
}

/** Where one of some regions is: p >= its threshold, and those that it is a part of are there, too. */
export function inside(regions: Region[], at: number): (pixel: number) => boolean {
  const all = [at, ...regions[at]!.within].map((one) => ({ plane: regions[one]!.plane, limit: level(regions[one]!.threshold) }));
  return (pixel) => all.every(({ plane, limit }) => plane[pixel]! >= limit);
}

/** Regions that may overlap, painted in their order: the value of the last one that is shown and there. */
export function paint(regions: Region[], shown: (at: number) => boolean, length: number): Uint8Array {
  const out = new Uint8Array(length);
  regions.forEach(({ value }, at) => {
    if (!shown(at)) return;
    const there = inside(regions, at);
    for (let i = 0; i < length; i++) if (there(i)) out[i] = value;
  });
  return out;
}

/** Pixels at most `radius` from one of another class, along rows and columns; others become 0. */
export function outline(mask: Uint8Array, width: number, height: number, radius: number): Uint8Array {
  const out = new Uint8Array(mask.length);
  for (let y = 0; y < height; y++) {
    const row = y * width;
    for (let x = 0; x < width; x++) {
      const i = row + x;
      const own = mask[i]!;
      if (own === 0) continue;
      const edge =
        mask[row + Math.max(0, x - radius)] !== own ||
        mask[row + Math.min(width - 1, x + radius)] !== own ||
        mask[Math.max(0, y - radius) * width + x] !== own ||
        mask[Math.min(height - 1, y + radius) * width + x] !== own;
      if (edge) out[i] = own;
    }
  }
  return out;
}

/** Class values as coloured pixels; classes that are not shown, and unknown ones, stay clear. */
export function colour(mask: Uint8Array, layers: Layer[], out: Uint32Array): void {
  const table = new Uint32Array(256);
  for (const layer of layers) if (layer.shown) table[layer.value] = pixel(layer.color);
  for (let i = 0; i < mask.length; i++) out[i] = table[mask[i]!]!;
}

/** A probability as a veil of one colour: clear at 0, full at 1. */
export function veil(plane: Uint8Array, color: string, out: Uint32Array): void {
  const table = new Uint32Array(256);
  for (let v = 0; v < 256; v++) table[v] = pixel(color, v);
  for (let i = 0; i < plane.length; i++) out[i] = table[plane[i]!]!;
}

/** Pixels of each value. */
export function tally(mask: Uint8Array): Uint32Array {
  const out = new Uint32Array(256);
  for (let i = 0; i < mask.length; i++) out[mask[i]!]!++;
  return out;
}
