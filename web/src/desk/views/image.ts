// A segmented image: overlay, class switches, thresholds that act at once, swipe, read-out.

import type { Api } from "../../common/api";
import type { ImageView, Target } from "../../common/contract";
import { h } from "../../common/dom";
import { percent } from "../../common/format";
import { above, colour, inside, outline, paint, tally, veil, type Look, type Region } from "../compose";
import { zoomCanvas } from "../parts/canvas";
import { cautions, classSwitch, group, segments, slider, swatch } from "../parts/controls";
import { measured } from "../parts/measured";
import { picture, plane, type Plane } from "../parts/raster";
import { swipe } from "../parts/swipe";
import type { Shown } from "./view";

type Compare = "no" | "plain" | "dates" | "before";

/** What is on the screen, and what the controls change. */
class Overlay {
  look: Look = "fill";
  opacity = 0.5;
  /** Target -> its threshold, where the reader moved it. */
  thresholds = new Map<string, number>();
  hidden = new Set<string>();
  /** The class whose probability or threshold is shown. */
  chosen: Target;
  mask: Uint8Array;
  readonly canvas: OffscreenCanvas;
  readonly #pixels: ImageData;

  constructor(
    readonly view: ImageView,
    readonly own: Plane,
    readonly planes: Map<string, Plane>,
  ) {
    this.mask = own.data;
    this.canvas = new OffscreenCanvas(own.width, own.height);
    this.#pixels = new ImageData(own.width, own.height);
    const foreground = view.targets.filter((one) => one.value !== 0 && planes.has(one.name));
    this.chosen = foreground[0] ?? view.targets.find((one) => one.value !== 0) ?? view.targets[0]!;
  }

  /** Decide anew which pixel belongs to what; without moved thresholds the model's own mask stands. */
  decide(): void {
    this.mask = this.view.task === "exclusive" ? this.#alone() : this.#regions();
    this.colour();
  }

