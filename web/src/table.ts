// The objects of an image as a table: sorted by a click on a column, walked by the arrow keys, chosen by a click or Enter.
import { el, refresh } from "./dom";
import { glossary, number, translator } from "./i18n";
import type { ObjectTable } from "./api";

const t = translator({
  ...glossary,
  sort: ["Sort by {name}", "按{name}排序"],
  more: ["The first {shown} of {all} are listed, as sorted", "按当前排序列出前 {shown} 个，共 {all} 个"],
  find: ["Choose a row to go there", "选择一行即可定位"],
});

const MOST_ROWS = 500;
const SHOWN = ["number", "class", "page", "area", "score"] as const;
type Column = (typeof SHOWN)[number];

export type Found = Record<string, number | string | null>;

/** Return the rows as records. */
export function records(table: ObjectTable): Found[] {
  return table.rows.map((row) => Object.fromEntries(table.columns.map((column, at) => [column, row[at] ?? null])));
}

export class Table {
  readonly element: HTMLElement;
  private rows: Found[] = [];
  private readonly body = el("tbody");
  private readonly note = el("p", { className: "quiet" }, () => this.rows.length > MOST_ROWS ? t("more", { shown: number(MOST_ROWS), all: number(this.rows.length) }) : t("find"));
  private by: Column = "number";
  private descending = false;
  private stack = false;
  private chosen: Found | null = null;
  private readonly heads = new Map<Column, HTMLElement>();

  constructor(private readonly choose: (found: Found) => void) {
    const heads = SHOWN.map((column) => this.head(column));
    const table = el("table", { set: { role: "grid", "aria-label": () => t("objects") } }, el("thead", {}, el("tr", {}, ...heads)), this.body);
    this.body.addEventListener("keydown", (event) => this.key(event));
    this.element = el("div", {}, el("div", { className: "table" }, table), this.note);
  }

  private head(column: Column): HTMLElement {
    const sort = () => {
      this.descending = this.by === column && !this.descending;
      this.by = column;
      this.draw();
    };
    const arrow = () => (this.by === column ? (this.descending ? " ↓" : " ↑") : "");
    const button = el("button", { type: "button", title: () => t("sort", { name: t(column) }), on: { click: sort } }, () => t(column) + arrow());
    const head = el("th", { className: column === "class" ? "text" : "", hidden: () => column === "page" && !this.stack }, button);
    head.scope = "col";
    this.heads.set(column, head);
    return head;
  }

  show(rows: Found[], stack: boolean): void {
    if (stack !== this.stack) [this.by, this.descending] = [stack ? "page" : "number", false]; // numbers begin anew on each slice
    [this.rows, this.stack, this.chosen] = [rows, stack, null];
    this.draw();
  }

  private draw(): void {
    const sign = this.descending ? -1 : 1;
    const [by, one] = [this.by, (found: Found) => found[this.by] ?? -Infinity];
    const sorted = [...this.rows].sort((a, b) => {
      const [x, y] = [one(a), one(b)];
      return sign * (typeof x === "string" || typeof y === "string" ? String(x).localeCompare(String(y)) : x - y);
    });
    for (const [column, head] of this.heads) head.setAttribute("aria-sort", column !== by ? "none" : this.descending ? "descending" : "ascending");
    this.body.replaceChildren(...sorted.slice(0, MOST_ROWS).map((found, at) => this.row(found, at)));
    refresh();
  }

  private row(found: Found, at: number): HTMLElement {
    const cells = SHOWN.filter((column) => column !== "page" || this.stack).map((column) => {
      const value = found[column] ?? "";
      const text = column === "page" && typeof value === "number" ? value + 1 : value;
      const shown = typeof text !== "number" ? text : column === "score" ? text.toFixed(2) : number(text);
      return el("td", { className: column === "class" ? "text" : "" }, shown);
    });
    const row = el("tr", { tabIndex: at === 0 ? 0 : -1, set: { "aria-selected": found === this.chosen ? "true" : "false" }, on: { click: () => this.pick(row, found) } }, ...cells);
    row.addEventListener("keydown", (event) => {
      if (event.key !== "Enter" && event.key !== " ") return;
      event.preventDefault();
      this.pick(row, found);
    });
    return row;
  }

  private pick(row: HTMLElement, found: Found): void {
    for (const other of this.body.children) {
      other.setAttribute("aria-selected", String(other === row));
      (other as HTMLElement).tabIndex = other === row ? 0 : -1;
    }
    this.chosen = found;
    this.choose(found);
  }

  private key(event: KeyboardEvent): void {
    const row = (event.target as Element).closest("tr");
    const next = { ArrowDown: row?.nextElementSibling, ArrowUp: row?.previousElementSibling, Home: this.body.firstElementChild, End: this.body.lastElementChild }[event.key];
    if (!(next instanceof HTMLElement)) return;
    event.preventDefault();
    if (row !== null) row.tabIndex = -1;
    next.tabIndex = 0;
    next.focus();
  }
}
