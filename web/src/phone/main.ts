// The page for the phone: take or choose a photo, have it screened, read the result, keep it.

import { make } from "./page/make.ts";
import { showAbout } from "./page/about.ts";
import { Camera, CameraError } from "./page/camera.ts";
import { everyResult, forget, forgetAll, keep, type Kept } from "./page/history.ts";
import { resultView, verdictOf } from "./page/result.ts";
import { keepPage, unsupported } from "./page/support.ts";
import { csvOf } from "./page/table.ts";
import {
  currentLanguage, date, LANGUAGES, number, reasonText, say, sentence, setLanguage, stageName, type Language, type Values,
} from "./page/words.ts"; // prettier-ignore
import type { Bundle } from "./model/bundle.ts";
import type { Quality } from "./measure/fundus.ts";
import type { Offer } from "./store.ts";
import type { Asked, Finding, Picture, Said } from "./talk.ts";

/** What is on the screen. */
type View =
  | { kind: "home" }
  | { kind: "camera" }
  | { kind: "busy" }
  | { kind: "result"; finding: Finding; picture: string | null };

/** The event of browsers that can install pages. */
interface InstallEvent extends Event {
  prompt(): Promise<unknown>;
}

const TOKEN = "catenary-token";
const app = document.getElementById("app")!;
const live = make("p", { class: "hidden", role: "status", "aria-live": "polite" });
document.body.append(live);

let worker: Worker | null = null;
let view: View = { kind: "home" };
let bundle: Bundle | null = null;
let offers: Offer[] = [];
let offline = false;
let install: InstallEvent | null = null;
let results: Kept[] = [];
/** What is being got ready: a message, and bytes where they are counted. */
let getting: { key: string; done: number; total: number } | null = { key: "ready.page", done: 0, total: 0 };
let trouble: { key: string; values: Values } | null = unsupported();
let newPage: (() => void) | null = null;
let stages = new Map<string, number>();
let addresses: string[] = [];

const canvasFor = (video: HTMLVideoElement) => new Camera(video);
let camera: Camera | null = null;

function ask(asked: Asked): void {
  worker?.postMessage(asked);
}

function announce(text: string): void {
  live.textContent = text;
}

/** The access code of a guarded server: from the end of the address, #token=..., or as it was typed. */
function token(): string {
  const given = new URLSearchParams(location.hash.slice(1)).get("token");
  if (given) {
    sessionStorage.setItem(TOKEN, given);
    window.history.replaceState(null, "", location.pathname);
  }
  return sessionStorage.getItem(TOKEN) ?? "";
}

/** Draw the page anew; what had the focus gets it again. */
function show(): void {
  const focused = document.activeElement?.id ?? "";
  document.documentElement.lang = currentLanguage();
  document.title = say("title");
  app.replaceChildren(header(), ...notices(), main(), history());
  if (focused) document.getElementById(focused)?.focus({ preventScroll: true });
}

function header(): HTMLElement {
  const options = Object.entries(LANGUAGES).map(([code, name]) =>
    make("option", { value: code, lang: code, selected: code === currentLanguage() }, name),
  );
  const select = make("select", { id: "language", "aria-label": say("language") }, ...options);
  select.addEventListener("change", () => {
    setLanguage(select.value as Language);
    show();
  });
  const about = make("button", { type: "button", id: "about", onclick: () => void openAbout() }, say("about.title"));
  return make("header", {}, make("h1", {}, say("title")), make("div", { class: "tools" }, select, about));
}

async function openAbout(): Promise<void> {
  const choose = (offer: Offer) => ask({ ask: "fetch", offer });
  const prompt = install ? () => void install?.prompt() : null;
  await showAbout({ bundle, offers, offline, install: prompt, choose });
}

