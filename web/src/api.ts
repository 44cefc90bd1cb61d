// The server's HTTP interface, as docs/serve.md has it: typed answers; an error is the server's one line.
import { glossary, translator } from "./i18n";

const t = translator(glossary);

export interface Model {
  name: string;
  classes: string[];
  colours: string[];
  channels: number;
  context: number;
  can: Output[];
  formats: Partial<Record<Output, string[]>>;
}
export type Output = "masks" | "probabilities" | "uncertainty" | "objects";

export interface Picture {
  id: string;
  name: string;
  width: number;
  height: number;
  pages: number;
  channels: number;
  dtype: string;
  pixel_size: number | null;
  unit: string | null;
  levels: number;
  tile: number;
  range: [low: number, high: number];
}

export interface Job {
  id: string;
  state: "queued" | "running" | "done" | "failed" | "cancelled";
  done: number;
  total: number;
  megapixels_per_second: number | null;
  seconds_left: number | null;
  error: string | null;
  layers: string[];
  objects: number | null;
}

export interface ObjectTable {
  columns: string[];
  rows: (number | string | null)[][];
}

/** What the server answered instead; its message is for the user. */
export class ApiError extends Error {
  constructor(message: string, readonly status: number) {
    super(message);
  }
}

function failure(status: number, body: string): ApiError {
  try {
    const line = (JSON.parse(body) as { error?: unknown }).error;
    if (typeof line === "string") return new ApiError(line, status);
  } catch { /* not the server's own answer: a proxy's, or none */ }
  return new ApiError(status === 0 ? t("unreachable") : `HTTP ${status}`, status);
}

/** Send a request and return the text of its answer. */
export async function ask(path: string, init: RequestInit = {}): Promise<string> {
  let answer: Response;
  try {
    answer = await fetch(path, { credentials: "same-origin", ...init });
  } catch (error) {
    if (error instanceof DOMException && error.name === "AbortError") throw error;
    throw failure(0, "");
  }
  const body = await answer.text();
  if (!answer.ok) throw failure(answer.status, body);
  return body;
}

/** Send a request and return its JSON; undefined where the answer is empty. */
export async function request<T>(path: string, init: RequestInit = {}): Promise<T> {
  const body = await ask(path, init);
  return (body === "" ? undefined : JSON.parse(body)) as T;
}

/** Send JSON and return JSON. */
export function post<T>(path: string, content: unknown, init: RequestInit = {}): Promise<T> {
  const headers = { "Content-Type": "application/json" };
  return request<T>(path, { method: "POST", headers, body: JSON.stringify(content), ...init });
}

/** Send a form with a file; `progress` is told the share that has left. */
export function upload<T>(path: string, form: FormData, progress: (share: number) => void, signal: AbortSignal): Promise<T> {
  return new Promise((resolve, reject) => {
    const sender = new XMLHttpRequest(); // fetch does not say how much of a body has left
    sender.open("POST", path);
    sender.upload.addEventListener("progress", (event) => {
      if (event.lengthComputable) progress(event.loaded / event.total);
    });
    sender.addEventListener("load", () => {
      if (sender.status >= 200 && sender.status < 300) resolve(JSON.parse(sender.responseText) as T);
      else reject(failure(sender.status, sender.responseText));
    });
    sender.addEventListener("error", () => reject(failure(0, "")));
    sender.addEventListener("abort", () => reject(new DOMException("", "AbortError")));
    signal.addEventListener("abort", () => sender.abort());
    sender.send(form);
  });
}

/** Listen to server-sent events until `close()`; `lost` is called when the connection does not come back by itself. */
export function events<T>(path: string, each: (event: T, kind: string) => void, lost: (error: ApiError) => void, kinds: string[] = []): EventSource {
  const source = new EventSource(path);
  for (const kind of ["message", ...kinds]) {
    source.addEventListener(kind, (event) => each(JSON.parse((event as MessageEvent<string>).data) as T, kind));
  }
  source.addEventListener("error", () => {
    if (source.readyState === EventSource.CLOSED) lost(failure(0, ""));
  });
  return source;
}
