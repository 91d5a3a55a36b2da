// What the page knows: models, and the cases that were sent or are being sent.

import { hasEnded, type Api, type Case } from "../common/api";
import type { Job, ModelInfo } from "../common/contract";

/** A case of the list: on its way, refused, or a job of the server. */
export interface Entry {
  key: string;
  name: string;
  model: string;
  job: Job | null;
  /** Part of the upload that has left, while it runs. */
  sent: number | null;
  error: string | null;
  stop: AbortController;
}

const PAGE = 20;

export class Store extends EventTarget {
  models: ModelInfo[] = [];
  entries: Entry[] = [];
  /** Jobs that the server has, and that the list does not show yet. */
  earlier = 0;
  #counted = 0;
  #queue: Promise<void> = Promise.resolve();

  constructor(readonly api: Api) {
    super();
  }

  #changed(entry?: Entry): void {
    this.dispatchEvent(new CustomEvent("change", { detail: entry }));
  }

  async load(): Promise<void> {
    this.models = await this.api.models();
    await this.more();
  }

  /** The next page of earlier jobs. */
  async more(): Promise<void> {
    const known = new Set(this.entries.map((one) => one.key));
    const { jobs, total } = await this.api.jobs(PAGE, this.entries.filter((one) => one.job).length);
    for (const job of jobs) if (!known.has(job.id)) this.#follow(this.#add(job.id, job.name, job.model, job, false));
    this.earlier = Math.max(0, total - this.entries.filter((one) => one.job).length);
    this.#changed();
  }

  #add(key: string, name: string, model: string, job: Job | null, first = true): Entry {
    const entry: Entry = { key, name, model, job, sent: null, error: job?.error?.message ?? null, stop: new AbortController() };
    this.entries = first ? [entry, ...this.entries] : [...this.entries, entry];
    return entry;
  }

  /** Tells of a job until it has ended. */
  #follow(entry: Entry): void {
    if (!entry.job || hasEnded(entry.job)) return;
    void this.api.watch(
      entry.job.id,
      (job) => {
        entry.job = job;
        entry.error = job.error?.message ?? null;
        this.#changed(entry);
      },
      entry.stop.signal,
    );
  }

  /** Puts a case into the list at once, and sends it after those before it. */
  send(one: Case, name: string): Entry {
    this.#counted += 1;
    const entry = this.#add(`sent-${this.#counted}`, name, one.model, null);
    entry.sent = 0;
    this.#changed(entry);
    this.#queue = this.#queue.then(() => this.#send(entry, one));
    return entry;
  }

  async #send(entry: Entry, one: Case): Promise<void> {
    if (entry.stop.signal.aborted) return;
    try {
      const told = (share: number) => {
        entry.sent = share;
        this.#changed(entry);
      };
      entry.job = await this.api.submit(one, told, entry.stop.signal);
      entry.key = entry.job.id;
      entry.name = entry.job.name || entry.name;
      entry.error = entry.job.error?.message ?? null;
    } catch (problem) {
      entry.error = problem instanceof Error ? problem.message : String(problem);
    }
    entry.sent = null;
    this.#changed(entry);
    this.#follow(entry);
  }

  async cancel(entry: Entry): Promise<void> {
    if (entry.job) await this.api.cancel(entry.job.id);
    else {
      entry.stop.abort();
      entry.sent = null;
      entry.error = "The upload was cancelled.";
      this.#changed(entry);
    }
  }

  /** Takes a case from the list, and from the server. */
  async remove(entry: Entry): Promise<void> {
    entry.stop.abort();
    if (entry.job) await this.api.remove(entry.job.id);
    this.entries = this.entries.filter((one) => one !== entry);
    this.#changed(entry);
  }

  find(key: string): Entry | undefined {
    return this.entries.find((one) => one.key === key);
  }

  /** A job that a link names, though the list does not show it yet. */
  async fetch(key: string): Promise<Entry> {
    const job = await this.api.job(key);
    const entry = this.find(key) ?? this.#add(job.id, job.name, job.model, job, false);
    this.#follow(entry);
    this.#changed(entry);
    return entry;
  }
}
