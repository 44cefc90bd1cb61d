// The page of `unetkit label`: paint on images, see what a network makes of it meanwhile, take it or mend it.
import "./theme.css";
import "./label.css";
import { ask, events, post, request } from "./api";
import { Chart, type Point as Course } from "./chart";
import { bar, contrastControls, errorLine, layerControl, section, slider, whenResting } from "./controls";
import { el, icon, refresh } from "./dom";
import { glossary, number, translator } from "./i18n";
import { Outbox } from "./outbox";
import { Page, predicted, rgb, type Box, type Change, type Colours, type Point } from "./paint";
import { decodePng, encodePng } from "./png";
import { Viewer, type Layer } from "./viewer";

const t = translator({
  ...glossary,
  brush: ["Brush (B)", "画笔 (B)"],
  eraser: ["Eraser (E)", "橡皮 (E)"],
  fill: ["Fill (F)", "填充 (F)"],
  polygon: ["Polygon (P): click corners, double-click or Enter closes it", "多边形 (P)：单击添加顶点，双击或回车闭合"],
  accept: ["Take the prediction of a region (A)", "采纳一个区域的预测 (A)"],
  pan: ["Move (V), or hold the space bar", "移动 (V)，或按住空格键"],
  undo: ["Undo (Ctrl+Z)", "撤销 (Ctrl+Z)"],
  redo: ["Redo (Ctrl+Y)", "重做 (Ctrl+Y)"],
  pixel: ["Pixel for pixel (Z)", "原始像素 (Z)"],
  size: ["Brush size", "画笔大小"],
  saved: ["Saved", "已保存"],
  unsaved: ["Not saved: {count}", "未保存：{count}"],
  train: ["Train (T)", "训练 (T)"],
  automatic: ["Train by itself when painting pauses", "停笔后自动训练"],
  pause: ["Pause (T)", "暂停 (T)"],
  next: ["Where it is most unsure (N)", "最不确定处 (N)"],
  paused: ["Paused", "已暂停"],
  starting: ["Starting", "正在启动"],
  waiting: ["Paint two classes to begin", "请先绘制两个类别"],
  trains: ["Training", "正在训练"],
  idle: ["Waiting for more paint", "等待更多标注"],
  failed: ["The training failed", "训练失败"],
  step: ["step {step}", "第 {step} 步"],
  dice: ["Held-out Dice", "留出 Dice"],
  noDice: ["nothing held out yet", "尚无留出部分"],
  chart: ["Loss and held-out Dice over the steps", "损失与留出 Dice 随步数的变化"],
  painted: ["{share} painted", "已标注 {share}"],
  labels: ["Painted", "标注"],
  prediction: ["Prediction", "预测"],
  acceptAll: ["Take all that is seen", "采纳可见部分"],
  tabs: ["Open in {count} tabs: what is painted in one shows in all.", "已在 {count} 个标签页中打开：标注会同步显示。"],
  addClass: ["Add a class", "添加类别"],
  className: ["Name of class {count}", "类别 {count} 的名称"],
  classColour: ["Colour of {name}", "{name} 的颜色"],
  newClass: ["class {count}", "类别 {count}"],
  edit: ["Edit", "编辑"],
  done: ["Done", "完成"],
  begin: [
    "Scribble a little of every class, the background too: short strokes on both sides of a border teach most. Then press Train, correct what is wrong, and press N to go where the network is most unsure.",
    "每个类别（包括背景）涂几笔即可：在边界两侧的短笔画最有效。然后点击“训练”，修正错误之处，按 N 键跳到网络最不确定的位置。",
  ],
  keys: ["Keys", "快捷键"],
  keyClass: ["class", "类别"],
  keySize: ["brush size, or the wheel", "画笔大小，或滚轮"],
  keyZoom: ["zoom; Ctrl+wheel", "缩放；Ctrl+滚轮"],
  keyPage: ["slice", "切片"],
  keyEnter: ["use the tool in the middle of the view", "在视图中心使用工具"],
  keyMove: ["move", "移动"],
  keyHide: ["prediction on and off", "显示或隐藏预测"],
  lost: ["The server does not answer. What you paint is kept here until it does.", "服务器没有响应。标注会保留在此处，直到服务器恢复。"],
});