function notices(): HTMLElement[] {
  const found: HTMLElement[] = [];
  const notice = (text: string, button: string, act: () => void) =>
    found.push(make("p", { class: "notice" }, text, make("button", { type: "button", onclick: act }, button)));
  if (newPage) notice(say("page.new"), say("page.update"), newPage);
  const offer = offers.find(({ name }) => name === bundle?.name);
  if (offer && bundle && offer.version !== bundle.version && !getting) {
    const text = say("models.new", { version: offer.version.slice(0, 12) });
    notice(text, say("models.update"), () => ask({ ask: "fetch", offer }));
  }
  return found;
}

function main(): HTMLElement {
  const parts = make("main", {});
  if (trouble) parts.append(troubleView(trouble));
  if (view.kind === "result") {
    const again = make("button", { type: "button", class: "main", id: "again", onclick: goHome }, say("again"));
    parts.append(resultView(view.finding, view.picture), again);
  } else if (view.kind === "busy") parts.append(busyView());
  else if (view.kind === "camera") parts.append(cameraView());
  else if (!trouble || !trouble.key.startsWith("unsupported")) parts.append(...homeView());
  return parts;
}

function troubleView({ key, values }: { key: string; values: Values }): HTMLElement {
  if (key === "models.token") return tokenView();
  const retry = !key.startsWith("unsupported") && !bundle;
  const button = make("button", { type: "button", onclick: start }, say("retry"));
  return make("div", { class: "trouble", role: "alert" }, make("p", {}, say(key, values)), retry && button);
}

function tokenView(): HTMLElement {
  const input = make("input", { type: "password", id: "token", autocomplete: "off" });
  const form = make(
    "form",
    { class: "trouble" },
    make("label", { for: "token" }, say("models.token")),
    make("div", { class: "choices" }, input, make("button", {}, say("models.token.use"))),
  );
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    sessionStorage.setItem(TOKEN, input.value.trim());
    void start();
  });
  return form;
}

function goHome(): void {
  addresses.forEach((address) => URL.revokeObjectURL(address));
  addresses = [];
  view = { kind: "home" };
  show();
  document.getElementById("choose")?.focus();
}

function homeView(): HTMLElement[] {
  const input = make("input", { type: "file", accept: "image/*", id: "file", class: "hidden", tabindex: -1 });
  input.addEventListener("change", () => {
    if (input.files?.[0]) void screenFile(input.files[0]);
    input.value = "";
  });
  const closed = !bundle;
  const take = make("button", { type: "button", class: "main", id: "camera", disabled: closed, onclick: () => void openCamera() }, say("camera.open"));
  const choose = make("button", { type: "button", class: "main second", id: "choose", disabled: closed, onclick: () => input.click() }, say("file.choose"));
  return [
    make("p", { class: "lede" }, say("lede")),
    make("p", { class: "care" }, make("strong", {}, `${sentence(say("care.title"))} `), say("care.text")),
    make("div", { class: "choices" }, take, choose, input),
    gettingView(),
  ];
}

function gettingView(): HTMLElement {
  if (trouble && !bundle) return make("div", {});
  if (!getting) return make("p", { class: "note", id: "ready" }, offline ? say("ready.done") : "");
  const { key, done, total } = getting;
  const size = total ? say("ready.of", { done: number(done / 1e6, 1), total: number(total / 1e6, 1) }) : "";
  return make(
    "div",
    { class: "getting" },
    make("label", { for: "getting" }, say(key), " ", make("span", { class: "note" }, size)),
    make("progress", total ? { id: "getting", max: total, value: done } : { id: "getting" }),
  );
}

function busyView(): HTMLElement {
  const names = ["reading", ...(bundle?.stages.map((stage) => stage.name) ?? [])];
  const rows = names.map((name) => {
    const share = stages.get(name);
    const state = share === undefined ? "waits" : share >= 1 ? "done" : "runs";
    const bar = make("progress", state === "runs" && !share ? {} : { max: 1, value: share ?? 0 });
    bar.setAttribute("aria-label", stageName(name));
    return make("li", { class: state }, make("span", {}, stageName(name)), make("span", { class: "note" }, say(`stage.${state}`)), bar);
  });
  const title = make("h2", { id: "busy", tabindex: -1 }, say("busy.title"));
  return make("section", {}, title, make("p", { class: "note" }, say("busy.left")), make("ol", { class: "stages" }, ...rows));
}

