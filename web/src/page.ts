// The page of `unetkit export --to web`: an image is opened, segmented and shown without leaving the browser.
import "./theme.css";
import { dataClasses, imageChannels, thresholds, type ModelFile } from "./card";
import { bar, contrastControls, emptyStage, errorLine, layerControl, section, slider, whenResting } from "./controls";
import { el, icon, iconButton, refresh } from "./dom";
import { chooser, onDrop } from "./drop";
import { glossary, number, translator } from "./i18n";
import { encodeTiff } from "./images";
import type { Planes } from "./normalize";
import { rgb } from "./paint";
import { encodePng } from "./png";
import { decider, ofData, place, type Part } from "./predict";
import { Viewer, type Layer, type Paint } from "./viewer";
import type { Facts, Failure, Question } from "./worker";

const t = translator({
  ...glossary,
  drop: ["Drop an image here", "将图像拖到这里"],
  choose: ["Choose an image", "选择图像"],
  hint: ["PNG, JPEG or TIFF. It stays in this browser: nothing is sent anywhere.", "支持 PNG、JPEG 和 TIFF。图像只在本浏览器中处理，不会发送到任何地方。"],
  loading: ["Loading the network", "正在加载网络"],
  reading: ["Reading {name}", "正在读取 {name}"],
  running: ["Segmenting", "正在分割"],
  slices: ["slice {page} of {pages}", "第 {page} / {pages} 张切片"],
  ready: ["Ready", "就绪"],
  done: ["Done", "完成"],
  cancelled: ["Cancelled", "已取消"],
  failed: ["Not possible here", "此处无法运行"],
  took: ["{seconds} s on the {device}", "{seconds} 秒，使用 {device}"],
  run: ["Segment", "分割"],
  remove: ["Remove the image", "移除图像"],
  asTrained: ["auto", "自动"],
  maskPng: ["Mask of this slice, PNG", "当前切片的掩码 PNG"],
  maskTiff: ["Masks of all slices, TIFF", "所有切片的掩码 TIFF"],
  gaps: ["The run closes gaps in contours (predict.close_gaps); this page leaves them open.", "该模型会闭合轮廓缺口（predict.close_gaps）；本页面不做此处理。"],
  notImage: ["Not an image that this page reads; expected PNG, JPEG or TIFF", "不是本页面可读取的图像；请使用 PNG、JPEG 或 TIFF"],
  damaged: ["The image cannot be read ({why}); save it again as PNG or TIFF", "无法读取图像（{why}）；请重新保存为 PNG 或 TIFF"],
  planes: ["A JPEG of {found} channels; save it as grey or RGB", "JPEG 有 {found} 个通道；请保存为灰度或 RGB"],
  channels: ["The image has {found} channels, the network takes {wanted}; give images like those of the training", "图像有 {found} 个通道，网络需要 {wanted} 个；请使用与训练时相同的图像"],
  large: ["The image has {found} megapixels; this page takes {most} at most, the command takes more", "图像有 {found} 百万像素；本页面最多处理 {most}，命令行没有此限制"],
  noSimd: ["This browser has no WebAssembly SIMD; use a version of 2021 or later", "浏览器不支持 WebAssembly SIMD；请使用 2021 年以后的版本"],
  broken: ["The network does not run ({why}); load the page again", "网络无法运行（{why}）；请重新加载页面"],
  noModel: ["The page's files are not there ({why}); export the page again", "缺少页面文件（{why}）；请重新导出页面"],
});

const MOST_BYTES = 2 ** 31; // of all probabilities
const TILE = 256;
type Name = "labels" | "probability" | "uncertainty";

interface Opened {
  name: string;
  facts: Facts;
  file: File;
}

