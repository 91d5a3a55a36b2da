// Planes of numbers and what is read off them, as numpy reads it.

/** One plane of numbers, row by row. */
export interface Plane<T extends Uint8Array | Float32Array = Uint8Array | Float32Array> {
  readonly data: T;
  readonly height: number;
  readonly width: number;
}

/** A colour photo: three planes of 8 bits, red, green, blue. */
export interface Photo {
  readonly planes: readonly [Uint8Array, Uint8Array, Uint8Array];
  readonly height: number;
  readonly width: number;
}

/** Rows and columns from the first to the one after the last. */
export interface Box {
  readonly top: number;
  readonly bottom: number;
  readonly left: number;
  readonly right: number;
}

/** To the nearest whole number, halves to the even one, as Python and OpenCV round. */
export function roundEven(value: number): number {
  const low = Math.floor(value);
  const rest = value - low;
  if (rest !== 0.5) return rest < 0.5 ? low : low + 1;
  return low % 2 === 0 ? low : low + 1;
}

/** The `percent`th percentiles, linear between values. */
export function percentiles(values: ArrayLike<number>, percent: readonly number[]): number[] {
  const sorted = Float64Array.from(values).sort();
  return percent.map((p) => {
    const place = (p / 100) * (sorted.length - 1);
    const low = Math.floor(place);
    const high = Math.min(low + 1, sorted.length - 1);
    return sorted[low] + (sorted[high] - sorted[low]) * (place - low);
  });
}

/** The middle value; of an even number the mean of the two in the middle. */
export function median(values: ArrayLike<number>): number {
  return percentiles(values, [50])[0];
}

/** The mean of a list; NaN of none. */
export function mean(values: ArrayLike<number>): number {
  let total = 0;
  for (let i = 0; i < values.length; i++) total += values[i];
  return total / values.length;
}

/** How many are not 0. */
export function count(mask: Uint8Array): number {
  let total = 0;
  for (let i = 0; i < mask.length; i++) if (mask[i]) total++;
  return total;
}

/** Values where a mask is not 0. */
export function picked(values: ArrayLike<number>, mask: Uint8Array): Float64Array {
  const found = new Float64Array(count(mask));
  for (let i = 0, k = 0; i < mask.length; i++) if (mask[i]) found[k++] = values[i];
  return found;
}

/** The value at `x` of the broken line through points with rising `xs`; constant beyond its ends. */
export function interpolated(x: number, xs: ArrayLike<number>, ys: ArrayLike<number>): number {
  const last = xs.length - 1;
  if (!(x > xs[0])) return ys[0];
  if (x >= xs[last]) return ys[last];
  let right = 1;
  while (xs[right] <= x) right++;
  const left = right - 1;
  return ys[left] + ((ys[right] - ys[left]) / (xs[right] - xs[left])) * (x - xs[left]);
}

/** The box around what is not 0, `margin` wider as far as the plane goes; null where nothing is. */
export function boundingBox(mask: Plane<Uint8Array>, margin = 0): Box | null {
  const { data, height, width } = mask;
  let top = height;
  let bottom = -1;
  let left = width;
  let right = -1;
  for (let row = 0; row < height; row++) {
    const start = row * width;
    for (let column = 0; column < width; column++) {
      if (!data[start + column]) continue;
      if (row < top) top = row;
      bottom = row;
      if (column < left) left = column;
      if (column > right) right = column;
    }
  }
  if (bottom < 0) return null;
  return {
    top: Math.max(0, top - margin),
    bottom: Math.min(height, bottom + 1 + margin),
    left: Math.max(0, left - margin),
    right: Math.min(width, right + 1 + margin),
  };
}

/** A part of a plane, copied. */
export function cut<T extends Uint8Array | Float32Array>(plane: Plane<T>, box: Box): Plane<T> {
  const height = box.bottom - box.top;
  const width = box.right - box.left;
  const make = plane.data.constructor as new (length: number) => T;
  const data = new make(height * width);
  for (let row = 0; row < height; row++) {
    const start = (row + box.top) * plane.width + box.left;
    data.set(plane.data.subarray(start, start + width), row * width);
  }
  return { data, height, width };
}