interface Class { name: string; colour: string; key: string }
interface Labelled { id: string; name: string; width: number; height: number; pages: number; tile: number; painted: number[]; versions: (string | null)[]; part: Part | null }
/** Where a part of a large image lies: which of these, top, left, height and width, and the sides of the whole. */
interface Part { of: number; box: [number, number, number, number]; height: number; width: number }
interface Training { state: "waiting" | "training" | "idle" | "paused" | "failed"; step: number; loss: number | null; dice: number | null; error?: string; started: boolean; automatic: boolean }
interface Project { name: string; folder: string; classes: Class[]; images: Labelled[]; training: Training & { history: Course[] }; session: string; tabs: number }
interface Suggestion { image: string; page: number; box: [number, number, number, number]; uncertainty: number | null }
interface Event extends Partial<Suggestion>, Partial<Omit<Training, "state">> { state?: Training["state"]; version?: string; session?: string; tabs?: number }

const TOOLS = ["brush", "eraser", "fill", "polygon", "accept", "pan"] as const;
type Tool = (typeof TOOLS)[number];
const TOOL_KEYS: Record<string, Tool> = { b: "brush", e: "eraser", f: "fill", p: "polygon", a: "accept", v: "pan" };
const ICONS = { brush: "brush", eraser: "eraser", fill: "fill", polygon: "polygon", accept: "check", pan: "move" } as const;
const STEPS = 100;

const state = {
  project: null as Project | null,
  image: 0,
  page: 0,
  range: [0, 255] as [number, number],
  low: 0,
  high: 255,
  tool: "brush" as Tool,
  of_class: 1,
  size: 5,
  space: false, // the bar is held: the pointer moves the image
  shown: { labels: true, prediction: true },
  opacity: { labels: 0.75, prediction: 0.35 },
  history: [] as Course[],
  suggestion: null as Suggestion | null,
  editing: false,
  connected: true,
  error: null as string | null,
};
let canvas: Page | null = null; // the labels of the page that is seen
let forecast: { classes: Uint8Array; confidence: Uint8Array; picture: OffscreenCanvas } | null = null;
let undone: Change[] = [];
let done: Change[] = [];
let counted = 0; // strokes of this session
let outbox: Outbox | null = null;
let order: Promise<void> = Promise.resolve(); // strokes are encoded one after the other
let corners: Point[] = [];
let pointer: Point | null = null;
let last: Point | null = null; // of the stroke that is being painted
let panned: { x: number; y: number } | null = null;

const image = () => state.project?.images[state.image] ?? null;
const colours = (): Colours => state.project?.classes.map((one) => rgb(one.colour)) ?? [];
const panning = () => state.tool === "pan" || state.space;

function fail(error: unknown): void {
  state.error = error instanceof Error ? error.message : String(error);
  update();
}

function update(): void {
  refresh();
  show();
}

/** Show a page, with its labels and its newest prediction. */
async function open(number: number, page: number): Promise<void> {
  const one = state.project!.images[number]!;
  const other = number !== state.image || canvas === null;
  const alike = canvas !== null && one.part !== null && one.part.of === image()?.part?.of; // parts of one image
  Object.assign(state, { image: number, page });
  corners = [];
  forecast = null;
  if (other && !alike) {
    const { range } = await request<{ range: [number, number] }>(`/api/project/images/${one.id}/range/${page}`);
    Object.assign(state, { range, low: range[0], high: range[1] });
  }
  const opened = new Page(one.id, page, one.width, one.height, colours());
  await reload(opened);
  if (state.image !== number || state.page !== page) return;
  canvas = opened;
  if (other) viewer.open({ width: one.width, height: one.height, tile: one.tile });
  viewer.navigation(panning());
  update();
  void post(`/api/project/images/${one.id}/see`, { page }).catch(() => undefined);
  if (one.versions[page] !== null) await predict();
}

/** Take over the labels of a page from the server, of a box or all of them. */
async function reload(page: Page, box?: Box): Promise<void> {
  const answer = await fetch(`/api/project/images/${page.image}/labels/${page.page}.png`, { credentials: "same-origin" });
  if (!answer.ok) return;
  const { values } = await decodePng(new Uint8Array(await answer.arrayBuffer()));
  page.each(box ?? { top: 0, left: 0, height: page.height, width: page.width }, (pixel) => values[pixel]!);
  viewer.redraw();
}

