// A damage map: both dates, damage, confidence, buildings. MapLibre is loaded when the first one is shown; no tile,
// glyph or sprite comes from outside.

import type { Map as MapLibre, Popup, RequestParameters, StyleSpecification } from "maplibre-gl";
import type { Api } from "../../common/api";
import type { LegendEntry, MapLayer, MapView } from "../../common/contract";
import { fill, h } from "../../common/dom";
import { count, percent } from "../../common/format";
import { hasWebGL2, NO_WEBGL2 } from "../../common/support";
import { buildingCounts, buildingRows, colourExpression, gradesOf } from "../mapdata";
import { cautions, check, group, segments, slider, swatch } from "../parts/controls";
import { swipe } from "../parts/swipe";
import type { Shown } from "./view";

type Library = typeof import("maplibre-gl");
type Photo = "pre" | "post" | "swipe";
const OVERLAYS = ["damage", "confidence"] as const;
const FIT = { padding: 24, duration: 0 };

export async function mapView(api: Api, view: MapView): Promise<Shown> {
  const summary = summaryOf(view);
  if (!hasWebGL2()) {
    const sentence = h("p", { class: "caution", role: "alert" }, NO_WEBGL2);
    return { element: h("div", { class: "stack" }, sentence, cautions(view.warnings), summary), destroy: () => undefined };
  }
  const [library, worker, , buildings] = await Promise.all([
    import("maplibre-gl"),
    import("maplibre-gl/dist/maplibre-gl-worker.mjs?worker&url"),
    import("maplibre-gl/dist/maplibre-gl.css"),
    view.buildings ? api.json<GeoJSON.FeatureCollection>(view.buildings) : null,
  ]);
  library.setWorkerUrl(new URL(worker.default, location.href).href);

  const scene = new Scene(api, library, view, buildings);
  const element = h(
    "div",
    { class: "stack" },
    cautions(view.warnings),
    h("div", { class: "work" }, h("div", {}, scene.viewer, scene.readout), scene.controls()),
    summary,
  );
  return { element, start: () => scene.start(), destroy: () => scene.destroy() };
}

class Scene {
  readonly readout = h("div", { class: "readout" }, h("span", {}, "Click a building to read it."));
  readonly viewer: HTMLElement;
  readonly #maps = h("div", { class: "maps" });
  readonly #edge: ReturnType<typeof swipe>;
  readonly #shown = new Set<string>(["damage", "buildings"]);
  #photo: Photo;
  #opacity = 0.6;
  /** The map with all layers, and the one below it with the earlier photo only, for the swipe. */
  #main: MapLibre | null = null;
  #left: MapLibre | null = null;
  #popup: Popup | null = null;

  constructor(
    readonly api: Api,
    readonly library: Library,
    readonly view: MapView,
    readonly buildings: GeoJSON.FeatureCollection | null,
  ) {
    this.#photo = this.#layer("post") ? "post" : "pre";
    this.#edge = swipe("Before", "After", () => this.#clip());
    this.viewer = h("div", { class: "viewer" }, this.#maps, this.#edge.element);
  }

  #layer(id: MapLayer["id"]): MapLayer | undefined {
    return this.view.layers.find((one) => one.id === id);
  }