const state = {
  model: null as ModelFile | null,
  status: "loading" as "loading" | "ready" | "reading" | "running" | "done" | "cancelled" | "failed", // failed: there is no network
  opened: null as Opened | null,
  image: null as Planes | null, // the page that is shown
  page: 0,
  found: new Map<number, Float32Array>(), // the probabilities of each page [K, H, W]; 0 where nothing is known yet
  finished: new Set<number>(),
  working: 0, // the page that is computed
  share: 0, // of its parts that are done
  seconds: 0,
  device: "",
  span: [0, 255] as [number, number],
  low: 0,
  high: 255,
  threshold: null as number | null,
  kind: 1,
  version: 0,
  shares: null as number[] | null, // of the classes in the page that is shown
  shown: { labels: true, probability: false, uncertainty: false } as Record<Name, boolean>,
  opacity: { labels: 0.5, probability: 0.7, uncertainty: 0.7 } as Record<Name, number>,
  error: null as string | null,
};

// The worker: questions are answered in their order.
let worker: Worker;
let asked = 0;
const waiting = new Map<number, { resolve: (value: unknown) => void; reject: (error: Error) => void; part: (part: Part & { of: number }) => void }>();

function startWorker(): Promise<void> {
  worker = new Worker("worker.js", { type: "module" });
  worker.addEventListener("message", (event: MessageEvent<{ id: number; part?: Part & { of: number }; done?: unknown; failed?: Failure }>) => {
    const { id, part, done, failed } = event.data;
    const one = waiting.get(id);
    if (one === undefined) return;
    if (part !== undefined) return one.part(part);
    waiting.delete(id);
    if (failed !== undefined) one.reject(new Error(t(failed.reason as "damaged", failed.values)));
    else one.resolve(done);
  });
  worker.addEventListener("error", (event) => fail(new Error(t("broken", { why: event.message || "worker.js" }))));
  return ask<{ backend: string }>({ op: "load", card: state.model!.card }).then(({ backend }) => { state.device = backend === "webgpu" ? "GPU" : "CPU"; });
}

function ask<T>(question: Question, part: (part: Part & { of: number }) => void = () => undefined): Promise<T> {
  const id = (asked += 1);
  return new Promise((resolve, reject) => {
    waiting.set(id, { resolve: resolve as (value: unknown) => void, reject, part });
    worker.postMessage({ ...question, id });
  });
}

function fail(error: unknown): void {
  state.error = error instanceof Error ? error.message : String(error);
  if (state.status !== "cancelled" && state.status !== "failed") state.status = state.finished.size > 0 ? "done" : "ready";
  update();
}

function update(): void {
  refresh();
  show();
}

async function open(file: File): Promise<void> {
  if (state.model === null || state.status === "failed") return;
  if (state.status === "running" || state.status === "reading") await cancel();
  close();
  Object.assign(state, { status: "reading", error: null, opened: null });
  update();
  try {
    const facts = await ask<Facts>({ op: "open", file });
    const bytes = facts.pages * facts.width * facts.height * dataClasses(state.model.card).length * 4;
    const megapixels = (one: number) => number(one / 1e6, 1);
    if (bytes > MOST_BYTES) throw new Error(t("large", { found: megapixels(facts.pages * facts.width * facts.height), most: megapixels((MOST_BYTES / bytes) * facts.pages * facts.width * facts.height) }));
    state.opened = { name: file.name, facts, file };
    state.image = await ask<Planes>({ op: "page", page: 0 });
    Object.assign(state, { page: 0, threshold: null }, rangeOf(state.image));
    update();
    viewer.open({ width: facts.width, height: facts.height, tile: TILE });
    viewer.element.focus();
    await run();
  } catch (error) {
    if (state.image === null) state.opened = null;
    fail(error);
  }
}

/** Segment all pages that were not yet, the one that is looked at first. */
async function run(): Promise<void> {
  const { opened, model } = state;
  if (opened === null || model === null) return;
  const { facts } = opened;
  const classes = model.card.classes.length;
  state.status = "running";
  const start = performance.now();
  for (;;) {
    const left = [...Array(facts.pages).keys()].filter((page) => !state.finished.has(page));
    const page = left.includes(state.page) ? state.page : left[0];
    if (page === undefined) break;
    Object.assign(state, { working: page, share: 0 });
    const image = page === state.page && state.image !== null ? state.image : await ask<Planes>({ op: "page", page });
    const whole = new Float32Array(classes * facts.height * facts.width);
    state.found.set(page, whole);
    update();
    let parts = 0;
    await ask({ op: "predict", image }, (part) => {
      place({ ...part, probabilities: part.probabilities }, whole, classes, facts.height, facts.width);
      state.share = (parts += 1) / part.of;
      if (page === state.page) changed();
      refresh();
    });
    if (state.opened !== opened) return;
    state.found.set(page, ofData(whole, model.card));
    state.finished.add(page);
    if (page === state.page) changed();
  }
  Object.assign(state, { status: "done", seconds: (performance.now() - start) / 1000 });
  update();
}

