import { expect, it } from "vitest";
import { fit, moved, pixelAt, zoomAt } from "./zoom";

const image = { width: 200, height: 100 };
const room = { width: 400, height: 400 };

it("shows the whole image in the middle", () => {
  expect(fit(image, room)).toEqual({ scale: 2, x: 0, y: 100 });
});

it("keeps the point under the cursor while zooming", () => {
  const before = fit(image, room);
  const after = zoomAt(before, 1.7, 150, 220, image, room);
  expect((150 - after.x) / after.scale).toBeCloseTo((150 - before.x) / before.scale);
  expect((220 - after.y) / after.scale).toBeCloseTo((220 - before.y) / before.scale);
});

it("never loses the image", () => {
  const away = moved(fit(image, room), 1e6, -1e6, image, room);
  expect(pixelAt(away, room.width / 2, room.height / 2 - 1e-6, image)).not.toBeNull();
  expect(zoomAt(away, 1e9, 0, 0, image, room).scale).toBe(64);
});

it("tells the pixel under the cursor, and none beside the image", () => {
  expect(pixelAt(fit(image, room), 399, 101, image)).toEqual({ x: 199, y: 0 });
  expect(pixelAt(fit(image, room), 399, 99, image)).toBeNull();
});
