// A segmented volume in three planes. NiiVue is loaded when the first one is shown.

import type { NVImage, Niivue } from "@niivue/niivue";
import type { Api } from "../../common/api";
import type { Target, VolumeView } from "../../common/contract";
import { h } from "../../common/dom";
import { number, percent, unit } from "../../common/format";
import { hasWebGL2, NO_WEBGL2 } from "../../common/support";
import { cautions, check, classSwitch, group, segments, slider, swatch } from "../parts/controls";
import { measured } from "../parts/measured";
import { fullest, levelOf, limits, middleOf, rangeOf, sliceAt, widthOf, type Range } from "../window";
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
  const scene = new Scene(api, library, canvas, view);
  const failed = (problem: unknown) =>
    viewer.replaceWith(h("p", { class: "caution", role: "alert" }, `The volume cannot be shown (${String(problem)}); its files can be downloaded.`));
  return {
    element,
    start: () =>
      void scene
        .load(image, mask, (at) => readout.replaceChildren(...at))
        .then(() => controls.append(...scene.controls()))
        .catch(failed),
    destroy: () => scene.destroy(),
  };
}

type Slider = ReturnType<typeof slider>;

class Scene {
  readonly targets: Target[];
  readonly #nv: Niivue;
  readonly #hidden = new Set<number>();
  #image!: NVImage;
  #mask!: NVImage;
  #auto: Range = { low: 0, high: 1 };
  #slices: { set: (value: number) => void }[] = [];
  #windows: { level: Slider; width: Slider } | null = null;

  constructor(
    readonly api: Api,
    readonly library: typeof import("@niivue/niivue"),
    readonly canvas: HTMLCanvasElement,
    readonly view: VolumeView,
  ) {
    this.targets = view.targets;
    this.#nv = new library.Niivue({
      backColor: [0, 0, 0, 1],
      crosshairColor: [0.45, 0.73, 0.92, 0.8],
      crosshairWidth: 0.25,
      crosshairWidthUnit: "percent",
      crosshairGap: 8,
      fontColor: [0.8, 0.8, 0.8, 1],
      isCornerOrientationText: true,
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
    nv.setInterpolation(true); // between two classes lies no third one
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

  /** Starts in the slices that hold the most of what was found, not in the middle of nothing. */
  #lookAtLargest(): void {
    const place = fullest(this.#mask.img2RAS(), (this.#mask.dimsRAS ?? []).slice(1, 4));
    if (place) place.forEach((slice, axis) => (this.#nv.scene.crosshairPos[axis] = middleOf(slice, this.#counts[axis]!)));
  }

  #told(at: Location): Node[] {
    const [image, mask] = at.values;
    if (!image) return [];
    const value = Math.round(mask?.value ?? 0);
    const target = this.targets.find((one) => one.value === value);
    const mm = Array.from(at.mm).slice(0, 3);
    return [
      h("span", {}, `voxel ${image.vox.map((one) => Math.round(one)).join(", ")}`),
      h("span", {}, `${mm.map((one) => one.toFixed(1)).join(", ")} ${unit(this.view.unit ?? "mm")}`),
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

  get #all(): Range {
    return { low: this.#image.global_min ?? this.#auto.low, high: this.#image.global_max ?? this.#auto.high };
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
    this.#windows?.level.set(levelOf(this.#window));
    this.#windows?.width.set(widthOf(this.#window));
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
      this.#channels(),
      group("Overlay", opacity.element),
      group("Classes", ...classes.map((one) => one.element)),
      this.#sliceControls(),
      this.#windowControls(),
    ].filter((one): one is HTMLFieldSetElement => one !== null);
  }

  #windowControls(): HTMLFieldSetElement {
    const room = limits(this.#all);
    const text = (value: number) => number(value, 4);
    const level = slider({
      label: "Level", value: levelOf(this.#auto), min: room.level.low, max: room.level.high, step: room.step, text,
      changed: (value) => this.#setWindow(rangeOf(value, widthOf(this.#window))),
    }); // prettier-ignore
    const width = slider({
      label: "Width", value: widthOf(this.#auto), min: room.width.low, max: room.width.high, step: room.step, text,
      changed: (value) => this.#setWindow(rangeOf(levelOf(this.#window), value)),
    }); // prettier-ignore
    this.#windows = { level, width };
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
    return group("Slices", ...[...sliders].reverse().map((one) => one.element));
  }

  /** Volumes of several channels show one at a time. */
  #channels(): HTMLFieldSetElement | null {
    const channels = this.view.channels ?? [];
    if (channels.length < 2) return null;
    const choices = channels.map(({ url, name }) => [url, name] as const);
    const choice = segments("Channel", choices, this.view.image, (url) => void this.#show(url));
    return group("Channel", choice.element);
  }

  async #show(url: string): Promise<void> {
    const file = new File([await this.api.blob(url)], "image.nii.gz");
    const next = await this.library.NVImage.loadFromFile({ file, colormap: "gray" });
    const before = this.#image;
    this.#nv.addVolume(next);
    this.#nv.setVolume(next, 0);
    this.#nv.removeVolume(before);
    this.#image = next;
    this.#auto = this.#window;
    const room = limits(this.#all);
    for (const [one, range] of [[this.#windows?.level, room.level], [this.#windows?.width, room.width]] as const) {
      if (one) Object.assign(one.input, { min: range.low, max: range.high, step: room.step });
    } // prettier-ignore
    this.#tellWindow();
    this.#nv.createOnLocationChange();
  }
}