/** A running computation cannot be stopped but with its thread; the file is opened again in a new one. */
async function cancel(): Promise<void> {
  worker.terminate();
  waiting.clear();
  state.status = "cancelled";
  if (!state.finished.has(state.working)) state.found.delete(state.working);
  update();
  await startWorker();
  if (state.opened !== null) await ask({ op: "open", file: state.opened.file });
}

function close(): void {
  Object.assign(state, { opened: null, image: null, found: new Map(), finished: new Set(), shares: null, status: "ready", seconds: 0 });
  viewer.close();
  update();
}

async function turn(page: number): Promise<void> {
  const pages = state.opened?.facts.pages ?? 1;
  const to = Math.min(Math.max(page, 0), pages - 1);
  if (to === state.page) return;
  state.page = to;
  refresh();
  const image = await ask<Planes>({ op: "page", page: to });
  if (state.page !== to) return;
  state.image = image;
  changed();
}

let soon = 0;
/** The layers have other pixels: draw them again, but not for every part. */
function changed(): void {
  clearTimeout(soon);
  soon = setTimeout(() => { state.version += 1; update(); }, 100);
}

/** Black and white for the eyes: the 0.5th and the 99.5th percentile, and all there is between the ends. */
function rangeOf(image: Planes): { span: [number, number]; low: number; high: number } {
  const every = Math.max(1, Math.floor(image.values.length / 100_000));
  const some = Float64Array.from({ length: Math.floor(image.values.length / every) }, (_, at) => image.values[at * every]!).sort();
  const at = (share: number) => some[Math.round(share * (some.length - 1))]!;
  return { span: [at(0), at(1)], low: at(0.005), high: at(0.995) };
}

const limits = () => (state.threshold === null ? thresholds(state.model!.card) : dataClasses(state.model!.card).slice(1).map(() => state.threshold!));

/** The classes of a page's pixels; of a page that is not finished, null. */
function labelsOf(page: number): Uint8Array | null {
  const found = state.found.get(page);
  if (found === undefined || !state.finished.has(page)) return null;
  const classes = dataClasses(state.model!.card).length;
  const decide = decider(found, classes, limits());
  return Uint8Array.from({ length: found.length / classes }, (_, at) => decide(at));
}

let counted = "";
/** Count the classes of the page that is shown, where it or the threshold is another than at the last time. */
function countClasses(): void {
  const key = `${state.page} ${state.version} ${state.threshold}`;
  if (key === counted) return;
  counted = key;
  const labels = labelsOf(state.page);
  const counts = dataClasses(state.model!.card).map(() => 0);
  labels?.forEach((label) => { counts[label]! += 1; });
  state.shares = labels === null ? null : counts.map((one) => one / labels.length);
  refresh();
}

/** Draw a layer whose pixel i of the page has this colour, nearest where it is made smaller. */
function nearest(colour: (at: number) => readonly [number, number, number, number]): Paint {
  const wide = state.image!.width;
  return (x, y, step, width, height) => {
    const drawn = new ImageData(width, height);
    let to = 0;
    for (let row = 0; row < height; row += 1) {
      for (let column = 0; column < width; column += 1, to += 4) drawn.data.set(colour((y + row * step) * wide + x + column * step), to);
    }
    return drawn;
  };
}