  #style(layers: MapLayer[]): StyleSpecification {
    return {
      version: 8,
      sources: Object.fromEntries(
        layers.map((one) => [
          one.id,
          {
            type: "raster",
            tiles: [decodeURI(this.api.url(one.tiles))],
            tileSize: 256,
            bounds: this.view.bounds,
            minzoom: this.view.minzoom,
            maxzoom: this.view.maxzoom,
          },
        ]),
      ),
      layers: layers.map((one) => ({
        id: one.id,
        type: "raster",
        source: one.id,
        paint: { "raster-fade-duration": 0, "raster-resampling": "nearest" },
      })),
    };
  }

  #map(container: HTMLElement, layers: MapLayer[], name: string): MapLibre {
    const map = new this.library.Map({
      container,
      style: this.#style(layers),
      bounds: this.view.bounds,
      fitBoundsOptions: FIT,
      minZoom: Math.max(0, this.view.minzoom - 2),
      maxZoom: this.view.maxzoom + 4,
      attributionControl: false,
      dragRotate: false,
      pitchWithRotate: false,
      touchPitch: false,
      maplibreLogo: false,
      fadeDuration: 0,
      locale: { "Map.Title": name },
      transformRequest: (url): RequestParameters => ({ url, headers: this.api.headers() }),
    });
    map.touchZoomRotate.disableRotation();
    map.keyboard.disableRotation();
    return map;
  }

  start(): void {
    const { library, view } = this;
    const holder = h("div", {});
    this.#maps.append(holder);
    const order = ["pre", "post", ...OVERLAYS] as const;
    const layers = order.flatMap((id) => this.#layer(id) ?? []);
    const map = this.#map(holder, layers, "The map with its layers");
    this.#main = map;
    map.addControl(new library.NavigationControl({ showCompass: false }), "top-right");
    map.addControl(new library.ScaleControl({}), "bottom-left");
    map.on("load", () => {
      this.#addBuildings(map);
      this.#apply();
    });
    map.on("mousemove", ({ lngLat }) =>
      fill(this.readout, h("span", {}, `${lngLat.lat.toFixed(5)}, ${lngLat.lng.toFixed(5)}`), h("span", {}, "Click a building to read it.")),
    );
    map.on("move", () => this.#follow());
    new ResizeObserver((_, observer) => (map.getContainer().isConnected ? map.resize() : observer.disconnect())).observe(holder);
    map.getCanvas().setAttribute("aria-label", `The map with its layers. Arrow keys move it, plus and minus zoom.`);
    map.fitBounds(view.bounds, FIT);
  }

  destroy(): void {
    this.#main?.remove();
    this.#left?.remove();
  }

  #addBuildings(map: MapLibre): void {
    if (!this.buildings) return;
    const colour = colourExpression(this.view.targets ?? legendTargets(this.view));
    map.addSource("buildings", { type: "geojson", data: this.buildings });
    map.addLayer({ id: "buildings", type: "fill", source: "buildings", paint: { "fill-color": colour, "fill-opacity": 0.35 } });
    map.addLayer({ id: "outlines", type: "line", source: "buildings", paint: { "line-color": colour, "line-width": 2 } });
    map.on("click", "buildings", (event) => {
      const feature = event.features?.[0];
      if (feature && !this.#isCovered(event.point.x)) this.#tell(event.lngLat, feature.properties);
    });
    map.on("mouseenter", "buildings", () => (map.getCanvas().style.cursor = "pointer"));
    map.on("mouseleave", "buildings", () => (map.getCanvas().style.cursor = ""));
  }

  #tell(at: { lng: number; lat: number }, properties: Record<string, unknown>): void {
    const rows = buildingRows(properties);
    const content = h("div", {}, h("dl", { class: "facts" }, ...rows.flatMap(([name, text]) => [h("dt", {}, name), h("dd", {}, text)])));
    this.#popup?.remove();
    this.#popup = new this.library.Popup({ maxWidth: "20rem" }).setLngLat(at).setDOMContent(content).addTo(this.#main!);
  }

  /** Show what is switched on. */
  #apply(): void {
    const map = this.#main;
    if (!map?.isStyleLoaded() && !map?.getLayer("damage") && !map?.getLayer("post")) return;
    const visible = (id: string, on: boolean) => map.getLayer(id) && map.setLayoutProperty(id, "visibility", on ? "visible" : "none");
    visible("pre", this.#photo === "pre");
    visible("post", this.#photo !== "pre");
    for (const id of OVERLAYS) {
      visible(id, this.#shown.has(id));
      if (map.getLayer(id)) map.setPaintProperty(id, "raster-opacity", this.#opacity);
    }
    for (const id of ["buildings", "outlines"]) visible(id, this.#shown.has("buildings"));
    const swiping = this.#photo === "swipe";
    this.#edge.show(swiping);
    if (swiping && !this.#left) {
      const holder = h("div", { "aria-hidden": "true" });
      this.#maps.prepend(holder); // below the other, whose popups reach over the edge
      const pre = this.#layer("pre");
      this.#left = this.#map(holder, pre ? [pre] : [], "The earlier photo");
      this.#left.getCanvas().tabIndex = -1;
      holder.style.pointerEvents = "none";
      this.#follow();
    }
    if (this.#left) this.#left.getContainer().hidden = !swiping;
    this.#clip();
  }

  #follow(): void {
    const map = this.#main;
    if (this.#photo === "swipe" && map) this.#left?.jumpTo({ center: map.getCenter(), zoom: map.getZoom() });
  }

  /** Left of the edge only the earlier photo is seen, right of it never: not even where the later one has no data. */
  #clip(): void {
    const canvas = this.#main?.getCanvas();
    const share = 100 * this.#edge.share();
    if (canvas) canvas.style.clipPath = this.#photo === "swipe" ? `inset(0 0 0 ${share}%)` : "";
    if (this.#left) this.#left.getCanvas().style.clipPath = `inset(0 ${100 - share}% 0 0)`;
  }

  #isCovered(x: number): boolean {
    return this.#photo === "swipe" && x < this.#edge.share() * this.viewer.clientWidth;
  }

  controls(): HTMLElement {
    const photos: [Photo, string][] = [];
    if (this.#layer("post")) photos.push(["post", "After"]);
    if (this.#layer("pre")) photos.push(["pre", "Before"]);
    if (photos.length === 2) photos.push(["swipe", "Swipe"]);
    const photo = segments("Photo", photos, this.#photo, (value) => {
      this.#photo = value;
      this.#apply();
      this.#follow();
    });
    const layer = (id: string, name: string) =>
      check(name, this.#shown.has(id), (on) => {
        if (on) this.#shown.add(id);
        else this.#shown.delete(id);
        this.#apply();
      });
    const overlays = OVERLAYS.flatMap((id) => this.#layer(id) ?? []).map((one) => layer(one.id, one.name));
    if (this.buildings) overlays.push(layer("buildings", `Buildings, ${count(this.buildings.features.length)}`));
    const opacity = slider({
      label: "Opacity",
      value: this.#opacity,
      text: (value) => percent(value, 0),
      changed: (value) => {
        this.#opacity = value;
        this.#apply();
      },
    });
    const whole = h("button", { type: "button", onclick: () => this.#main?.fitBounds(this.view.bounds, FIT) }, "Show all of it");
    return h(
      "div",
      { class: "controls" },
      group("Photo", photos.length > 1 && photo.element, whole),
      group("Layers", ...overlays, opacity.element),
      ...this.#legends(),
    );
  }

  /** Colours of the layers; grades with the number of their buildings. */
  #legends(): Node[] {
    const grades = gradesOf(this.view.summary);
    return this.view.layers
      .filter((one): one is MapLayer & { legend: LegendEntry[] } => Boolean(one.legend?.length))
      .map((one) => {
        const rows = one.legend.map((entry) => {
          const number = one.id === "damage" ? grades[entry.name] : undefined;
          const note = number === undefined ? null : h("span", { class: "note" }, number === 1 ? "1 building" : `${count(number)} buildings`);
          return h("div", { class: "choice" }, swatch(entry.color), h("span", {}, entry.name), note);
        });
        return group(one.name, ...rows);
      });
  }
}

function legendTargets(view: MapView): { name: string; color: string }[] {
  return view.layers.find((one) => one.id === "damage")?.legend ?? [];
}

/** Buildings of the whole map by grade. */
function summaryOf(view: MapView): HTMLElement | null {
  const rows = buildingCounts(view.summary);
  if (!rows.length) return null;
  const total = rows.find(([name]) => name === "All")?.[1] ?? 0;
  return h(
    "section",
    { class: "results" },
    h("h2", {}, "Buildings"),
    h(
      "table",
      { class: "own" },
      h("thead", {}, h("tr", {}, ["", "Number", "Share"].map((one) => h("th", { scope: "col" }, one)))),
      h(
        "tbody",
        {},
        rows.map(([name, number]) =>
          h("tr", {}, h("th", { scope: "row" }, name), h("td", {}, count(number)), h("td", {}, total ? percent(number / total) : "–")),
        ),
      ),
    ),
  );
}
