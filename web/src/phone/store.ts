// The models on the phone: fetched once, their hashes checked, kept for when there is no network.

import { FORMAT, modelsOf, type Bundle, type Model } from "./model/bundle.ts";

const CACHE = "catenary-models";

/** A bundle that a server offers. */
export interface Offer {
  readonly name: string;
  readonly url: string;
  readonly version: string;
}

/** Why there are no models; a key of messages. */
export class StoreError extends Error {
  constructor(
    readonly key: string,
    readonly values: Readonly<Record<string, string | number>> = {},
  ) {
    super(key);
  }
}

/** Told of bytes that have come. */
type Progress = (done: number, total: number) => void;

export class Store {
  /**
   * @param base Address of the page's folder.
   * @param token What a guarded server asks for; empty for none.
   */
  constructor(
    private readonly base: string,
    private readonly token: string,
  ) {}

  private at(path: string): string {
    return new URL(path, this.base).href;
  }

  /** What the server offers. */
  async offers(): Promise<Offer[]> {
    return (await this.get(this.at("models.json"))).json() as Promise<Offer[]>;
  }

  /** The bundle that was kept last, with all its models; null without one. */
  async kept(): Promise<Bundle | null> {
    const cache = await caches.open(CACHE);
    const found = await cache.match(this.at("models/kept.json"));
    if (!found) return null;
    const bundle = (await found.json()) as Bundle;
    for (const model of modelsOf(bundle)) if (!(await cache.match(this.place(model)))) return null;
    return bundle;
  }

  /** Bytes of a kept model, whose hash is checked again: storage can be damaged. */
  async bytes(model: Model): Promise<ArrayBuffer> {
    const found = await (await caches.open(CACHE)).match(this.place(model));
    const bytes = await found?.arrayBuffer();
    if (!bytes || (await hashOf(bytes)) !== model.sha256) {
      await caches.delete(CACHE);
      throw new StoreError("models.damaged", { file: model.file });
    }
    return bytes;
  }

  /** Fetch a bundle and its models, check every hash, then keep them in place of what was kept. */
  async fetch(offer: Offer, progress: Progress): Promise<Bundle> {
    const address = this.at(offer.url);
    const bundle = (await (await this.get(address)).json()) as Bundle;
    if (bundle.format !== FORMAT) throw new StoreError("models.format", { format: bundle.format });
    const cache = await caches.open(CACHE);
    const total = modelsOf(bundle).reduce((sum, model) => sum + model.bytes, 0);
    let before = 0;
    for (const model of modelsOf(bundle)) {
      if (!(await cache.match(this.place(model)))) {
        const bytes = await read(await this.get(new URL(model.file, address).href), (done) => progress(before + done, total));
        if ((await hashOf(bytes)) !== model.sha256) throw new StoreError("models.hash", { file: model.file });
        await keep(cache, this.place(model), bytes);
      }
      before += model.bytes;
      progress(before, total);
    }
    await keep(cache, this.at("models/kept.json"), JSON.stringify(bundle));
    const needed = new Set([...modelsOf(bundle).map((model) => this.place(model)), this.at("models/kept.json")]);
    for (const { url } of await cache.keys()) if (!needed.has(url)) await cache.delete(url);
    return bundle;
  }

  private async get(address: string): Promise<Response> {
    let answer: Response;
    try {
      const headers: HeadersInit = this.token ? { Authorization: `Bearer ${this.token}` } : {};
      answer = await fetch(address, { cache: "no-cache", headers });
    } catch {
      throw new StoreError("models.unreachable");
    }
    if (answer.status === 401 || answer.status === 403) throw new StoreError("models.token");
    if (!answer.ok) throw new StoreError("models.missing", { status: answer.status });
    return answer;
  }

  /** Where a model is kept: by its content, so that stages of two bundles can share it. */
  private place(model: Model): string {
    return this.at(`models/kept/${model.sha256}`);
  }
}

async function keep(cache: Cache, address: string, body: ArrayBuffer | string): Promise<void> {
  try {
    await cache.put(address, new Response(body));
  } catch (error) {
    throw error instanceof DOMException && error.name === "QuotaExceededError" ? new StoreError("storage.full") : error;
  }
}

async function read(answer: Response, progress: (done: number) => void): Promise<ArrayBuffer> {
  const parts: Uint8Array<ArrayBuffer>[] = [];
  let done = 0;
  const reader = answer.body!.getReader();
  try {
    for (let next = await reader.read(); !next.done; next = await reader.read()) {
      parts.push(next.value);
      done += next.value.length;
      progress(done);
    }
  } catch {
    throw new StoreError("models.unreachable");
  }
  return new Blob(parts).arrayBuffer();
}

async function hashOf(bytes: ArrayBuffer): Promise<string> {
  const hash = new Uint8Array(await crypto.subtle.digest("SHA-256", bytes));
  return Array.from(hash, (byte) => byte.toString(16).padStart(2, "0")).join("");
}
