// Level and width of the grey values of a volume. Pure.

export interface Range {
  low: number;
  high: number;
}

export function levelOf(range: Range): number {
  return (range.low + range.high) / 2;
}

export function widthOf(range: Range): number {
  return range.high - range.low;
}

export function rangeOf(level: number, width: number): Range {
  return { low: level - width / 2, high: level + width / 2 };
}

/** Where a slider may go: all values of the volume for the level, up to their whole span for the width. */
export function limits(all: Range): { level: Range; width: Range; step: number } {
  const span = Math.max(all.high - all.low, Number.EPSILON);
  return { level: { ...all }, width: { low: span / 500, high: span }, step: span / 500 };
}

/** A slice number from a place between 0 and 1, and back to the middle of that slice. */
export function sliceAt(fraction: number, count: number): number {
  return Math.min(count - 1, Math.max(0, Math.floor(fraction * count)));
}

export function middleOf(slice: number, count: number): number {
  return (slice + 0.5) / count;
}

/** The slice of each axis (x, y, z; x runs fastest) that holds the most voxels of any class; null where there are none. */
export function fullest(data: ArrayLike<number>, counts: number[]): number[] | null {
  const [nx = 1, ny = 1, nz = 1] = counts;
  const sums = [new Float64Array(nx), new Float64Array(ny), new Float64Array(nz)] as const;
  for (let z = 0, i = 0; z < nz; z++)
    for (let y = 0; y < ny; y++)
      for (let x = 0; x < nx; x++, i++) {
        if (data[i] === 0 || data[i] === 255) continue;
        sums[0][x]! += 1;
        sums[1][y]! += 1;
        sums[2][z]! += 1;
      }
  return Math.max(...sums[0]) > 0 ? sums.map((one) => one.indexOf(Math.max(...one))) : null;
}
