// Controls that more than one page has: a labelled slider, a section of the panel, the bar, a line for errors.
import { el, follow, icon, iconButton, refresh, type Child } from "./dom";
import { glossary, number, switches, translator } from "./i18n";

const t = translator(glossary);
let count = 0;

export interface Range {
  label: () => string;
  min: () => number;
  max: () => number;
  step: () => number;
  value: () => number;
  /** The value as it is shown. */
  show: (value: number) => string;
  change: (value: number) => void;
  hidden?: () => boolean;
}

/** A slider with its name before it and its value behind it. */
export function slider(range: Range, before: Child = null): HTMLElement {
  const id = `control-${(count += 1)}`;
  const input = el("input", {
    id, type: "range",
    set: { "aria-valuetext": () => range.show(range.value()) },
    on: { input: () => range.change(Number(input.value)) },
  });
  // All in this order: a slider cuts its value to the ends that it has at the moment.
  follow(input, () => [range.min(), range.max(), range.step(), range.value()].join(" "), (_, now) => {
    [input.min, input.max, input.step, input.value] = now.split(" ") as [string, string, string, string];
  });
  const name = before ?? el("label", { htmlFor: id }, range.label);
  if (before !== null) input.setAttribute("aria-label", range.label());
  return el("div", { className: "field", hidden: range.hidden ?? false }, name, input, el("output", { htmlFor: id } as object, () => range.show(range.value())));
}

/** Make a function that brings the controls up to date at once, and calls `show` when it was not called for a moment: a
 * slider that is dragged has its picture drawn when it rests. */
export function whenResting(show: () => void): () => void {
  let waiting = 0;
  return () => {
    refresh();
    clearTimeout(waiting);
    waiting = setTimeout(show, 150);
  };
}

/** The values that are shown black and white: two sliders between `ends`, and a button that sets both back. */
export function contrastControls(of: { low: number; high: number }, ends: () => readonly [least: number, most: number], changed: () => void, reset: () => void): HTMLElement[] {
  const width = () => ends()[1] - ends()[0] || 1;
  const one = (name: "low" | "high", label: "black" | "white") => slider({
    label: () => t(label), min: () => ends()[0], max: () => ends()[1], step: () => (width() > 10 ? 1 : width() / 200),
    value: () => of[name], show: (value) => number(value, width() > 10 ? 0 : 3), change: (value) => { of[name] = value; changed(); },
  });
  const back = el("button", { type: "button", className: "bare", on: { click: reset } }, () => t("reset"));
  return [el("div", { className: "row" }, el("h2", { className: "grow" }, () => t("contrast")), back), one("low", "black"), one("high", "white")];
}

/** A layer's switch and opacity. */
export function layerControl(name: () => string, shown: () => boolean, show: (shown: boolean) => void, opacity: Omit<Range, "label" | "min" | "max" | "step" | "show">): HTMLElement {
  const box = el("input", { type: "checkbox", checked: shown, on: { change: () => show(box.checked) } });
  const label = el("label", { className: "row" }, box, el("span", { className: "clip" }, name));
  return slider({ ...opacity, label: () => `${t("opacity")}: ${name()}`, min: () => 0, max: () => 1, step: () => 0.05, show: (value) => `${Math.round(value * 100)} %` }, label);
}

/** A titled part of the panel. */
export function section(title: () => string, hidden: () => boolean, ...children: Child[]): HTMLElement {
  return el("section", { className: "section", hidden }, el("h2", {}, title), ...children);
}

/** The line at the top of every page. */
export function bar(title: string, ...children: Child[]): HTMLElement {
  return el("header", { className: "bar" }, el("h1", {}, title), ...children, switches());
}

/** One line that says what went wrong, until it is closed; it is read out when it comes. */
export function errorLine(message: () => string | null, close: () => void): HTMLElement {
  const line = el("div", { className: "error", hidden: () => message() === null }, el("span", {}, () => message() ?? ""), iconButton("close", () => t("close"), close));
  line.lastElementChild!.classList.add("bare");
  return el("div", { set: { role: "alert" } }, line);
}

/** What a page shows before there is an image. */
export function emptyStage(title: () => string, text: () => string, button: HTMLElement, hidden: () => boolean): HTMLElement {
  return el("div", { className: "drop", hidden }, icon("image"), el("h2", {}, title), button, el("p", {}, text));
}