/** Fetch the newest prediction of the page that is seen. */
async function predict(): Promise<void> {
  const [one, page] = [image()!, state.page];
  const answer = await fetch(`/api/project/images/${one.id}/prediction/${page}.png?version=${one.versions[page] ?? ""}`, { credentials: "same-origin" });
  if (!answer.ok) return;
  const { values } = await decodePng(new Uint8Array(await answer.arrayBuffer()));
  if (image() !== one || state.page !== page) return;
  const count = one.width * one.height;
  const [classes, confidence] = [values.slice(0, count) as Uint8Array, values.slice(count, 2 * count) as Uint8Array];
  forecast = { classes, confidence, picture: predicted(classes, confidence, one.width, one.height, colours()) };
  update();
}

/** Do something to the labels, remember it for undo, and send it. */
function act(what: (page: Page) => void): void {
  if (canvas === null) return;
  canvas.begin();
  what(canvas);
  finish();
}

function finish(): void {
  const change = canvas?.end() ?? null;
  if (change === null) return;
  done = [...done, change].slice(-STEPS);
  undone = [];
  send(change, change.after);
  update();
}

function send(change: Change, values: readonly number[]): void {
  const page = canvas!;
  const box = page.around(change.pixels);
  const content = page.boxed(box, change.pixels, values);
  counted += 1;
  const head = { project: state.project!.folder, session: state.project!.session, number: counted, image: change.image, page: change.page };
  order = order.then(async () => {
    const png = await encodePng(content, box.width, box.height);
    let text = "";
    for (let at = 0; at < png.length; at += 8192) text += String.fromCharCode(...png.subarray(at, at + 8192));
    outbox!.add({ ...head, box: [box.top, box.left, box.height, box.width], png: btoa(text) });
  });
  image()!.painted[change.page] = page.painted / page.labels.length;
}

async function undo(from: Change[], to: Change[], back: boolean): Promise<void> {
  const change = from.pop();
  if (change === undefined) return;
  to.push(change);
  const at = state.project!.images.findIndex((one) => one.id === change.image);
  if (at !== state.image || change.page !== state.page) await open(at, change.page);
  const values = back ? change.before : change.after;
  canvas!.put(change.pixels, values);
  send(change, values);
  update();
}

const value = () => (state.tool === "eraser" ? 0 : state.of_class);

/** Use the tool at a point, as a click does. */
function use(at: Point): void {
  if (state.tool === "brush" || state.tool === "eraser") act((page) => page.line(at, at, state.size, value()));
  else if (state.tool === "fill") act((page) => page.fill(at, page.labels, value));
  else if (state.tool === "accept" && forecast !== null) {
    const { classes } = forecast;
    act((page) => page.fill(at, classes, (pixel) => page.labels[pixel] || classes[pixel]! + 1));
  } else if (state.tool === "polygon") {
    corners.push(at);
    viewer.redraw();
  }
}

function closePolygon(): void {
  const inside = corners;
  corners = [];
  if (inside.length > 2) act((page) => page.polygon(inside, state.of_class));
  viewer.redraw();
}

/** Take the prediction of all that is seen, where nothing is painted. */
function acceptSeen(): void {
  if (forecast === null || canvas === null) return;
  const { classes } = forecast;
  const bounds = viewer.element.getBoundingClientRect();
  const from = viewer.position({ clientX: bounds.left, clientY: bounds.top });
  const to = viewer.position({ clientX: bounds.right, clientY: bounds.bottom });
  act((page) => page.each(page.clip(from.x, from.y, to.x, to.y), (pixel) => page.labels[pixel] || classes[pixel]! + 1));
}

async function next(): Promise<void> {
  const found = await request<Suggestion>("/api/project/next");
  const at = state.project!.images.findIndex((one) => one.id === found.image);
  if (at !== state.image || found.page !== state.page) await open(at, found.page);
  state.suggestion = found;
  const [top, left, height, width] = found.box;
  viewer.flyTo(left, top, width, height);
  update();
  viewer.element.focus();
}