function cameraView(): HTMLElement {
  const video = make("video", { muted: true, playsinline: true, "aria-label": say("camera.view") });
  video.muted = true;
  const hint = make("p", { class: "hint", id: "hint", role: "status", "aria-live": "polite" }, say("camera.starting"));
  const take = make("button", { type: "button", class: "main", id: "take", disabled: true }, say("camera.take"));
  const close = make("button", { type: "button", id: "close" }, say("camera.close"));
  camera?.close();
  camera = canvasFor(video);
  const own = camera;
  take.addEventListener("click", () => {
    const pixels = own.take();
    closeCamera();
    const time = new Date().toISOString().slice(0, 19).replace("T", " ").replaceAll(":", ".");
    void screenPicture(say("camera.name", { time }), { pixels: pixels.data, height: pixels.height, width: pixels.width });
  });
  close.addEventListener("click", () => {
    closeCamera();
    goHome();
  });
  own
    .open((quality) => {
      take.disabled = false;
      tell(hint, quality);
    })
    .catch((error: unknown) => {
      closeCamera();
      trouble = { key: error instanceof CameraError ? error.message : "camera.busy", values: {} };
      goHome();
    });
  const frame = make("div", { class: "frame" }, video, make("div", { class: "guide", "aria-hidden": "true" }));
  return make("section", { class: "camera" }, frame, hint, make("div", { class: "choices" }, take, close));
}

/** The hint below the camera's picture; said again only when it changes. */
function tell(hint: HTMLElement, quality: Quality): void {
  const why = reasonText(quality.reasons.slice(0, 1).map((key) => ({ key, values: {} })));
  const key = { good: "camera.ready", usable: "camera.usable", reject: "camera.not" }[quality.verdict];
  const text = say(key, { why });
  if (hint.textContent !== text) hint.textContent = text;
  hint.dataset.verdict = quality.verdict;
}

function closeCamera(): void {
  camera?.close();
  camera = null;
}

async function openCamera(): Promise<void> {
  trouble = null;
  view = { kind: "camera" };
  show();
  document.getElementById("close")?.focus({ preventScroll: true });
}

async function screenFile(file: File): Promise<void> {
  await screenPicture(file.name, { bytes: await file.arrayBuffer() });
}

async function screenPicture(name: string, picture: Picture): Promise<void> {
  trouble = null;
  stages = new Map();
  view = { kind: "busy" };
  show();
  document.getElementById("busy")?.focus({ preventScroll: true });
  ask({ ask: "screen", name, picture });
}

async function found(finding: Finding, shown: Blob | null): Promise<void> {
  const picture = shown && URL.createObjectURL(shown);
  if (picture) addresses.push(picture);
  view = { kind: "result", finding, picture };
  try {
    results = [await keep(finding, shown), ...results];
  } catch {
    trouble = { key: "storage.full", values: {} };
  }
  show();
  const { title } = verdictOf(finding);
  announce(`${say("result.title")}: ${title}`);
  document.getElementById("verdict")?.focus();
  scrollTo(0, 0);
}

