// A segmented volume in three planes. NiiVue is loaded when the first one is shown.

import type { NVImage, Niivue } from "@niivue/niivue";
import type { Api } from "../../common/api";
import type { Target, VolumeView } from "../../common/contract";
import { h } from "../../common/dom";
import { number, percent } from "../../common/format";
import { hasWebGL2, NO_WEBGL2 } from "../../common/support";
import { cautions, check, classSwitch, group, segments, slider, swatch } from "../parts/controls";
import { measured } from "../parts/measured";
import { levelOf, limits, middleOf, rangeOf, sliceAt, widthOf, type Range } from "../window";
import type { Shown } from "./view";

const HELP =
  "Arrow keys move the cross left, right, up and down in the axial plane, page up and page down from slice to slice, plus and minus change the window's width.";
const AXES = ["Sagittal", "Coronal", "Axial"] as const;
const LAYOUTS = [
  ["planes", "Planes"],
  ["axial", "Axial"],
  ["coronal", "Coronal"],
  ["sagittal", "Sagittal"],
  ["render", "3D"],
] as const;

/** What NiiVue tells when the cross moves. */
interface Location {
  mm: ArrayLike<number>;
  values: { value: number; vox: number[] }[];
}

export async function volumeView(api: Api, view: VolumeView): Promise<Shown> {
  const table = measured(view.measurements, view.quantities);
  if (!hasWebGL2()) {
    const sentence = h("p", { class: "caution", role: "alert" }, NO_WEBGL2);
    return { element: h("div", { class: "stack" }, sentence, cautions(view.warnings), table), destroy: () => undefined };
  }
  const [library, image, mask] = await Promise.all([import("@niivue/niivue"), api.blob(view.image), api.blob(view.mask)]);
  const canvas = h("canvas", { tabindex: 0, role: "application", "aria-label": `The volume with its overlay. ${HELP}` });
  const viewer = h("div", { class: "viewer black" }, canvas);
  const readout = h("div", { class: "readout", "aria-live": "off" });
  const controls = h("div", { class: "controls" });
  const element = h(
    "div",
    { class: "stack" },
    cautions(view.warnings),
    h("div", { class: "work" }, h("div", {}, viewer, readout), controls),
    table,
  );
  const scene = new Scene(library, canvas, view.targets);
  const shown: Shown = { element, destroy: () => scene.destroy() };
  // the canvas needs its size before anything is drawn
  queueMicrotask(() => {
    scene
      .load(image, mask, (at) => readout.replaceChildren(...at))
      .then(() => controls.append(...scene.controls()))
      .catch((problem: unknown) =>
        viewer.replaceWith(h("p", { class: "caution", role: "alert" }, `The volume cannot be shown (${String(problem)}); its files can be downloaded.`)),
      );
  });
  return shown;
}

class Scene {
  readonly #nv: Niivue;
  readonly #hidden = new Set<number>();
  #image!: NVImage;
  #mask!: NVImage;
  #auto: Range = { low: 0, high: 1 };
  #slices: { set: (value: number) => void }[] = [];
  #windows: { level: (value: number) => void; width: (value: number) => void } | null = null;

