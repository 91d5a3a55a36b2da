// Pictures as arrays of the bytes they hold.

import type { Api } from "../../common/api";

export interface Plane {
  width: number;
  height: number;
  data: Uint8Array;
}

/** The picture, not adapted to any screen. */
export async function picture(api: Api, url: string): Promise<ImageBitmap> {
  const blob = await api.blob(url);
  return createImageBitmap(blob, { colorSpaceConversion: "none", premultiplyAlpha: "none" });
}

/** The grey levels of an 8-bit picture. */
export async function plane(api: Api, url: string): Promise<Plane> {
  const bitmap = await picture(api, url);
  const { width, height } = bitmap;
  const canvas = new OffscreenCanvas(width, height);
  const context = canvas.getContext("2d", { willReadFrequently: true })!;
  context.drawImage(bitmap, 0, 0);
  bitmap.close();
  const { data: pixels } = context.getImageData(0, 0, width, height);
  const data = new Uint8Array(width * height);
  for (let i = 0; i < data.length; i++) data[i] = pixels[4 * i]!;
  return { width, height, data };
}
