// The service worker: keeps the page, so that it works without a network. Models are kept by `store.ts`.
// The build puts the list of files with their hashes, and the version, in front of this script.

interface Worker {
  readonly FILES: readonly (readonly [path: string, sha256: string, bytes: number])[];
  readonly VERSION: string;
  readonly registration: { readonly scope: string };
  readonly clients: {
    claim(): Promise<void>;
    matchAll(options: object): Promise<{ postMessage(message: unknown): void }[]>;
  };
  skipWaiting(): Promise<void>;
  addEventListener(type: string, listener: (event: never) => void): void;
}
interface Waiting {
  waitUntil(promise: Promise<unknown>): void;
}
interface Fetching {
  readonly request: Request;
  respondWith(answer: Promise<Response>): void;
}

const worker = self as unknown as Worker;
const CACHE = `catenary-page-${worker.VERSION}`;

worker.addEventListener("install", (event: Waiting) => event.waitUntil(keepAll()));
worker.addEventListener("activate", (event: Waiting) => event.waitUntil(takeOver()));
worker.addEventListener("message", (event: MessageEvent) => {
  if (event.data === "skip") void worker.skipWaiting();
});
worker.addEventListener("fetch", (event: Fetching) => {
  const { request } = event;
  const path = pathOf(request.url) || (request.mode === "navigate" ? "index.html" : "");
  if (request.method === "GET" && worker.FILES.some(([file]) => file === path)) event.respondWith(kept(path, request));
});

function pathOf(address: string): string {
  const { origin, pathname } = new URL(address);
  const scope = new URL(worker.registration.scope);
  return origin === scope.origin && pathname.startsWith(scope.pathname) ? pathname.slice(scope.pathname.length) : "/";
}

async function kept(path: string, request: Request): Promise<Response> {
  const cache = await caches.open(CACHE);
  return (await cache.match(new URL(path, worker.registration.scope).href)) ?? fetch(request);
}

/** Fetch every file, check its hash, keep it; those that an older version kept with the same hash are taken over. */
async function keepAll(): Promise<void> {
  const cache = await caches.open(CACHE);
  const total = worker.FILES.reduce((sum, [, , bytes]) => sum + bytes, 0);
  let done = 0;
  for (const [path, sha256, bytes] of worker.FILES) {
    const address = new URL(path, worker.registration.scope).href;
    const before = await caches.match(address);
    const found = before && (await hashOf(before.clone())) === sha256 ? before : await fetched(address, sha256);
    await cache.put(address, found);
    done += bytes;
    const all = await worker.clients.matchAll({ includeUncontrolled: true });
    for (const client of all) client.postMessage({ kept: done, total });
  }
}

async function fetched(address: string, sha256: string): Promise<Response> {
  const answer = await fetch(address, { cache: "no-cache" });
  if (!answer.ok) throw new Error(`${address}: ${answer.status}`);
  if ((await hashOf(answer.clone())) !== sha256) throw new Error(`${address} is not the file that was built`);
  return answer;
}

async function hashOf(answer: Response): Promise<string> {
  const hash = new Uint8Array(await crypto.subtle.digest("SHA-256", await answer.arrayBuffer()));
  return Array.from(hash, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

async function takeOver(): Promise<void> {
  for (const name of await caches.keys()) {
    if (name.startsWith("catenary-page-") && name !== CACHE) await caches.delete(name);
  }
  await worker.clients.claim();
}