async function train(): Promise<void> {
  const started = !state.project!.training.started;
  Object.assign(state.project!.training, await post<Training>("/api/project/train", { state: started ? "start" : "pause" }));
  update();
}

async function trainByItself(on: boolean): Promise<void> {
  Object.assign(state.project!.training, await post<Training>("/api/project/automatic", { on }));
  update();
}

/** Take what the server tells. */
async function hear(event: Event, kind: string): Promise<void> {
  const project = state.project!;
  if (kind === "training") {
    Object.assign(project.training, event);
    if (event.state === "failed") state.error = `${t("failed")}: ${event.error ?? ""}`;
    if (event.loss !== null && event.loss !== undefined && event.step !== state.history.at(-1)?.[0]) {
      state.history = [...state.history, [event.step!, event.loss, event.dice ?? null] as Course].slice(-2000);
      chart.show(state.history);
    }
  } else if (kind === "prediction") {
    const one = project.images.find(({ id }) => id === event.image)!;
    one.versions[event.page!] = event.version!;
    if (one === image() && event.page === state.page) await predict();
  } else if (kind === "labels" && event.session !== project.session) {
    if (canvas !== null && canvas.image === event.image && canvas.page === event.page && last === null) {
      const [top, left, height, width] = event.box!;
      await reload(canvas, { top, left, height, width });
    }
  } else if (kind === "tabs") project.tabs = event.tabs!;
  else if (kind === "classes") await classesChanged(await request<Project>("/api/project"));
  refresh();
}

function listen(): void {
  const source = events<Event>(`/api/project/events?session=${state.project!.session}`, (event, kind) => void hear(event, kind).catch(fail), () => setTimeout(listen, 2000), ["training", "prediction", "labels", "tabs", "classes", "suggestion"]);
  source.addEventListener("error", () => { state.connected = false; refresh(); });
  source.addEventListener("open", () => {
    const again = !state.connected;
    state.connected = true;
    outbox?.hurry();
    refresh();
    if (again) void request<Project>("/api/project").then((now) => { Object.assign(state.project!, { training: now.training, images: now.images }); update(); }).catch(fail);
  });
}

async function classesChanged(now: Project): Promise<void> {
  Object.assign(state.project!, { classes: now.classes, training: now.training, images: now.images });
  state.of_class = Math.min(state.of_class, now.classes.length);
  canvas?.recolour(colours());
  fillClasses();
  if (now.images[state.image]!.versions[state.page] === null) forecast = null;
  else await predict();
  update();
}

async function saveClasses(classes: Class[]): Promise<void> {
  await classesChanged(await post<Project>("/api/project/classes", { classes: classes.map(({ name, colour }) => ({ name, colour })) }));
}

/** Bring the viewer's layers in line with the state. */
function show(): void {
  const one = image();
  if (one === null || canvas === null) return;
  const contrast = `low=${state.low}&high=${state.high}`;
  const layers = new Map<string, Layer>();
  layers.set("image", {
    tiles: (level, column, row) => `/api/project/images/${one.id}/tiles/${state.page}/${level}/${column}_${row}.png?${contrast}`,
    version: `${one.id} ${state.page} ${contrast}`,
    opacity: 1,
  });
  viewer.layers(layers);
  viewer.redraw();
  showMap();
}

/** Labels, prediction, the tool and the window to paint in, over the tiles. */
function draw(context: CanvasRenderingContext2D, scale: number): void {
  if (canvas === null) return;
  context.imageSmoothingEnabled = scale < 1;
  if (forecast !== null && state.shown.prediction) {
    context.globalAlpha = state.opacity.prediction;
    context.drawImage(forecast.picture, 0, 0);
  }
  if (state.shown.labels) {
    context.globalAlpha = state.opacity.labels;
    context.drawImage(canvas.picture, 0, 0);
  }
  context.globalAlpha = 1;
  const twice = (path: () => void) => {
    for (const [colour, width] of [["#000", 3], ["#fff", 1.25]] as const) {
      context.beginPath();
      context.strokeStyle = colour;
      context.lineWidth = width / scale;
      path();
      context.stroke();
    }
  };
  const told = state.suggestion;
  if (told !== null && told.image === canvas.image && told.page === canvas.page) {
    context.setLineDash([6 / scale, 4 / scale]);
    twice(() => context.rect(told.box[1], told.box[0], told.box[3], told.box[2]));
    context.setLineDash([]);
  }
  if (corners.length > 0) {
    const shown = pointer === null ? corners : [...corners, pointer];
    twice(() => shown.forEach((at, place) => (place === 0 ? context.moveTo(at.x, at.y) : context.lineTo(at.x, at.y))));
  }
  if (pointer !== null && (state.tool === "brush" || state.tool === "eraser") && !panning()) {
    const at = pointer;
    twice(() => context.arc(at.x, at.y, Math.max(state.size / 2, 0.5), 0, 2 * Math.PI));
  }
}

