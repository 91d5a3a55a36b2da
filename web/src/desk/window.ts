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