  constructor(
    readonly library: typeof import("@niivue/niivue"),
    readonly canvas: HTMLCanvasElement,
    readonly targets: Target[],
  ) {
    this.#nv = new library.Niivue({
      backColor: [0, 0, 0, 1],
      crosshairColor: [0.45, 0.73, 0.92, 0.8],
      crosshairWidth: 1,
      show3Dcrosshair: true,
      dragMode: library.DRAG_MODE.windowing,
      dragAndDropEnabled: false,
      isResizeCanvas: true,
      isRadiologicalConvention: true,
      loadingText: "",
      logLevel: "error",
      multiplanarShowRender: library.SHOW_RENDER.NEVER,
      multiplanarPadPixels: 4,
      clipPlaneHotKey: "",
      viewModeHotKey: "",
    });
  }

  async load(image: Blob, mask: Blob, told: (nodes: Node[]) => void): Promise<void> {
    const nv = this.#nv;
    const { NVImage, SLICE_TYPE } = this.library;
    await nv.attachToCanvas(this.canvas);
    nv.onLocationChange = (location) => {
      told(this.#told(location as Location));
      this.#tellSlices();
    };
    // the window that a right drag chose
    nv.onIntensityChange = () => this.#tellWindow();
    this.#image = await NVImage.loadFromFile({ file: new File([image], "image.nii.gz"), colormap: "gray" });
    nv.addVolume(this.#image);
    this.#mask = await NVImage.loadFromFile({ file: new File([mask], "mask.nii.gz"), opacity: 0.5 });
    this.#label();
    nv.addVolume(this.#mask);
    nv.setInterpolation(true);
    nv.setSliceType(SLICE_TYPE.MULTIPLANAR);
    this.#auto = { low: this.#image.cal_min ?? 0, high: this.#image.cal_max ?? 1 };
    this.#listen();
    this.#lookAtLargest();
    nv.createOnLocationChange();
    nv.drawScene();
  }

  destroy(): void {
    this.#nv.cleanup();
    this.canvas.getContext("webgl2")?.getExtension("WEBGL_lose_context")?.loseContext();
  }

  /** Colours of the classes; hidden ones are clear. */
  #label(): void {
    const of = (part: (target: Target) => number) => [0, ...this.targets.map(part)];
    const rgb = (target: Target, shift: number) => (parseInt(target.color.slice(1), 16) >> shift) & 255;
    this.#mask.setColormapLabel({
      R: of((one) => rgb(one, 16)),
      G: of((one) => rgb(one, 8)),
      B: of((one) => rgb(one, 0)),
      A: of((one) => (one.value === 0 || this.#hidden.has(one.value) ? 0 : 255)),
      I: of((one) => one.value),
      labels: ["background", ...this.targets.map((one) => one.name)],
    });
  }

  get #counts(): number[] {
    return (this.#image.dimsRAS ?? [3, 1, 1, 1]).slice(1, 4);
  }

  /** Starts where the most of anything was found, not in the middle of nothing. */
  #lookAtLargest(): void {
    const data = this.#mask.img;
    const dims = this.#mask.dims;
    if (!data || !dims) return;
    const [, nx = 1, ny = 1, nz = 1] = dims;
    const sums = new Float64Array(4);
    for (let z = 0, i = 0; z < nz; z++)
      for (let y = 0; y < ny; y++)
        for (let x = 0; x < nx; x++, i++) {
          if (data[i] === 0 || data[i] === 255) continue;
          sums[0]! += x;
          sums[1]! += y;
          sums[2]! += z;
          sums[3]! += 1;
        }
    const [x, y, z, n] = sums as unknown as [number, number, number, number];
    if (!n) return;
    const mm = this.#mask.vox2mm([x / n, y / n, z / n], this.#mask.matRAS!);
    this.#nv.scene.crosshairPos = this.#nv.mm2frac(mm as [number, number, number]);
  }

  #told(at: Location): Node[] {
    const [image, mask] = at.values;
    if (!image) return [];
    const value = Math.round(mask?.value ?? 0);
    const target = this.targets.find((one) => one.value === value);
    const mm = Array.from(at.mm).slice(0, 3);
    return [
      h("span", {}, `voxel ${image.vox.map((one) => Math.round(one)).join(", ")}`),
      h("span", {}, `${mm.map((one) => one.toFixed(1)).join(", ")} mm`),
      h("span", {}, `intensity ${number(image.value, 4)}`),
      h("b", {}, target ? swatch(target.color) : null, value === 255 ? "no data" : (target?.name ?? "background")),
    ];
  }

  #tellSlices(): void {
    const place = this.#nv.scene.crosshairPos;
    const counts = this.#counts;
    this.#slices.forEach((one, axis) => one.set(sliceAt(place[axis]!, counts[axis]!)));
  }

  #go(axis: number, slice: number): void {
    const count = this.#counts[axis]!;
    this.#nv.scene.crosshairPos[axis] = middleOf(Math.min(count - 1, Math.max(0, slice)), count);
    this.#nv.createOnLocationChange();
    this.#nv.drawScene();
  }

  #step(axis: number, by: number): void {
    this.#go(axis, sliceAt(this.#nv.scene.crosshairPos[axis]!, this.#counts[axis]!) + by);
  }

  /** Our keys come first: NiiVue has its own, which differ from plane to plane. */
  #listen(): void {
    const right = () => (this.#nv.opts.isRadiologicalConvention ? -1 : 1);
    const keys: Record<string, () => void> = {
      ArrowLeft: () => this.#step(0, -right()),
      ArrowRight: () => this.#step(0, right()),
      ArrowUp: () => this.#step(1, 1),
      ArrowDown: () => this.#step(1, -1),
      PageUp: () => this.#step(2, 1),
      PageDown: () => this.#step(2, -1),
      "+": () => this.#widen(1 / 1.15),
      "-": () => this.#widen(1.15),
    };
    this.canvas.parentElement!.addEventListener(
      "keydown",
      (event) => {
        if (event.ctrlKey || event.metaKey || event.altKey || event.key === "Tab") return;
        event.stopPropagation();
        const act = keys[event.key];
        if (!act) return;
        event.preventDefault();
        act();
      },
      { capture: true },
    );
  }

  get #window(): Range {
    return { low: this.#image.cal_min ?? 0, high: this.#image.cal_max ?? 1 };
  }

  #setWindow(range: Range): void {
    this.#image.cal_min = range.low;
    this.#image.cal_max = range.high;
    this.#nv.updateGLVolume();
    this.#tellWindow();
  }

  #tellWindow(): void {
    this.#windows?.level(levelOf(this.#window));
    this.#windows?.width(widthOf(this.#window));
  }

  #widen(factor: number): void {
    const range = this.#window;
    this.#setWindow(rangeOf(levelOf(range), widthOf(range) * factor));
  }

  controls(): Node[] {
    const { SLICE_TYPE } = this.library;
    const types = {
      planes: SLICE_TYPE.MULTIPLANAR, axial: SLICE_TYPE.AXIAL, coronal: SLICE_TYPE.CORONAL, sagittal: SLICE_TYPE.SAGITTAL, render: SLICE_TYPE.RENDER,
    }; // prettier-ignore
    const layout = segments("Planes", LAYOUTS, "planes", (value) => this.#nv.setSliceType(types[value]));
    const convention = check("Patient's right on the left", true, (on) => this.#nv.setRadiologicalConvention(on));
    const opacity = slider({
      label: "Opacity",
      value: 0.5,
      text: (value) => percent(value, 0),
      changed: (value) => this.#nv.setOpacity(1, value),
    });
    const classes = this.targets
      .filter((one) => one.value !== 0)
      .map((target) =>
        classSwitch(target.name, target.color, true, (on) => {
          if (on) this.#hidden.delete(target.value);
          else this.#hidden.add(target.value);
          this.#label();
          this.#nv.updateGLVolume();
        }),
      );
    return [
      group("View", layout.element, convention),
      group("Overlay", opacity.element),
      group("Classes", ...classes.map((one) => one.element)),
      this.#windowControls(),
      this.#sliceControls(),
      this.#frames(),
    ].filter((one): one is HTMLFieldSetElement => one !== null);
  }

  #windowControls(): HTMLFieldSetElement {
    const all = { low: this.#image.global_min ?? this.#auto.low, high: this.#image.global_max ?? this.#auto.high };
    const room = limits(all);
    const text = (value: number) => number(value, 4);
    const level = slider({
      label: "Level", value: levelOf(this.#auto), min: room.level.low, max: room.level.high, step: room.step, text,
      changed: (value) => this.#setWindow(rangeOf(value, widthOf(this.#window))),
    }); // prettier-ignore
    const width = slider({
      label: "Width", value: widthOf(this.#auto), min: room.width.low, max: room.width.high, step: room.step, text,
      changed: (value) => this.#setWindow(rangeOf(levelOf(this.#window), value)),
    }); // prettier-ignore
    this.#windows = { level: level.set, width: width.set };
    const reset = h("button", { type: "button", onclick: () => this.#setWindow(this.#auto) }, "Own window");
    return group("Window", level.element, width.element, reset);
  }

  #sliceControls(): HTMLFieldSetElement {
    const counts = this.#counts;
    this.#slices = [];
    const sliders = AXES.map((name, axis) =>
      slider({
        label: name, value: 0, max: counts[axis]! - 1, step: 1,
        text: (value) => `${value + 1} of ${counts[axis]}`,
        changed: (value) => this.#go(axis, value),
      }),
    ); // prettier-ignore
    this.#slices = sliders;
    this.#tellSlices();
    return group("Slices", ...sliders.reverse().map((one) => one.element));
  }

  /** Volumes of several channels show one at a time. */
  #frames(): HTMLFieldSetElement | null {
    const count = this.#image.nFrame4D ?? 1;
    if (count < 2) return null;
    const choice = slider({
      label: "Channel", value: 0, max: count - 1, step: 1,
      text: (value) => `${value + 1} of ${count}`,
      changed: (value) => this.#nv.setFrame4D(this.#image.id, value),
    }); // prettier-ignore
    return group("Image", choice.element);
  }
}