const viewer = new Viewer(draw, (url) => { if (state.connected) ask(url).catch(fail); });
const above = viewer.canvas;

above.addEventListener("pointerdown", (event) => {
  if (canvas === null) return;
  viewer.element.focus({ preventScroll: true });
  above.setPointerCapture(event.pointerId);
  if (event.button !== 0) {
    panned = { x: event.clientX, y: event.clientY };
    return;
  }
  const at = viewer.position(event);
  if (state.tool === "brush" || state.tool === "eraser") {
    canvas.begin();
    canvas.line(at, at, state.size, value());
    last = at;
    viewer.redraw();
  } else use(at);
});
above.addEventListener("pointermove", (event) => {
  pointer = viewer.position(event);
  if (panned !== null) {
    viewer.move((panned.x - event.clientX) / above.clientWidth, (panned.y - event.clientY) / above.clientHeight);
    panned = { x: event.clientX, y: event.clientY };
  }
  if (last !== null && canvas !== null) {
    for (const one of event.getCoalescedEvents().concat(event)) {
      const at = viewer.position(one);
      canvas.line(last, at, state.size, value());
      last = at;
    }
  }
  viewer.redraw();
});
for (const name of ["pointerup", "pointercancel"] as const) {
  above.addEventListener(name, () => {
    panned = null;
    if (last !== null) {
      last = null;
      finish();
    }
  });
}
above.addEventListener("pointerleave", () => { pointer = null; viewer.redraw(); });
above.addEventListener("dblclick", () => { if (state.tool === "polygon") closePolygon(); });
above.addEventListener("contextmenu", (event) => event.preventDefault());
above.addEventListener("wheel", (event) => {
  event.preventDefault();
  if (event.ctrlKey || event.metaKey) viewer.zoom(Math.exp(-event.deltaY / 300), viewer.position(event));
  else resize(event.deltaY < 0 ? 1 : -1);
}, { passive: false });

function resize(direction: number): void {
  const step = Math.max(1, Math.round(state.size / 6));
  state.size = Math.min(Math.max(state.size + direction * step, 1), 200);
  update();
}

function choose(tool: Tool): void {
  if (state.tool === "polygon") corners = [];
  state.tool = tool;
  viewer.navigation(panning());
  viewer.element.classList.toggle("panning", panning());
  update();
}

function turn(page: number): void {
  const pages = image()?.pages ?? 1;
  const wanted = Math.min(Math.max(page, 0), pages - 1);
  if (wanted !== state.page) void open(state.image, wanted).catch(fail);
}

