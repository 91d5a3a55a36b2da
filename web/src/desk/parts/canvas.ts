// A canvas that zooms and pans an image by wheel, drag, pinch, keys and buttons.

import { h } from "../../common/dom";
import { fit, moved, pixelAt, zoomAt, type Place, type Size } from "../zoom";
import { tool } from "./controls";

export interface ZoomCanvas {
  element: HTMLElement;
  canvas: HTMLCanvasElement;
  redraw(): void;
  destroy(): void;
}

export interface ZoomOptions {
  label: string;
  image: Size;
  /** Draw with the canvas transformed so that one unit is a pixel of the image. */
  draw: (context: CanvasRenderingContext2D, place: Place, room: Size, ratio: number) => void;
  /** The pixel under the cursor, or in the middle while keys move the image. */
  pointed: (at: { x: number; y: number } | null) => void;
}

const HELP = "Arrow keys move the image, plus and minus zoom, 0 shows all of it, 1 shows its own pixels.";

export function zoomCanvas(options: ZoomOptions): ZoomCanvas {
  const { image } = options;
  const canvas = h("canvas", { tabindex: 0, role: "application", "aria-label": `${options.label}. ${HELP}` });
  const context = canvas.getContext("2d")!;
  let room: Size = { width: 1, height: 1 };
  let place: Place | null = null;
  let whole = true;
  let frame = 0;

  function redraw(): void {
    if (!frame) frame = requestAnimationFrame(paint);
  }
  function paint(): void {
    frame = 0;
    if (!place) return;
    const ratio = canvas.width / room.width;
    context.setTransform(1, 0, 0, 1, 0, 0);
    context.clearRect(0, 0, canvas.width, canvas.height);
    context.setTransform(place.scale * ratio, 0, 0, place.scale * ratio, place.x * ratio, place.y * ratio);
    options.draw(context, place, room, ratio);
  }
  function go(next: Place, byKey = false): void {
    place = next;
    whole = false;
    redraw();
    if (byKey) options.pointed(pixelAt(place, room.width / 2, room.height / 2, image));
  }
  function zoom(factor: number, x = room.width / 2, y = room.height / 2, byKey = false): void {
    if (place) go(zoomAt(place, factor, x, y, image, room), byKey);
  }
  function showAll(): void {
    place = fit(image, room);
    whole = true;
    redraw();
  }
  function ownPixels(): void {
    if (place) zoom(1 / (place.scale * (window.devicePixelRatio || 1)));
  }

  const sized = new ResizeObserver(() => {
    const box = canvas.getBoundingClientRect();
    if (!box.width || !box.height) return;
    const ratio = Math.min(2, window.devicePixelRatio || 1);
    const before = room;
    room = { width: box.width, height: box.height };
    canvas.width = Math.round(box.width * ratio);
    canvas.height = Math.round(box.height * ratio);
    if (whole || !place) place = fit(image, room);
    else place = moved(place, (room.width - before.width) / 2, (room.height - before.height) / 2, image, room);
    redraw();
  });
  sized.observe(canvas);

  const pointers = new Map<number, { x: number; y: number }>();
  const local = (event: MouseEvent) => {
    const box = canvas.getBoundingClientRect();
    return { x: event.clientX - box.left, y: event.clientY - box.top };
  };
  canvas.addEventListener("pointerdown", (event) => {
    canvas.setPointerCapture(event.pointerId);
    pointers.set(event.pointerId, local(event));
  });
  canvas.addEventListener("pointermove", (event) => {
    const now = local(event);
    const last = pointers.get(event.pointerId);
    if (place && last) {
      const other = [...pointers].find(([id]) => id !== event.pointerId)?.[1];
      if (other) {
        const spread = Math.hypot(now.x - other.x, now.y - other.y) / Math.max(1, Math.hypot(last.x - other.x, last.y - other.y));
        zoom(spread, (now.x + other.x) / 2, (now.y + other.y) / 2);
        go(moved(place, (now.x - last.x) / 2, (now.y - last.y) / 2, image, room));
      } else go(moved(place, now.x - last.x, now.y - last.y, image, room));
      pointers.set(event.pointerId, now);
    }
    if (place) options.pointed(pixelAt(place, now.x, now.y, image));
  });
  const lift = (event: PointerEvent) => pointers.delete(event.pointerId);
  canvas.addEventListener("pointerup", lift);
  canvas.addEventListener("pointercancel", lift);
  canvas.addEventListener("pointerleave", () => options.pointed(null));
  canvas.addEventListener("dblclick", (event) => zoom(2, local(event).x, local(event).y));
  canvas.addEventListener(
    "wheel",
    (event) => {
      event.preventDefault();
      const lines = event.deltaMode === WheelEvent.DOM_DELTA_LINE ? 33 : 1;
      const at = local(event);
      zoom(Math.exp(-Math.max(-120, Math.min(120, event.deltaY * lines)) / 400), at.x, at.y);
    },
    { passive: false },
  );
  const keys: Record<string, () => void> = {
    ArrowLeft: () => place && go(moved(place, 40, 0, image, room), true),
    ArrowRight: () => place && go(moved(place, -40, 0, image, room), true),
    ArrowUp: () => place && go(moved(place, 0, 40, image, room), true),
    ArrowDown: () => place && go(moved(place, 0, -40, image, room), true),
    "+": () => zoom(1.25, undefined, undefined, true),
    "=": () => zoom(1.25, undefined, undefined, true),
    "-": () => zoom(0.8, undefined, undefined, true),
    "0": showAll,
    "1": ownPixels,
  };
  canvas.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const act = keys[event.key];
    if (!act) return;
    event.preventDefault();
    act();
  });

  const tools = h(
    "div",
    { class: "tools" },
    tool("Zoom in", "+", () => zoom(1.5)),
    tool("Zoom out", "−", () => zoom(1 / 1.5)),
    tool("Show the whole image", "Fit", showAll),
    tool("Show its own pixels", "1:1", ownPixels),
  );
  return {
    element: h("div", { class: "viewer" }, canvas, tools),
    canvas,
    redraw,
    destroy: () => {
      sized.disconnect();
      cancelAnimationFrame(frame);
    },
  };
}
