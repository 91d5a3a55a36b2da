// Outlines of a mask, along the borders of its pixels.

import type { Plane } from "./measure/arrays.ts";

/** Closed lines of alternating x and y in pixels; the inside lies to the right of each step. */
export type Outline = number[][];

/** The borders of what is at least `level` in a label map. Filled by the even-odd rule they give the mask again. */
export function outlinesOf(mask: Plane<Uint8Array>, level: number): Outline {
  const { data, height, width } = mask;
  const inside = (row: number, column: number) =>
    row >= 0 && column >= 0 && row < height && column < width && data[row * width + column] >= level;
  // From each corner at most two border steps begin; kept by corner, so that each can be followed once.
  const steps = new Map<number, number[]>();
  const add = (x: number, y: number, toX: number, toY: number) => {
    const from = y * (width + 1) + x;
    const to = toY * (width + 1) + toX;
    const there = steps.get(from);
    if (there) there.push(to);
    else steps.set(from, [to]);
  };
  for (let row = 0; row < height; row++) {
    for (let column = 0; column < width; column++) {
      if (!inside(row, column)) continue;
      if (!inside(row - 1, column)) add(column, row, column + 1, row);
      if (!inside(row, column + 1)) add(column + 1, row, column + 1, row + 1);
      if (!inside(row + 1, column)) add(column + 1, row + 1, column, row + 1);
      if (!inside(row, column - 1)) add(column, row + 1, column, row);
    }
  }
  const lines: Outline = [];
  for (const start of steps.keys()) {
    while (steps.get(start)?.length) lines.push(followed(steps, start, width + 1));
  }
  return lines;
}

function followed(steps: Map<number, number[]>, start: number, across: number): number[] {
  const line: number[] = [];
  let [from, way] = [start, 0];
  do {
    const next = steps.get(from)!;
    const to = next.pop()!;
    if (to - from !== way) line.push(from % across, Math.floor(from / across));
    way = to - from;
    from = to;
  } while (from !== start);
  return line;
}

/** An outline as the path of an SVG picture. */
export function pathOf(outline: Outline): string {
  return outline.map((line) => `M${line.map((value, k) => (k ? (k % 2 ? "," : " L") + value : value)).join("")}Z`).join("");
}