// Before the viewer, whose 1 shows pixel for pixel: here numbers are classes.
addEventListener("keydown", (event) => {
  const typing = event.target instanceof HTMLInputElement && event.target.type === "text";
  if (state.project === null || typing || event.altKey) return;
  const key = event.key.toLowerCase();
  const button = event.target instanceof HTMLButtonElement || event.target instanceof HTMLElement && event.target.matches("summary, select, input");
  if (event.ctrlKey || event.metaKey) {
    if (key === "z") void undo(event.shiftKey ? undone : done, event.shiftKey ? done : undone, !event.shiftKey).catch(fail);
    else if (key === "y") void undo(undone, done, false).catch(fail);
    else return;
  } else if (/^[1-9]$/.test(key)) {
    if (Number(key) > state.project.classes.length) return;
    state.of_class = Number(key);
    if (state.tool === "eraser") state.tool = "brush";
    update();
  } else if (TOOL_KEYS[key] !== undefined) choose(TOOL_KEYS[key]);
  else if (key === "n") void next().catch(fail);
  else if (key === "t") void train().catch(fail);
  else if (key === "o") { state.shown.prediction = !state.shown.prediction; update(); }
  else if (key === "z") viewer.pixels();
  else if (key === "[" || key === "]") resize(key === "]" ? 1 : -1);
  else if (key === "pagedown" || key === "pageup") turn(state.page + (key === "pagedown" ? 1 : -1));
  else if (key === "escape") { corners = []; viewer.redraw(); }
  else if (key === " " && !button) {
    if (!event.repeat) { state.space = true; viewer.navigation(true); viewer.element.classList.add("panning"); }
  } else if (key === "enter" && !button) {
    if (state.tool === "polygon" && corners.length > 2 && document.activeElement !== viewer.element) closePolygon();
    else {
      const box = viewer.element.getBoundingClientRect();
      use(viewer.position({ clientX: box.left + box.width / 2, clientY: box.top + box.height / 2 }));
    }
  } else return;
  event.preventDefault();
  event.stopPropagation();
}, { capture: true });
addEventListener("keyup", (event) => {
  if (event.key !== " " || !state.space) return;
  state.space = false;
  viewer.navigation(panning());
  viewer.element.classList.toggle("panning", panning());
});
addEventListener("beforeunload", (event) => { if ((outbox?.count ?? 0) > 0) event.preventDefault(); });

function toolbar(): HTMLElement {
  const tools = TOOLS.map((tool) => {
    const title = () => t(tool);
    const pressed = () => String(state.tool === tool);
    return el("button", { type: "button", className: "icon", id: `tool-${tool}`, title, set: { "aria-label": title, "aria-pressed": pressed }, on: { click: () => choose(tool) } }, icon(ICONS[tool]));
  });
  const step = (name: "undo" | "redo", none: () => boolean, click: () => void) => el("button", { type: "button", className: "icon", title: () => t(name), disabled: none, set: { "aria-label": () => t(name) }, on: { click } }, icon(name));
  const back = step("undo", () => done.length === 0, () => void undo(done, undone, true).catch(fail));
  const again = step("redo", () => undone.length === 0, () => void undo(undone, done, false).catch(fail));
  return el("div", { className: "tools", set: { role: "toolbar", "aria-orientation": "vertical" } }, ...tools, el("hr"), back, again);
}
const list = el("ul", { className: "classes", set: { "aria-label": () => t("classes") } });
function fillClasses(): void {
  const classes = state.project?.classes ?? [];
  list.replaceChildren(...classes.map((one, at) => {
    const pick = el("button", { type: "button", className: "pick", set: { "aria-pressed": () => String(state.of_class === at + 1) }, on: { click: () => { state.of_class = at + 1; if (state.tool === "eraser") choose("brush"); update(); } } }, el("span", { className: "swatch", style: { background: one.colour } }), el("span", { className: "grow clip" }, one.name), el("kbd", {}, one.key));
    const name = el("input", { type: "text", value: one.name, maxLength: 80, set: { "aria-label": () => t("className", { count: at + 1 }) }, on: { change: () => void saveClasses(classes.map((other) => (other === one ? { ...one, name: name.value } : other))).catch(fail) } });
    const colour = el("input", { type: "color", value: one.colour, set: { "aria-label": () => t("classColour", { name: one.name }) }, on: { change: () => void saveClasses(classes.map((other) => (other === one ? { ...one, colour: colour.value } : other))).catch(fail) } });
    return el("li", { className: () => (state.of_class === at + 1 ? "chosen" : "") }, ...(state.editing ? [colour, name] : [pick]));
  }));
}