/** Draw the image between black and white; where it is made smaller, the mean of its pixels. */
function pixels(image: Planes): Paint {
  const [{ width: wide, height: tall, values }, scale] = [image, 255 / (state.high - state.low || 1)];
  const { low } = state;
  // Of a slice that comes with its neighbours, itself is shown.
  const own = imageChannels(state.model!.card);
  const first = own * state.model!.card.context;
  return (x, y, step, width, height) => {
    const drawn = new ImageData(width, height);
    for (let channel = 0; channel < 3; channel += 1) {
      const plane = (first + (own === 3 ? channel : 0)) * wide * tall;
      for (let row = 0; row < height; row += 1) {
        for (let column = 0; column < width; column += 1) {
          const [top, left] = [y + row * step, x + column * step];
          const [bottom, right] = [Math.min(top + step, tall), Math.min(left + step, wide)];
          let sum = 0;
          for (let line = top; line < bottom; line += 1) for (let at = left; at < right; at += 1) sum += values[plane + line * wide + at]!;
          drawn.data[4 * (row * width + column) + channel] = (sum / ((bottom - top) * (right - left)) - low) * scale;
        }
      }
    }
    for (let at = 3; at < drawn.data.length; at += 4) drawn.data[at] = 255;
    return drawn;
  };
}

// Dark blue over purple and orange to yellow, even in brightness (after matplotlib's plasma).
const MAP = [[13, 8, 135], [126, 3, 168], [204, 71, 120], [248, 149, 64], [240, 249, 33]] as const;

function heat(value: number): [number, number, number, number] {
  const at = Math.min(Math.max(value, 0), 1) * (MAP.length - 1);
  const low = Math.min(Math.floor(at), MAP.length - 2);
  const [one, other] = [MAP[low]!, MAP[low + 1]!];
  const mix = (channel: 0 | 1 | 2) => one[channel] + (other[channel] - one[channel]) * (at - low);
  return [mix(0), mix(1), mix(2), 255];
}

function paintOf(name: Name): Paint | null {
  const found = state.found.get(state.page);
  if (found === undefined || state.model === null) return null;
  const count = state.image!.width * state.image!.height;
  // While a page is computed its planes still have the border's; a pixel without any probability is not known yet.
  const classes = state.finished.has(state.page) ? dataClasses(state.model.card).length : state.model.card.classes.length;
  const nothing = [0, 0, 0, 0] as const;
  const known = (at: number) => found[at]! > 0 || found[count + at]! > 0;
  if (name === "labels") {
    // Of the pixels that are seen alone: a threshold follows the hand on slices of any size.
    const decide = decider(found.subarray(0, dataClasses(state.model.card).length * count), dataClasses(state.model.card).length, limits());
    const colours = state.model.colours.map((hex) => [...rgb(hex), 255] as const);
    return nearest((at) => {
      const label = known(at) ? decide(at) : 0;
      return label === 0 ? nothing : colours[label]!;
    });
  }
  if (name === "probability") return nearest((at) => (known(at) ? heat(found[state.kind * count + at]!) : nothing));
  return nearest((at) => {
    if (!known(at)) return nothing;
    let entropy = 0;
    for (let kind = 0; kind < classes; kind += 1) {
      const p = found[kind * count + at]!;
      if (p > 1e-12) entropy -= p * Math.log(p);
    }
    return heat(entropy / Math.log(classes));
  });
}

function show(): void {
  const { image } = state;
  if (image === null) return;
  const layers = new Map<string, Layer>([["image", { tiles: { paint: pixels(image) }, version: `${state.page} ${state.low} ${state.high}`, opacity: 1 }]]);
  for (const name of ["probability", "uncertainty", "labels"] as const) {
    const paint = state.shown[name] ? paintOf(name) : null;
    if (paint === null) continue;
    const version = `${state.page} ${state.version} ${name === "labels" ? (state.threshold ?? "") : ""} ${name === "probability" ? state.kind : ""}`;
    layers.set(name, { tiles: { paint }, version, opacity: state.opacity[name] });
  }
  viewer.layers(layers);
  countClasses();
}
const later = whenResting(show);

