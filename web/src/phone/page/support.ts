// Whether this browser can run the page, and the keeping of the page for when there is no network.

import type { Values } from "./words.ts";

/** A module that needs 128-bit vectors, which the networks do: (func (result v128) i32.const 0 i8x16.splat i8x16.popcnt). */
const VECTORS = [
  0, 97, 115, 109, 1, 0, 0, 0, 1, 5, 1, 96, 0, 1, 123, 3, 2, 1, 0, 10, 10, 1, 8, 0, 65, 0, 253, 15, 253, 98, 11,
]; // prettier-ignore

/** Why the page cannot work here, as a message; null where it can. */
export function unsupported(): { key: string; values: Values } | null {
  if (!window.isSecureContext) return { key: "unsupported.insecure", values: {} };
  const needed: [string, boolean][] = [
    ["WebAssembly", typeof WebAssembly === "object" && WebAssembly.validate(new Uint8Array(VECTORS))],
    ["OffscreenCanvas", "OffscreenCanvas" in window],
    ["Cache Storage", "caches" in window],
    ["IndexedDB", "indexedDB" in window],
    ["Web Crypto", !!window.crypto?.subtle],
  ];
  const missing = needed.find(([, there]) => !there);
  return missing ? { key: "unsupported.old", values: { what: missing[0] } } : null;
}

/**
 * Have the page kept by its service worker; resolves when it is, or when it cannot be.
 *
 * @param progress Bytes that are kept so far, the first time.
 * @param news A new version waits; call what is given to change to it.
 */
export async function keepPage(
  progress: (done: number, total: number) => void,
  news: (change: () => void) => void,
): Promise<boolean> {
  if (!("serviceWorker" in navigator)) return false;
  const { serviceWorker } = navigator;
  const first = !serviceWorker.controller;
  const listen = ({ data }: MessageEvent<{ kept?: number; total?: number }>) => {
    if (first && data.kept && data.total) progress(data.kept, data.total);
  };
  serviceWorker.addEventListener("message", listen);
  try {
    const registration = await serviceWorker.register("sw.js");
    if (first) await taken(registration);
    else watch(registration, news);
    return !!serviceWorker.controller;
  } catch {
    return false;
  }
}

/** Wait until a new worker controls the page, or has failed. */
function taken(registration: ServiceWorkerRegistration): Promise<void> {
  return new Promise((resolve) => {
    if (navigator.serviceWorker.controller) resolve();
    navigator.serviceWorker.addEventListener("controllerchange", () => resolve(), { once: true });
    const worker = registration.installing ?? registration.waiting ?? registration.active;
    worker?.addEventListener("statechange", () => worker.state === "redundant" && resolve());
  });
}

function watch(registration: ServiceWorkerRegistration, news: (change: () => void) => void): void {
  const tell = () => {
    const { waiting } = registration;
    if (!waiting) return;
    news(() => {
      navigator.serviceWorker.addEventListener("controllerchange", () => location.reload(), { once: true });
      waiting.postMessage("skip");
    });
  };
  tell();
  registration.addEventListener("updatefound", () => {
    const { installing } = registration;
    installing?.addEventListener("statechange", () => installing.state === "installed" && tell());
  });
  void registration.update().catch(() => undefined); // without a network there is no news
}