const PALETTE = ["#2f6fde", "#f08a24", "#2aa876", "#d6336c", "#8e5bd9", "#c9a400", "#17a2b8", "#7d8597"];
function classSection(): HTMLElement {
  const edit = el("button", { type: "button", className: "bare", on: { click: () => { state.editing = !state.editing; fillClasses(); update(); } } }, () => t(state.editing ? "done" : "edit"));
  const add = el("button", { type: "button", hidden: () => !state.editing, on: { click: () => {
    const classes = state.project!.classes;
    void saveClasses([...classes, { name: t("newClass", { count: classes.length + 1 }), colour: PALETTE[classes.length % PALETTE.length]!, key: "" }]).catch(fail);
  } } }, icon("plus"), () => t("addClass"));
  const size = slider({ label: () => t("size"), min: () => 1, max: () => 60, step: () => 1, value: () => state.size, show: (now) => `${now} px`, change: (now) => { state.size = now; update(); } });
  return el("section", { className: "section" }, el("div", { className: "row" }, el("h2", { className: "grow" }, () => t("classes")), edit), list, add, size);
}

const chart = new Chart(() => t("chart"));
function trainingSection(): HTMLElement {
  const now = () => state.project?.training;
  const words = { waiting: "waiting", training: "trains", idle: "idle", paused: "paused", failed: "failed" } as const;
  const status = () => {
    const training = now();
    if (training === undefined) return "";
    // The worker hears of the button a little later.
    const word = training.started ? (training.state === "paused" ? "starting" : words[training.state]) : training.state === "failed" ? "failed" : "paused";
    return `${t(word)}${training.step > 0 ? ` · ${t("step", { step: number(training.step) })}` : ""}`;
  };
  const figure = (one: number | null | undefined) => (one === null || one === undefined ? "–" : number(one, 3));
  const button = el("button", { type: "button", className: "primary grow", on: { click: () => void train().catch(fail) } }, () => t(now()?.started === true ? "pause" : "train"));
  button.id = "train";
  const automatic = el("input", { type: "checkbox", id: "automatic", checked: () => now()?.automatic === true, on: { change: () => {
    void trainByItself(automatic.checked).catch((error: unknown) => { automatic.checked = !automatic.checked; fail(error); });
  } } });
  const guide = el("button", { type: "button", className: "grow", on: { click: () => void next().catch(fail) } }, icon("next"), () => t("next"));
  const dice = () => (now()?.dice === null || now()?.dice === undefined ? t("noDice") : figure(now()?.dice));
  return section(
    () => t("training"), () => false, el("div", { className: "row" }, button), el("label", { className: "row" }, automatic, () => t("automatic")),
    el("p", { className: "numbers", set: { role: "status" } }, status), el("div", { hidden: () => state.history.length < 2 }, chart.element),
    el("p", { className: "quiet numbers row wrap" }, el("span", {}, el("span", { className: "key-loss" }), () => `${t("loss")} ${figure(now()?.loss)}`), el("span", {}, el("span", { className: "key-dice" }), () => `${t("dice")} ${dice()}`)),
    el("div", { className: "row" }, guide),
  );
}

function layersSection(): HTMLElement {
  const control = (name: "labels" | "prediction") => layerControl(
    () => t(name), () => state.shown[name], (shown) => { state.shown[name] = shown; update(); },
    { value: () => state.opacity[name], change: (now) => { state.opacity[name] = now; update(); } },
  );
  const take = el("button", { type: "button", className: "grow", on: { click: acceptSeen } }, icon("check"), () => t("acceptAll"));
  return section(() => t("layers"), () => false, control("labels"), control("prediction"), el("div", { className: "row", hidden: () => forecast === null }, take));
}

const images = el("select", {
  className: "grow", hidden: () => (state.project?.images.length ?? 0) < 2, value: () => String(state.image),
  set: { "aria-label": () => t("image") }, on: { change: () => {
    const at = Number(images.value);
    void open(at, Math.min(state.page, state.project!.images[at]!.pages - 1)).catch(fail);
  } },
});
/** A large image as a map of its parts, for the pointer; `images` has them all, too. */
const map = el("div", { className: "map", hidden: () => image()?.part == null, set: { "aria-hidden": "true" } });
let mapped = "";
function showMap(): void {
  const here = image();
  if (here?.part == null) return;
  const { of, height, width } = here.part;
  const parts = state.project!.images.map((one, at) => ({ one, at, part: one.part })).filter(({ part }) => part?.of === of);
  if (mapped !== `${of} ${state.page}`) {
    mapped = `${of} ${state.page}`;
    map.style.aspectRatio = `${width} / ${height}`;
    map.style.backgroundImage = `url("/api/project/images/${here.id}/overview/${state.page}.png")`;
    map.replaceChildren(...parts.map(({ at, one, part }) => el("button", {
      type: "button", tabIndex: -1, title: one.name,
      style: Object.fromEntries((["top", "left", "height", "width"] as const).map((side, place) => [side, `${(100 * part!.box[place]!) / (place % 2 === 0 ? height : width)}%`])),
      on: { click: () => void open(at, state.page).catch(fail) },
    })));
  }
  [...map.children].forEach((child, place) => {
    const { at, one } = parts[place]!;
    child.className = `${at === state.image ? "here" : ""} ${one.painted[state.page]! > 0 ? "painted" : ""}`;
  });
}