function history(): HTMLElement {
  if (view.kind === "camera" || view.kind === "busy" || trouble?.key.startsWith("unsupported")) return make("section", {});
  const rows = results.map((one) => {
    const { title, tone } = verdictOf(one.finding);
    const address = one.picture && URL.createObjectURL(one.picture);
    if (address) addresses.push(address);
    const { name } = one.finding;
    const open = () => {
      view = { kind: "result", finding: one.finding, picture: address };
      show();
      document.getElementById("verdict")?.focus();
      scrollTo(0, 0);
    };
    const remove = async () => {
      await forget(one.id);
      results = results.filter((other) => other !== one);
      show();
      announce(say("history.deleted"));
    };
    return make(
      "li",
      {},
      make(
        "button",
        { type: "button", class: "row", "aria-label": say("history.open", { name }), onclick: open },
        address ? make("img", { src: address, alt: "", width: 56, height: 56 }) : make("span", { class: "nothing" }),
        make("span", { class: "text" }, make("strong", { class: tone }, title), make("span", { class: "note" }, `${name}, ${date(one.when)}`)),
      ),
      make("button", { type: "button", class: "small", "aria-label": say("history.delete.one", { name }), onclick: () => void remove() }, say("history.delete")),
    );
  });
  const tools =
    results.length > 0 &&
    make(
      "div",
      { class: "choices" },
      make("button", { type: "button", id: "export", onclick: saveTable }, say("history.export")),
      make("button", { type: "button", id: "delete-all", onclick: () => void removeAll() }, say("history.delete.all")),
    );
  return make(
    "section",
    { class: "history", "aria-labelledby": "history" },
    make("h2", { id: "history" }, say("history.title")),
    make("p", { class: "note" }, say(results.length ? "history.note" : "history.empty")),
    make("ul", {}, ...rows),
    tools,
  );
}

async function removeAll(): Promise<void> {
  if (!confirm(say("history.delete.sure", { count: results.length }))) return;
  await forgetAll();
  results = [];
  show();
  announce(say("history.deleted"));
}

function saveTable(): void {
  const table = new Blob([csvOf(results.map((one) => one.finding).reverse())], { type: "text/csv" });
  const link = make("a", { href: URL.createObjectURL(table), download: "screening.csv" });
  link.click();
  URL.revokeObjectURL(link.href);
}

function heard(said: Said): void {
  if (said.say === "fetching") getting = { key: "ready.models", done: said.done, total: said.total };
  else if (said.say === "offers") offers = said.offers;
  else if (said.say === "open") {
    ({ bundle } = said);
    [getting, trouble] = [null, null];
  } else if (said.say === "stage") stages.set(said.stage, said.share);
  else if (said.say === "found") return void found(said.finding, said.shown);
  else failed(said.key, said.values, said.during);
  if (view.kind === "busy" || view.kind === "home") show();
}

function failed(key: string, values: Values, during: Asked["ask"]): void {
  getting = null;
  trouble = { key, values };
  if (during === "screen") view = { kind: "home" };
  announce(sentence(say(key, values)));
}

/** Get everything ready: the page kept, the worker begun, the models open. */
async function start(): Promise<void> {
  trouble = unsupported();
  show();
  if (trouble) return;
  results = await everyResult().catch(() => []);
  show();
  const progress = (done: number, total: number) => {
    getting = { key: "ready.page", done, total };
    if (view.kind === "home") show();
  };
  offline = await keepPage(progress, (change) => {
    newPage = change;
    if (view.kind === "home" || view.kind === "result") show();
  });
  getting = { key: "ready.opening", done: 0, total: 0 };
  show();
  void navigator.storage?.persist?.();
  worker?.terminate();
  worker = new Worker(new URL("./screening.worker.ts", import.meta.url), { type: "module" });
  worker.addEventListener("message", ({ data }: MessageEvent<Said>) => heard(data));
  worker.addEventListener("error", ({ message }) => {
    failed("failed", { why: message || "worker" }, "open");
    show();
  });
  ask({ ask: "open", base: new URL("./", location.href).href, token: token() });
}

addEventListener("beforeinstallprompt", (event) => {
  event.preventDefault();
  install = event as InstallEvent;
});
document.addEventListener("visibilitychange", () => {
  if (document.hidden && view.kind === "camera") {
    closeCamera();
    goHome();
  }
});
void start();