async function save(suffix: ".png" | ".tif"): Promise<void> {
  const { opened, model } = state;
  if (opened === null || model === null) return;
  const { width, height, pages } = opened.facts;
  const all = suffix === ".png" ? [state.page] : [...Array(pages).keys()];
  const classes = dataClasses(model.card).length;
  const white = classes === 2 ? 255 : classes - 1; // masks of two classes are 0 and 255, as the command writes them
  const masks = all.map((page) => labelsOf(page)!.map((label) => (classes === 2 ? 255 * label : label)));
  const content = suffix === ".png" ? await encodePng(masks[0]!, width, height) : encodeTiff(masks, width, height, white);
  const stem = opened.name.replace(/(\.ome)?\.[^.]+$/, "");
  const numbered = suffix === ".png" && pages > 1 ? `-${String(state.page).padStart(4, "0")}` : "";
  const url = URL.createObjectURL(new Blob([content as Uint8Array<ArrayBuffer>], { type: suffix === ".png" ? "image/png" : "image/tiff" }));
  el("a", { href: url, download: `${stem}${numbered}-mask${suffix}` }).click();
  setTimeout(() => { URL.revokeObjectURL(url); }, 60_000);
}

const viewer = new Viewer();
viewer.element.addEventListener("keydown", (event) => {
  if (event.target !== viewer.element) return;
  if (event.key === "PageDown" || event.key === "PageUp") turn(state.page + (event.key === "PageDown" ? 1 : -1)).catch(fail);
  else if (event.key === "m") { state.shown.labels = !state.shown.labels; update(); }
  else return;
  event.preventDefault();
});

const take = (file: File) => void open(file);
const { input, choose } = chooser(".png,.jpg,.jpeg,.tif,.tiff,image/png,image/jpeg,image/tiff", take);
const hasImage = () => state.image !== null;
const busy = () => state.status === "running" || state.status === "reading" || state.status === "loading";

function statusSection(): HTMLElement {
  const pages = () => state.opened?.facts.pages ?? 1;
  const more = () => {
    if (state.status === "running" && pages() > 1) return t("slices", { page: state.working + 1, pages: pages() });
    return state.status === "done" && state.seconds > 0 ? t("took", { seconds: number(state.seconds, 1), device: state.device }) : "";
  };
  const done = () => (state.finished.size + state.share * (state.status === "running" ? 1 : 0)) / pages();
  const meter = el("progress", { max: 1, value: () => (state.status === "running" ? done() : 0), hidden: () => !busy(), set: { "aria-label": () => t("running") } });
  const stop = el("button", { type: "button", hidden: () => state.status !== "running", on: { click: () => void cancel().catch(fail) } }, () => t("cancel"));
  const again = el("button", { type: "button", className: "primary", hidden: () => state.status !== "cancelled" || !hasImage(), on: { click: () => void run().catch(fail) } }, () => t("run"));
  const words = el("p", { className: "grow" }, el("strong", { set: { role: "status" } }, () => t(state.status, { name: "" })), el("br"), el("span", { className: "quiet numbers" }, more));
  return el("section", { className: "section" }, el("div", { className: "row" }, words, stop, again), meter);
}

function modelSection(model: ModelFile): HTMLElement {
  const share = (kind: number) => (state.shares === null ? "" : `${number(state.shares[kind]! * 100, 1)} %`);
  const rows = dataClasses(model.card).map((name, kind) => el("li", { className: "row" }, el("span", { className: "swatch", style: { background: kind === 0 ? "transparent" : model.colours[kind]! } }), el("span", { className: "grow" }, name), el("span", { className: "quiet numbers" }, () => share(kind))));
  const gaps = el("p", { className: "quiet", hidden: !model.card.predict.close_gaps }, () => t("gaps"));
  return section(() => t("classes"), () => false, el("ul", { className: "legend" }, ...rows), gaps);
}

function imageSection(): HTMLElement {
  const name = el("strong", { className: "grow clip", title: () => state.opened?.name ?? "" }, () => state.opened?.name ?? "");
  const remove = iconButton("close", () => t("remove"), () => { void (busy() ? cancel().then(close) : close()); });
  remove.classList.add("bare");
  const facts = () => (state.opened === null ? "" : `${number(state.opened.facts.width)} × ${number(state.opened.facts.height)} px · ${state.opened.facts.dtype}`);
  const pages = () => state.opened?.facts.pages ?? 1;
  const page = slider({
    label: () => t("page"), min: () => 1, max: pages, step: () => 1, value: () => state.page + 1,
    show: (value) => `${value}/${pages()}`, change: (value) => { turn(value - 1).catch(fail); }, hidden: () => pages() < 2,
  });
  const reset = () => { Object.assign(state, rangeOf(state.image!)); update(); };
  return el(
    "section", { className: "section", hidden: () => !hasImage() },
    el("div", { className: "row" }, name, remove), el("p", { className: "quiet numbers" }, facts), page,
    ...contrastControls(state, () => state.span, later, reset),
  );
}