function imageSection(): HTMLElement {
  const page = slider({ label: () => t("page"), min: () => 1, max: () => image()?.pages ?? 1, step: () => 1, value: () => state.page + 1, show: (now) => `${now}/${image()?.pages ?? 1}`, change: (now) => turn(now - 1), hidden: () => (image()?.pages ?? 1) < 2 });
  const reset = () => { [state.low, state.high] = state.range; update(); };
  const share = () => t("painted", { share: `${number(100 * (image()?.painted[state.page] ?? 0), 2)} %` });
  return el(
    "section", { className: "section" }, el("h2", {}, () => t("image")), images, map, page, el("p", { className: "quiet numbers" }, share),
    ...contrastControls(state, () => state.range, whenResting(show), reset),
  );
}

function keysSection(): HTMLElement {
  const keys = [["1–9", "keyClass"], ["[ ]", "keySize"], ["+ −", "keyZoom"], ["PgUp PgDn", "keyPage"], ["↑ ↓ ← →", "keyMove"], ["O", "keyHide"], ["Enter", "keyEnter"]] as const;
  const rows = keys.flatMap(([key, words]) => [el("dt", {}, el("kbd", {}, key)), el("dd", {}, () => t(words))]);
  return el("section", { className: "section" }, el("details", {}, el("summary", {}, () => t("keys")), el("dl", { className: "keys" }, ...rows)));
}

const unsaved = () => (outbox?.count ?? 0) > 0;
const saved = el("span", { className: () => (unsaved() ? "unsaved numbers" : "saved numbers"), set: { role: "status" } }, () => (unsaved() ? t("unsaved", { count: outbox!.count }) : t("saved")));
const lost = el("span", { className: "unsaved", hidden: () => state.connected }, () => t("lost"));
const several = el("div", { className: "section quiet", hidden: () => (state.project?.tabs ?? 1) < 2, set: { role: "status" } }, () => t("tabs", { count: state.project?.tabs ?? 1 }));
const problem = el("div", { className: "section", hidden: () => state.error === null }, errorLine(() => state.error, () => { state.error = null; update(); }));
const begin = el("p", { className: "hint", hidden: () => state.project === null || state.project.images.some((one) => one.painted.some((share) => share > 0)) }, () => t("begin"));
const buttons = viewer.buttons(() => t("pixel"));
document.body.append(
  el(
    "div", { className: "page" },
    bar("unetkit", el("strong", { className: "clip" }, () => state.project?.name ?? ""), saved, lost, el("span", { className: "grow" })),
    el("main", { className: "stage", set: { "aria-busy": () => String(canvas === null) } }, viewer.element, toolbar(), begin, buttons),
    el("aside", { className: "side" }, problem, several, classSection(), trainingSection(), layersSection(), imageSection(), keysSection()),
  ),
);
async function start(): Promise<void> {
  const project = await request<Project>("/api/project");
  Object.assign(state, { project, history: project.training.history });
  fillClasses();
  images.replaceChildren(...project.images.map((one, at) => el("option", { value: String(at) }, one.name)));
  outbox = new Outbox(project.folder, () => refresh(), fail);
  await outbox.open();
  listen();
  chart.show(state.history);
  const painted = project.images.findIndex((one) => one.painted.some((share) => share > 0));
  const first = Math.max(painted, 0);
  await open(first, Math.max(project.images[first]!.painted.findIndex((share) => share > 0), 0));
}
start().catch(fail);
