// Strokes on their way to the server. Each is kept in the browser until the server has answered that it is on its disk,
// over a reload and a crash, too. They go one after the other in their order: the server takes a session's numbers as
// they rise, and a number that it knows changes nothing, so that whatever is sent again does no harm.
import { ApiError, post } from "./api";

export interface Sent {
  project: string;
  session: string;
  number: number;
  image: string;
  page: number;
  box: [top: number, left: number, height: number, width: number];
  png: string;
}

const NAME = "unetkit-label";
const STORE = "strokes";
const SOONEST = 300;
const LATEST = 5000;

function asked<T>(request: IDBRequest<T>): Promise<T> {
  return new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error ?? new Error(NAME));
  });
}

export class Outbox {
  private waiting: Sent[] = [];
  private database: IDBDatabase | null = null;
  private busy = false;
  private wait = SOONEST;

  /** `changed` is called when the number of waiting strokes changes; `refused` when the server will never take one. */
  constructor(private readonly project: string, private readonly changed: () => void, private readonly refused: (error: Error) => void) {}

  get count(): number {
    return this.waiting.length;
  }

  /** Take up what an earlier page has left. A browser that keeps nothing sends all the same. */
  async open(): Promise<void> {
    try {
      const opening = indexedDB.open(NAME, 1);
      opening.onupgradeneeded = () => opening.result.createObjectStore(STORE, { keyPath: ["project", "session", "number"] });
      this.database = await asked(opening);
      const all = await asked<Sent[]>(this.database.transaction(STORE).objectStore(STORE).getAll());
      this.waiting = [...all.filter((one) => one.project === this.project), ...this.waiting];
    } catch { /* a private window: strokes wait in this page alone */ }
    this.changed();
    void this.run();
  }

  add(stroke: Sent): void {
    this.waiting.push(stroke);
    this.database?.transaction(STORE, "readwrite").objectStore(STORE).put(stroke);
    this.changed();
    void this.run();
  }

  /** Try at once what waits for its next trial. */
  hurry(): void {
    this.wait = SOONEST;
    void this.run();
  }

  private async run(): Promise<void> {
    if (this.busy) return;
    this.busy = true;
    while (this.waiting.length > 0) {
      const { project, image, ...body } = this.waiting[0]!;
      try {
        await post(`/api/project/images/${image}/strokes`, body, { signal: AbortSignal.timeout(20_000) });
      } catch (error) {
        const status = error instanceof ApiError ? error.status : 0;
        if (status < 400 || status >= 500 || status === 408 || status === 429 || status === 401 || status === 403) {
          this.changed();
          await new Promise((resolve) => setTimeout(resolve, this.wait));
          this.wait = Math.min(2 * this.wait, LATEST);
          continue;
        }
        this.refused(error as Error);
      }
      this.wait = SOONEST;
      this.waiting.shift();
      this.database?.transaction(STORE, "readwrite").objectStore(STORE).delete([project, body.session, body.number]);
      this.changed();
    }
    this.busy = false;
  }
}
