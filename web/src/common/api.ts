// The server's interface. Every request carries the token, where there is one.

import type { Job, JobPage, ModelInfo } from "./contract";
import { follow } from "./sse";

const TOKEN = "catenary.token";

/** What the server (or the way to it) refused, in one sentence. */
export class ApiError extends Error {
  constructor(
    message: string,
    readonly status: number,
    readonly code: string,
  ) {
    super(message);
  }
}

const UNREACHED = "The server does not answer; look whether it still runs, and try again.";

const BROKEN =
  "The connection ended while the file was sent: the server has stopped, or takes nothing as large; see that it runs, and make the file smaller.";

export interface Case {
  model: string;
  image: File[];
  post?: File | null;
  footprints?: File | null;
  options?: Record<string, unknown>;
}

export class Api {
  /** Asked for a token when the server wants one; null: the reader gave none. */
  askToken: (wrong: boolean) => Promise<string | null> = async () => null;
  #asking: Promise<string | null> | null = null;

  /** `base` ends with a slash; links of the server start below it. */
  constructor(readonly base: string) {}

  get token(): string {
    return sessionStorage.getItem(TOKEN) ?? "";
  }

  set token(value: string) {
    sessionStorage.setItem(TOKEN, value);
  }

  headers(): Record<string, string> {
    return this.token ? { Authorization: `Bearer ${this.token}` } : {};
  }

  /** A link of the server as an address; the page may lie below a path. */
  url(path: string): string {
    return new URL(path.replace(/^\//, ""), this.base).href;
  }

  async request(path: string, init: RequestInit = {}): Promise<Response> {
    for (;;) {
      const sent = this.token;
      let response: Response;
      try {
        response = await fetch(this.url(path), { ...init, headers: { ...init.headers, ...this.headers() } });
      } catch (problem) {
        if (init.signal?.aborted) throw problem;
        throw new ApiError(UNREACHED, 0, "unreached");
      }
      if (response.ok) return response;
      if (response.status !== 401 || !(await this.#newToken(sent))) throw await refusal(response);
    }
  }

  /** True where another token than `sent` is now known; several refused requests ask the reader once. */
  async #newToken(sent: string): Promise<boolean> {
    if (this.token !== sent) return true;
    this.#asking ??= this.askToken(sent !== "").finally(() => (this.#asking = null));
    const given = await this.#asking;
    if (given === null) return false;
    this.token = given;
    return true;
  }

  async json<T>(path: string, init?: RequestInit): Promise<T> {
    return (await this.request(path, init)).json() as Promise<T>;
  }

  async blob(path: string): Promise<Blob> {
    return (await this.request(path)).blob();
  }

  models(): Promise<ModelInfo[]> {
    return this.json<ModelInfo[]>("api/models");
  }

  /** Jobs, the most recent first. */
  jobs(limit: number, offset = 0): Promise<JobPage> {
    return this.json<JobPage>(`api/jobs?limit=${limit}&offset=${offset}`);
  }

  job(id: string): Promise<Job> {
    return this.json<Job>(`api/jobs/${encodeURIComponent(id)}`);
  }

  async cancel(id: string): Promise<void> {
    await this.request(`api/jobs/${encodeURIComponent(id)}/cancel`, { method: "POST" });
  }

  async remove(id: string): Promise<void> {
    await this.request(`api/jobs/${encodeURIComponent(id)}`, { method: "DELETE" });
  }

  archive(id: string): Promise<Blob> {
    return this.blob(`api/jobs/${encodeURIComponent(id)}/archive`);
  }

  /** Tells of each change until the job has ended; asks again where the stream breaks. */
  async watch(id: string, changed: (job: Job) => void, signal: AbortSignal): Promise<void> {
    let last: Job | null = null;
    while (!signal.aborted) {
      try {
        const response = await this.request(`api/jobs/${encodeURIComponent(id)}/events`, { signal });
        await follow(response, (data) => {
          last = JSON.parse(data) as Job;
          changed(last);
        });
      } catch (problem) {
        if (signal.aborted || (problem instanceof ApiError && problem.status >= 400 && problem.status < 500)) return;
      }
      if (last && hasEnded(last)) return;
      await new Promise((resume) => setTimeout(resume, 1000));
      try {
        last = await this.job(id);
        changed(last);
        if (hasEnded(last)) return;
      } catch (problem) {
        if (problem instanceof ApiError && problem.status === 404) return;
      }
    }
  }

  /** Send a case; `sent` is told which part of it has left. Only XMLHttpRequest tells of that. */
  async submit(one: Case, sent: (share: number) => void, signal?: AbortSignal): Promise<Job> {
    for (;;) {
      const token = this.token;
      const request = new XMLHttpRequest();
      request.open("POST", this.url("api/jobs"));
      for (const [name, value] of Object.entries(this.headers())) request.setRequestHeader(name, value);
      request.upload.onprogress = (event) => event.lengthComputable && sent(event.loaded / event.total);
      signal?.addEventListener("abort", () => request.abort());
      await new Promise<void>((end) => {
        request.onloadend = () => end();
        request.send(formOf(one));
      });
      if (signal?.aborted) throw new ApiError("The upload was cancelled.", 0, "cancelled");
      if (request.status === 0) throw new ApiError(BROKEN, 0, "unreached");
      if (request.status < 300) return JSON.parse(request.responseText) as Job;
      const answer = new Response(request.responseText, { status: request.status });
      if (request.status !== 401 || !(await this.#newToken(token))) throw await refusal(answer);
    }
  }
}

export function hasEnded(job: Job): boolean {
  return job.status === "done" || job.status === "failed" || job.status === "cancelled";
}

function formOf(one: Case): FormData {
  const form = new FormData();
  form.append("model", one.model);
  for (const file of one.image) form.append("image", file, file.name);
  if (one.post) form.append("post", one.post, one.post.name);
  if (one.footprints) form.append("footprints", one.footprints, one.footprints.name);
  if (one.options && Object.keys(one.options).length) form.append("options", JSON.stringify(one.options));
  return form;
}

/** The server's own sentence, else one made of the status. */
export async function refusal(response: Response): Promise<ApiError> {
  let told: { error?: { code?: string; message?: string } } = {};
  try {
    told = (await response.json()) as typeof told;
  } catch {
    // a proxy's page, or nothing: the status has to do
  }
  const message = told.error?.message ?? `The server answered with status ${response.status}, and gave no reason.`;
  return new ApiError(message, response.status, told.error?.code ?? "unknown");
}