  /** Of classes that exclude one another: all as the model has them, or one at its threshold. */
  #alone(): Uint8Array {
    const { chosen } = this;
    const p = this.planes.get(chosen.name);
    const t = this.thresholds.get(chosen.name);
    return p && t !== undefined ? above(p.data, t, chosen.value) : this.own.data;
  }

  /** Regions lie in one another: where one is hidden, what it lies in is seen. */
  #regions(): Uint8Array {
    const { own, hidden, thresholds, view } = this;
    const regions = this.#planes();
    if (!regions || (!thresholds.size && !hidden.size)) return own.data;
    const painted = paint(regions, (at) => !hidden.has(view.targets[at]!.name), own.data.length);
    // what the model has tidied away stays away until a threshold is moved
    if (!thresholds.size) for (let i = 0; i < painted.length; i++) if (own.data[i] === 0) painted[i] = 0;
    return painted;
  }

  /** Probability and threshold of every target; null where probabilities were not kept. */
  #planes(): Region[] | null {
    const found = this.view.targets.flatMap((target) => {
      const p = this.planes.get(target.name);
      return p ? [{ plane: p.data, threshold: this.threshold(target), value: target.value, within: target.within }] : [];
    });
    return found.length === this.view.targets.length ? found : null;
  }

  threshold(target: Target): number {
    return this.thresholds.get(target.name) ?? target.threshold ?? 0.5;
  }

  colour(): void {
    const { width, height } = this.own;
    const out = new Uint32Array(this.#pixels.data.buffer);
    const p = this.planes.get(this.chosen.name);
    if (this.look === "probability" && p) veil(p.data, this.chosen.color, out);
    else {
      const layers = this.view.targets.map((one) => ({
        value: one.value,
        color: one.color,
        shown: one.value !== 0 && !this.hidden.has(one.name),
      }));
      const radius = Math.max(1, Math.round(Math.max(width, height) / 700));
      colour(this.look === "outline" ? outline(this.mask, width, height, radius) : this.mask, layers, out);
    }
    this.canvas.getContext("2d")!.putImageData(this.#pixels, 0, 0);
  }

  /** Share of the known pixels that a target has: as measured, or by the thresholds that were moved. */
  share(target: Target, counts: Uint32Array): number {
    const { own, view, thresholds } = this;
    const measured = view.measurements.find((row) => row.class === target.name)?.share;
    if (!thresholds.size && typeof measured === "number") return measured;
    const known = own.data.length - counts[255]!;
    if (view.task === "exclusive") return counts[target.value]! / Math.max(1, known);
    const regions = this.#planes();
    const there = regions && inside(regions, view.targets.indexOf(target));
    const found = there ? own.data.reduce((sum, _, pixel) => sum + (there(pixel) ? 1 : 0), 0) : 0;
    return found / Math.max(1, known);
  }
}

export async function imageView(api: Api, view: ImageView): Promise<Shown> {
  const [photo, before, own, ...levels] = await Promise.all([
    picture(api, view.image),
    view.before ? picture(api, view.before) : null,
    plane(api, view.mask),
    ...view.probability.map((one) => plane(api, one.url)),
  ]);
  const planes = new Map(view.probability.map((one, i) => [one.target, levels[i]!]));
  const overlay = new Overlay(view, own, planes);
  overlay.decide();

  let compare: Compare = "no";
  const size = { width: own.width, height: own.height };
  const readout = h("div", { class: "readout" });
  const edge = {
    plain: swipe("Image", "Overlay", () => viewer.redraw()),
    dates: swipe("Before", "After", () => viewer.redraw()),
  };
  const viewer: ReturnType<typeof zoomCanvas> = zoomCanvas({
    label: "The image with its overlay",
    image: size,
    draw: (context, place, room, ratio) => {
      const fine = place.scale * ratio < 2;
      context.imageSmoothingEnabled = fine;
      context.imageSmoothingQuality = "high";
      const put = (source: CanvasImageSource) => context.drawImage(source, 0, 0, size.width, size.height);
      put(compare === "before" && before ? before : photo);
      const left = compare === "plain" || compare === "dates" ? edge[compare].share() : 0;
      const start = (left * room.width - place.x) / place.scale;
      if (compare === "dates" && before) {
        context.save();
        context.beginPath();
        context.rect(-1e6, -1e6, 1e6 + start, 2e6);
        context.clip();
        put(before);
        context.restore();
      }
      context.save();
      if (left) {
        context.beginPath();
        context.rect(start, -1e6, 2e6, 2e6);
        context.clip();
      }
      context.globalAlpha = overlay.opacity;
      put(overlay.canvas);
      context.restore();
    },
    pointed: (at) => readout.replaceChildren(...(at ? told(at) : [hint()])),
  });
  viewer.element.append(edge.plain.element, edge.dates.element);

  const hint = () => h("span", {}, `${view.width} × ${view.height} pixels. Point at the image to read it.`);
  function told(at: { x: number; y: number }): Node[] {
    const i = at.y * size.width + at.x;
    const value = overlay.mask[i]!;
    const target = view.targets.find((one) => one.value === value);
    const x = Math.floor(((at.x + 0.5) * view.width) / size.width);
    const y = Math.floor(((at.y + 0.5) * view.height) / size.height);
    const name = value === 255 ? "no data" : (target?.name ?? "background");
    const nodes: Node[] = [
      h("span", {}, `x ${x}, y ${y}`),
      h("b", {}, target && value ? swatch(target.color) : null, name),
    ];
    for (const [key, p] of planes) nodes.push(h("span", {}, `p(${key}) ${(p.data[i]! / 255).toFixed(2)}`));
    return nodes;
  }
  readout.append(hint());

  const controls = controlsOf(overlay, Boolean(before), {
    redraw: () => viewer.redraw(),
    compare: (value) => {
      compare = value;
      edge.plain.show(value === "plain");
      edge.dates.show(value === "dates");
      viewer.redraw();
    },
  });
  const element = h(
    "div",
    { class: "stack" },
    cautions(view.warnings),
    h("div", { class: "work" }, h("div", {}, viewer.element, readout), controls),
    measured(view.measurements, view.quantities),
  );
  return {
    element,
    destroy: () => {
      viewer.destroy();
      photo.close();
      before?.close();
    },
  };
}

interface Acts {
  redraw: () => void;
  compare: (value: Compare) => void;
}

function controlsOf(overlay: Overlay, dated: boolean, acts: Acts): HTMLElement {
  const { view, planes } = overlay;
  const shares = new Map<string, (text: string) => void>();
  const tell = () => {
    const counts = tally(overlay.mask);
    for (const target of view.targets) shares.get(target.name)?.(percent(overlay.share(target, counts)));
  };
  const decide = () => {
    overlay.decide();
    tell();
    acts.redraw();
  };
  const recolour = () => {
    overlay.colour();
    acts.redraw();
  };

  const looks: [Look, string][] = [["fill", "Fill"], ["outline", "Outline"]]; // prettier-ignore
  if (planes.size) looks.push(["probability", "Probability"]);
  const look = segments("Overlay", looks, overlay.look, (value) => {
    overlay.look = value;
    recolour();
  });
  const opacity = slider({
    label: "Opacity",
    value: overlay.opacity,
    text: (value) => percent(value, 0),
    changed: (value) => {
      overlay.opacity = value;
      acts.redraw();
    },
  });
  const compares: [Compare, string][] = dated
    ? [["no", "After"], ["before", "Before"], ["dates", "Swipe"]]
    : [["no", "Whole"], ["plain", "Swipe"]]; // prettier-ignore
  const compare = segments("Compare", compares, "no", acts.compare);

  const thresholds = new Thresholds(overlay, decide, () => look.set(overlay.look));
  const rows = view.targets
    .filter((one) => one.value !== 0)
    .map((target) => {
      const row = classSwitch(target.name, target.color, true, (on) => {
        if (on) overlay.hidden.delete(target.name);
        else overlay.hidden.add(target.name);
        decide();
      });
      shares.set(target.name, row.note);
      if (view.task === "regions" && planes.has(target.name)) row.element.append(thresholds.sliderOf(target));
      return row.element;
    });
  tell();
  const several = view.task === "regions" ? null : thresholds.chooser();
  return h(
    "div",
    { class: "controls" },
    group("Overlay", look.element, opacity.element),
    group("Classes, share of the image", ...rows),
    planes.size > 0 && group("Threshold", several, thresholds.note),
    group(dated ? "Dates" : "Compare", compare.element),
  );
}

/** Sliders of thresholds, and the way back to the model's own decision. */
class Thresholds {
  readonly note: HTMLElement;
  readonly #sliders: { set: () => void }[] = [];
  readonly #own = "This is the model's own decision. Move a threshold to see what changes.";

  constructor(
    readonly overlay: Overlay,
    readonly decide: () => void,
    readonly relook: () => void,
  ) {
    this.note = h("div", { class: "stack" }, h("p", { class: "note" }, this.#own));
  }

  #default(target: Target): number {
    return target.threshold ?? 0.5;
  }

  sliderOf(target: Target, label = "Threshold"): HTMLElement {
    const made = slider({
      label,
      value: this.overlay.thresholds.get(target.name) ?? this.#default(target),
      text: (value) => `p ≥ ${value.toFixed(2)}`,
      changed: (value) => this.#moved(target, value),
    });
    made.input.setAttribute("aria-label", `Threshold of ${target.name}`);
    this.#sliders.push({ set: () => made.set(this.#default(target)) });
    return made.element;
  }

  /** Of classes that exclude one another, one at a time has a threshold. */
  chooser(): HTMLElement {
    const { overlay } = this;
    const choices = overlay.view.targets.filter((one) => one.value !== 0 && overlay.planes.has(one.name));
    const place = h("div", {});
    const put = () => {
      this.#sliders.length = 0;
      place.replaceChildren(this.sliderOf(overlay.chosen, choices.length > 1 ? "Threshold" : overlay.chosen.name));
    };
    put();
    if (choices.length < 2) return place;
    const select = h(
      "select",
      {
        "aria-label": "Class of the threshold and of the probability",
        onchange: () => {
          overlay.chosen = choices[select.selectedIndex]!;
          this.reset();
          put();
        },
      },
      choices.map((one) => h("option", {}, one.name)),
    );
    return h("div", { class: "stack" }, select, place);
  }

  #moved(target: Target, value: number): void {
    const { overlay } = this;
    if (overlay.view.task === "exclusive") overlay.thresholds.clear();
    overlay.thresholds.set(target.name, value);
    if (overlay.look === "probability") {
      overlay.look = "fill";
      this.relook();
    }
    this.decide();
    const only = overlay.view.task === "exclusive" && overlay.view.targets.length > 2;
    this.note.replaceChildren(
      h("p", { class: "note" }, only ? `Shown: ${target.name} alone, at your threshold. ` : "Shown: your thresholds. ", "The table keeps the model's own."),
      h("button", { type: "button", onclick: () => this.reset() }, "Back to the model's own"),
    );
  }

  reset(): void {
    this.overlay.thresholds.clear();
    this.#sliders.forEach((one) => one.set());
    this.note.replaceChildren(h("p", { class: "note" }, this.#own));
    this.decide();
  }
}
