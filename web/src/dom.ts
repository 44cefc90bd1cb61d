// Elements by one typed function, and values that are read again: a function given as a child or as a property is
// called now and at every `refresh()`, so a page is written once and follows its state and its language.

type Live<T> = T | (() => T);
export type Child = Node | Live<string> | null;

type Properties<E> = {
  [K in keyof E as K extends "style" ? never : E[K] extends ((...of: never[]) => unknown) | null ? never : K]?: Live<E[K]>;
} & {
  on?: { [K in keyof HTMLElementEventMap]?: (event: HTMLElementEventMap[K]) => void };
  /** Attributes, such as aria-label; null takes one away. */
  set?: Record<string, Live<string | null>>;
  style?: Record<string, Live<string>>;
};

const readers: { of: WeakRef<Node>; read: () => void }[] = [];

/** Read again whatever was given as a function. */
export function refresh(): void {
  for (let at = readers.length - 1; at >= 0; at -= 1) {
    const reader = readers[at]!;
    if (reader.of.deref() === undefined) readers.splice(at, 1);
    else reader.read();
  }
}

/** Write a value to a node: once, or again whenever a function that gives it gives another one. */
export function follow<T>(node: Node, value: Live<T>, write: (node: Node, value: T) => void): void {
  if (typeof value !== "function") return write(node, value);
  const of = new WeakRef(node);
  let last: T | undefined;
  const read = () => {
    const now = (value as () => T)();
    const target = of.deref();
    if (target === undefined || now === last) return;
    last = now;
    write(target, now);
  };
  readers.push({ of, read });
  read();
}

/** Make an element: `el("button", { disabled: () => busy, on: { click: start } }, () => t("start"))`. */
export function el<K extends keyof HTMLElementTagNameMap>(
  tag: K,
  properties: Properties<HTMLElementTagNameMap[K]> = {},
  ...children: Child[]
): HTMLElementTagNameMap[K] {
  const element = document.createElement(tag);
  const { on, set, style, ...rest } = properties as Properties<HTMLElement>;
  for (const child of children) {
    if (child instanceof Node) element.append(child);
    else if (child !== null) {
      const text = document.createTextNode("");
      element.append(text);
      follow(text, child, (node, value) => { node.nodeValue = value; });
    }
  }
  for (const [name, value] of Object.entries(rest)) {
    follow(element, value as Live<unknown>, (node, now) => { (node as unknown as Record<string, unknown>)[name] = now; });
  }
  for (const [name, value] of Object.entries(set ?? {})) {
    follow(element, value, (node, now) => {
      if (now === null) (node as Element).removeAttribute(name);
      else (node as Element).setAttribute(name, now);
    });
  }
  for (const [name, value] of Object.entries(style ?? {})) {
    follow(element, value, (node, now) => { (node as HTMLElement).style.setProperty(name, now); });
  }
  for (const [name, listener] of Object.entries(on ?? {})) element.addEventListener(name, listener as EventListener);
  return element;
}

const ICONS = {
  image: "M4 5h16v14H4zM4 16l5-5 4 4 3-3 4 4M15.5 9.2h.01",
  plus: "M12 5v14M5 12h14",
  minus: "M5 12h14",
  fit: "M4 9V4h5M15 4h5v5M20 15v5h-5M9 20H4v-5",
  pixels: "M4 4h16v16H4zM4 12h16M12 4v16",
  theme: "M12 3v2M12 19v2M3 12h2M19 12h2M5.6 5.6 7 7M17 17l1.4 1.4M18.4 5.6 17 7M7 17l-1.4 1.4M12 8a4 4 0 100 8 4 4 0 000-8z",
  download: "M12 4v11M7 10.5l5 5 5-5M5 20h14",
  close: "M6 6l12 12M18 6 6 18",
  undo: "M9 14 4 9l5-5M4 9h9a6 6 0 010 12h-3",
  redo: "M15 14l5-5-5-5M20 9h-9a6 6 0 000 12h3",
  brush: "M20 4 9.5 14.5M8 13c-2.5 0-4 2-4 5 0 1-.8 2-2 2 4.500 1.500 9 0 9-4 0-1.800-1.300-3-3-3z",
  eraser: "M8 20 3 15l11-11 7 7-9 9zM7 11l7 7M8 20h12",
  fill: "M11 3 4 10l7 7 7-7zM20 14c1 1.600 1.500 2.500 1.500 3.500a1.500 1.500 0 01-3 0c0-1 .5-1.900 1.500-3.500z",
  polygon: "M12 3l9 7-4 10H7L3 10z",
  next: "M5 12h14M13 6l6 6-6 6",
  check: "M5 12.5l4.500 4.500L19 7.500",
  move: "M12 3v18M3 12h18M9 6l3-3 3 3M9 18l3 3 3-3M6 9l-3 3 3 3M18 9l3 3-3 3",
} as const;

/** Make one of our line drawings, 24 x 24. */
export function icon(name: keyof typeof ICONS): SVGSVGElement {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  svg.setAttribute("viewBox", "0 0 24 24");
  svg.setAttribute("aria-hidden", "true");
  svg.classList.add("icon");
  const path = document.createElementNS("http://www.w3.org/2000/svg", "path");
  path.setAttribute("d", ICONS[name]);
  svg.append(path);
  return svg;
}

/** Make a button that is an icon, with its name for those who do not see it. */
export function iconButton(name: keyof typeof ICONS, title: () => string, click: () => void): HTMLButtonElement {
  return el("button", { type: "button", className: "icon", title, set: { "aria-label": title }, on: { click } }, icon(name));
}