function layersSection(model: ModelFile): HTMLElement {
  const control = (name: Name, title: () => string) => layerControl(
    title, () => state.shown[name], (shown) => { state.shown[name] = shown; update(); },
    { value: () => state.opacity[name], change: (value) => { state.opacity[name] = value; update(); } },
  );
  const names = dataClasses(model.card);
  const kind = el("select", { set: { "aria-label": () => `${t("probability")}: ${t("class")}` }, on: { change: () => { state.kind = Number(kind.value); update(); } } }, ...names.map((name, at) => el("option", { value: String(at), selected: at === 1 }, name)));
  const threshold = slider({
    label: () => t("threshold"), min: () => 0.02, max: () => 0.98, step: () => 0.02, value: () => state.threshold ?? limits()?.[0] ?? 0.5,
    show: () => (state.threshold === null ? t("asTrained") : number(state.threshold, 2)), change: (value) => { state.threshold = value; later(); },
  });
  const reset = el("button", { type: "button", className: "bare", on: { click: () => { state.threshold = null; update(); } } }, () => t("reset"));
  return section(
    () => t("layers"), () => state.found.size === 0,
    control("labels", () => t("mask")), control("probability", () => t("probability")),
    el("div", { className: "field", hidden: () => !state.shown.probability || names.length < 3 }, el("span", {}, () => t("class")), kind),
    control("uncertainty", () => t("uncertainty")), threshold, el("div", { className: "row", hidden: () => state.threshold === null }, el("span", { className: "grow" }), reset),
  );
}

function downloadSection(): HTMLElement {
  const button = (suffix: ".png" | ".tif", title: () => string, ready: () => boolean) => el("button", { type: "button", disabled: () => !ready(), on: { click: () => void save(suffix).catch(fail) } }, icon("download"), title);
  const pages = () => state.opened?.facts.pages ?? 1;
  return section(
    () => t("download"), () => state.finished.size === 0,
    button(".png", () => (pages() > 1 ? t("maskPng") : `${t("mask")} PNG`), () => state.finished.has(state.page)),
    button(".tif", () => (pages() > 1 ? t("maskTiff") : `${t("mask")} TIFF`), () => state.finished.size === pages()),
  );
}

function build(model: ModelFile): void {
  const first = el("button", { type: "button", className: "primary", on: { click: choose } }, () => t("choose"));
  const another = el("button", { type: "button", hidden: () => !hasImage(), on: { click: choose } }, icon("image"), () => t("choose"));
  const stage = el(
    "main", { className: "stage" },
    el("div", { hidden: () => !hasImage() }, viewer.element, viewer.buttons()),
    emptyStage(() => t("drop"), () => t("hint"), first, () => hasImage() || state.status === "failed"),
  );
  const problem = el("div", { className: "section", hidden: () => state.error === null }, errorLine(() => state.error, () => { state.error = null; update(); }));
  document.body.replaceChildren(el(
    "div", { className: "page" },
    bar("unetkit", el("span", { className: "grow" }), another, input), stage,
    el("aside", { className: "side" }, problem, statusSection(), modelSection(model), imageSection(), layersSection(model), downloadSection()),
  ));
  onDrop(stage, take);
}

async function begin(): Promise<void> {
  const answer = await fetch("model.json");
  if (!answer.ok) throw new Error(t("noModel", { why: `model.json: HTTP ${answer.status}` }));
  const model = (await answer.json()) as ModelFile;
  state.model = model;
  build(model);
  update();
  await startWorker();
  if (state.status === "loading") state.status = "ready";
  update();
}

begin().catch((error: unknown) => {
  if (state.model === null) document.body.replaceChildren(el("p", {}, error instanceof Error ? error.message : String(error)));
  else {
    close();
    state.status = "failed";
    fail(error);
  }
});
