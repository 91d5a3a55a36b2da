// Where an image lies in its viewer: screen = image * scale + (x, y). Pure.

export interface Place {
  scale: number;
  x: number;
  y: number;
}

export interface Size {
  width: number;
  height: number;
}

const MOST = 64;

/** The whole image, in the middle. */
export function fit(image: Size, room: Size): Place {
  const scale = Math.min(room.width / image.width, room.height / image.height);
  return { scale, x: (room.width - image.width * scale) / 2, y: (room.height - image.height * scale) / 2 };
}

/** Zoomed by a factor, with the point (x, y) of the screen where it was. */
export function zoomAt(place: Place, factor: number, x: number, y: number, image: Size, room: Size): Place {
  const least = Math.min(fit(image, room).scale, 1) * 0.5;
  const scale = Math.min(MOST, Math.max(least, place.scale * factor));
  const by = scale / place.scale;
  return keep({ scale, x: x - (x - place.x) * by, y: y - (y - place.y) * by }, image, room);
}

export function moved(place: Place, dx: number, dy: number, image: Size, room: Size): Place {
  return keep({ ...place, x: place.x + dx, y: place.y + dy }, image, room);
}

/** The image cannot be lost: the middle of the viewer stays on it. */
export function keep(place: Place, image: Size, room: Size): Place {
  const clamp = (value: number, size: number, side: number) =>
    Math.min(side / 2, Math.max(side / 2 - size * place.scale, value));
  return { ...place, x: clamp(place.x, image.width, room.width), y: clamp(place.y, image.height, room.height) };
}

/** The pixel under a point of the screen; null beside the image. */
export function pixelAt(place: Place, x: number, y: number, image: Size): { x: number; y: number } | null {
  const at = { x: Math.floor((x - place.x) / place.scale), y: Math.floor((y - place.y) / place.scale) };
  return at.x >= 0 && at.y >= 0 && at.x < image.width && at.y < image.height ? at : null;
}
