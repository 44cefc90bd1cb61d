// The page of `unetkit serve`: an image goes to the server, its tiles and those of what is made of it come back.
import "./theme.css";
import { ApiError, ask, events, post, request, upload, type Job, type Model, type ObjectTable, type Output, type Picture } from "./api";
import { bar, contrastControls, emptyStage, errorLine, layerControl, section, slider, whenResting } from "./controls";
import { el, icon, iconButton, refresh } from "./dom";
import { chooser, onDrop } from "./drop";
import { duration, glossary, number, translator } from "./i18n";
import { records, Table, type Found } from "./table";
import { Viewer, type Layer } from "./viewer";

const t = translator({
  ...glossary,
  drop: ["Drop an image here", "将图像拖到这里"],
  choose: ["Choose an image", "选择图像"],
  hint: [
    "TIFF, PNG, JPEG and whatever else the command reads. It goes to this server alone, and is deleted with all that was made of it.",
    "支持 TIFF、PNG、JPEG 以及命令行能读取的其他格式。图像只发送到本服务器，并会连同所有结果一起删除。",
  ],
  uploading: ["Sending {name}", "正在发送 {name}"],
  reading: ["Reading {name}", "正在读取 {name}"],
  remove: ["Remove the image", "移除图像"],
  run: ["Segment", "分割"],
  again: ["Segment again", "重新分割"],
  queued: ["Waiting for its turn", "排队中"],
  running: ["Segmenting", "正在分割"],
  done: ["Done", "完成"],
  failed: ["Failed", "失败"],
  cancelled: ["Cancelled", "已取消"],
  speed: ["{rate} Mpx/s", "{rate} 百万像素/秒"],
  left: ["{time} left", "剩余 {time}"],
  asTrained: ["auto", "自动"],
  applies: ["So far in the view alone; files keep what the network decided.", "目前仅影响显示；文件仍按网络的判定。"],
  apply: ["Apply to files and objects", "应用到文件和实例"],
  file: ["File", "文件"],
  noObjects: ["No objects were found.", "未找到实例。"],
  channel: ["Channel", "通道"],
  choice: ["The network takes {wanted} of the {found} channels. Choose, then segment.", "网络需要 {found} 个通道中的 {wanted} 个。请选择后再分割。"],
  restarted: [
    "The server ended while it worked on this image, and was started again. Send the image again; if that ends it once more, its log says by what.",
    "服务器在处理该图像时意外终止，现已重新启动。请重新发送图像；若再次终止，请查看服务器日志。",
  ],
  noModels: ["The server has no model.", "服务器上没有模型。"],
});

type Name = "labels" | "objects" | "probability" | "uncertainty";

const state = {
  models: [] as Model[],
  model: "",
  picture: null as Picture | null,
  sending: null as { name: string; share: number; stop: AbortController } | null,
  job: null as Job | null,
  of: null as Model | null, // the model of the job
  version: 0, // of the job's tiles: they are fetched again while it runs
  page: 0,
  low: 0,
  high: 255,
  threshold: null as number | null,
  applied: null as number | null,
  channels: [] as number[], // that the network gets of an image with more; empty: all
  of_class: 1,
  shown: { labels: true, objects: true, probability: false, uncertainty: false } as Record<Name, boolean>,
  opacity: { labels: 0.5, objects: 0.9, probability: 0.7, uncertainty: 0.7 } as Record<Name, number>,
  found: null as Found[] | null,
  chosen: null as Found | null,
  error: null as string | null,
};
let listening: EventSource | null = null;
let stale = false; // more is computed than the layers show

const model = () => state.models.find((one) => one.name === state.model) ?? null;
const active = () => state.job !== null && (state.job.state === "queued" || state.job.state === "running");

/** Let the channels be chosen where the image has more than the network takes, beginning with the first. */
function chooseChannels(): void {
  const [found, wanted] = [state.picture?.channels ?? 0, model()?.channels ?? 0];
  state.channels = found > wanted ? Array.from({ length: wanted }, (_, at) => at) : [];
  channels.replaceChildren(...state.channels.map((first, place) => {
    const options = Array.from({ length: found }, (_, at) => el("option", { value: String(at), selected: at === first }, String(at + 1)));
    const one = el("select", { set: { "aria-label": () => `${t("channel")} ${place + 1}` }, on: { change: () => { state.channels[place] = Number(one.value); update(); } } }, ...options);
    return el("label", { className: "row" }, () => t("channel"), one);
  }));
}
const channels = el("div", { className: "row wrap", hidden: () => state.channels.length === 0 });

function fail(error: unknown): void {
  if (error instanceof DOMException && error.name === "AbortError") return;
  state.error = error instanceof Error ? error.message : String(error);
  update();
}

function update(): void {
  refresh();
  show();
}

async function open(file: File): Promise<void> {
  state.sending?.stop.abort();
  await remove();
  const sending = { name: file.name, share: 0, stop: new AbortController() };
  Object.assign(state, { sending, error: null });
  update();
  const form = new FormData();
  form.append("image", file, file.name);
  try {
    const progress = (share: number) => { sending.share = share; refresh(); };
    const picture = await upload<Picture>("/api/images", form, progress, sending.stop.signal);
    Object.assign(state, { picture, page: 0, low: picture.range[0], high: picture.range[1] });
    chooseChannels();
    update(); // the viewer must have its size before it opens an image
    viewer.open(picture);
    if (state.channels.length === 0) start().catch(fail);
  } catch (error) {
    fail(error);
  } finally {
    if (state.sending === sending) state.sending = null;
    update();
    if (state.picture !== null) viewer.element.focus();
  }
}

/** Forget the image, here and on the server. */
async function remove(): Promise<void> {
  const picture = state.picture;
  listening?.close();
  Object.assign(state, { picture: null, job: null, of: null, found: null, chosen: null, threshold: null, applied: null });
  viewer.close();
  update();
  if (picture !== null) await request(`/api/images/${picture.id}`, { method: "DELETE" }).catch(() => undefined);
}

async function start(given: Record<string, number> = {}): Promise<void> {
  const picture = state.picture;
  if (picture === null || model() === null) return;
  if (active()) await cancel();
  const of = model();
  const keys = state.channels.length === 0 ? given : { ...given, "predict.channels": state.channels };
  const { job } = await post<{ job: string }>(`/api/images/${picture.id}/jobs`, { model: state.model, keys });
  if (state.picture !== picture) return;
  Object.assign(state, { of, found: null, chosen: null, error: null, applied: given["predict.threshold"] ?? null });
  if (state.of_class >= of!.classes.length) state.of_class = 1;
  listening?.close();
  listening = events<Job>(`/api/jobs/${job}/events`, (now) => follow(now).catch(fail), () => lost(job).catch(fail));
}

/** Take what the server says of the job. When more is computed, its tiles are fetched again, about once a second at most,
 * and not before those of the last time are there: a server that is busy is not asked for more than it gives. */
async function follow(job: Job): Promise<void> {
  const before = state.job;
  state.job = job;
  stale ||= before?.id !== job.id || before.done !== job.done || before.state !== job.state;
  if (stale && (before?.id !== job.id || !active() || (!viewer.loading && Date.now() - state.version > 1200))) {
    state.version = Date.now();
    stale = false;
  }
  if (!active()) listening?.close();
  if (job.state === "failed") state.error = job.error ?? t("failed");
  update();
  if (job.state !== "done" || state.of?.can.includes("objects") !== true || job.objects === null) return;
  const found = records(await request<ObjectTable>(`/api/jobs/${job.id}/objects`));
  if (state.job !== job) return;
  state.found = found;
  table.show(found, (state.picture?.pages ?? 1) > 1);
  update();
}

/** The events ended without the job's end: ask once, which tells what became of it. */
async function lost(id: string): Promise<void> {
  try {
    await follow(await request<Job>(`/api/jobs/${id}`));
  } catch (error) {
    if (state.job !== null) state.job = { ...state.job, state: "failed" };
    throw error instanceof ApiError && error.status === 404 ? new Error(t("restarted")) : error;
  }
}

async function cancel(): Promise<void> {
  if (state.job !== null) await request(`/api/jobs/${state.job.id}`, { method: "DELETE" });
}

/** Bring the viewer's layers in line with the state. */
function show(): void {
  const { picture, job, page } = state;
  if (picture === null) return;
  const layers = new Map<string, Layer>();
  const channel = state.channels.length === 1 ? `&channel=${state.channels[0]}` : "";
  const contrast = `low=${state.low}&high=${state.high}${channel}`;
  layers.set("image", {
    tiles: (level, column, row) => `/api/images/${picture.id}/tiles/${page}/${level}/${column}_${row}.png?${contrast}`,
    version: `${page} ${contrast}`,
    opacity: 1,
  });
  for (const name of ["probability", "uncertainty", "labels", "objects"] as const) {
    const layer = layerOf(name);
    if (job === null || layer === null || !state.shown[name]) continue;
    const threshold = name === "labels" && state.threshold !== null ? `&threshold=${state.threshold}` : "";
    const query = `v=${state.version}${threshold}`;
    layers.set(name, {
      tiles: (level, column, row) => `/api/jobs/${job.id}/tiles/${encodeURIComponent(layer)}/${page}/${level}/${column}_${row}.png?${query}`,
      version: `${job.id} ${layer} ${page} ${query}`,
      opacity: state.opacity[name],
    });
  }
  viewer.layers(layers);
  viewer.redraw();
}

/** The server's name of a layer; null: this job has no such layer, or not yet. */
function layerOf(name: Name): string | null {
  const layer = name === "probability" ? `probability:${state.of?.classes[state.of_class] ?? ""}` : name;
  return state.job?.layers.includes(layer) === true ? layer : null;
}

const later = whenResting(show);

/** The frame around the chosen object. */
function draw(context: CanvasRenderingContext2D, scale: number): void {
  const box = boxOf(state.chosen);
  if (box === null || state.chosen!["page"] !== state.page) return;
  const room = 4 / scale;
  for (const [colour, width] of [["#000", 4], ["#fff", 2]] as const) {
    context.strokeStyle = colour;
    context.lineWidth = width / scale;
    context.strokeRect(box.x - room, box.y - room, box.width + 2 * room, box.height + 2 * room);
  }
}

function boxOf(found: Found | null): { x: number; y: number; width: number; height: number } | null {
  if (found === null) return null;
  const [x, y, width, height] = ["x", "y", "width", "height"].map((name) => Number(found[name]));
  return { x: x!, y: y!, width: width!, height: height! };
}

const viewer = new Viewer(draw, (url) => {
  // Layers come and go; the image itself stays, so that a tile of it that is missing has a reason, which the server says.
  const picture = state.picture;
  if (picture === null || !url.startsWith(`/api/images/${picture.id}/`)) return;
  ask(url).catch((error: unknown) => { if (state.picture === picture && state.error === null) fail(error); });
});
viewer.element.addEventListener("keydown", (event) => {
  if (event.target !== viewer.element) return;
  if (event.key === "PageDown" || event.key === "PageUp") turn(state.page + (event.key === "PageDown" ? 1 : -1));
  else if (event.key === "m") { state.shown.labels = !state.shown.labels; update(); }
  else return;
  event.preventDefault();
});
const table = new Table((found) => {
  state.chosen = found;
  turn(Number(found["page"] ?? 0));
  const box = boxOf(found)!;
  viewer.flyTo(box.x, box.y, box.width, box.height);
});

function turn(page: number): void {
  state.page = Math.min(Math.max(page, 0), (state.picture?.pages ?? 1) - 1);
  update();
}

const take = (file: File) => void open(file);
const { input, choose } = chooser("", take);
const hasPicture = () => state.picture !== null;

function facts(): string {
  const picture = state.picture;
  if (picture === null) return "";
  const sizes = [picture.pixel_size].flat().filter((size) => size !== null);
  const channels = picture.channels > 1 ? ` · ${picture.channels} ch` : "";
  const physical = sizes.length > 0 ? ` · ${number(sizes[0]!, 4)} ${picture.unit ?? ""}/px` : "";
  return `${number(picture.width)} × ${number(picture.height)} px · ${picture.dtype}${channels}${physical}`;
}

function modelSection(): HTMLElement {
  const select = el("select", { set: { "aria-label": () => t("model") }, on: { change: () => { state.model = select.value; chooseChannels(); update(); } } });
  const list = el("ul", { className: "row wrap legend", set: { "aria-label": () => t("classes") } });
  const fill = () => {
    select.replaceChildren(...state.models.map((one) => el("option", { value: one.name, selected: one.name === state.model }, one.name)));
    const one = model();
    const classes = one?.classes.map((name, at) => [name, one.colours[at] ?? ""] as const) ?? [];
    list.replaceChildren(...classes.slice(1).map(([name, colour]) => el("li", { className: "row" }, el("span", { className: "swatch", style: { background: colour } }), name)));
  };
  const label = () => (state.job === null ? t("run") : t("again"));
  const run = el("button", { type: "button", className: "primary grow", hidden: () => !hasPicture() || active(), on: { click: () => void start().catch(fail) } }, label);
  const none = el("p", { className: "quiet", hidden: () => state.models.length > 0 || state.error !== null }, () => t("noModels"));
  const choice = el("p", { className: "quiet", hidden: () => state.channels.length === 0 }, () => t("choice", { wanted: state.channels.length, found: state.picture?.channels ?? 0 }));
  watchModels.push(fill);
  select.addEventListener("change", fill);
  return section(() => t("model"), () => false, select, none, list, choice, channels, run);
}
const watchModels: (() => void)[] = [];

function progressSection(): HTMLElement {
  const status = () => {
    const job = state.job;
    if (job === null) return "";
    const rate = job.megapixels_per_second === null ? [] : [t("speed", { rate: number(job.megapixels_per_second, 2) })];
    const left = active() && job.seconds_left !== null ? [t("left", { time: duration(job.seconds_left) })] : [];
    return [...rate, ...left].join(" · ");
  };
  const meter = el("progress", { max: 1, value: () => (state.job === null || state.job.total === 0 ? 0 : state.job.done / state.job.total), hidden: () => !active(), set: { "aria-label": () => t("running") } });
  const stop = el("button", { type: "button", hidden: () => !active(), on: { click: () => void cancel().catch(fail) } }, () => t("cancel"));
  const line = el("div", { className: "row" }, el("p", { className: "grow" }, el("strong", { set: { role: "status" } }, () => (state.job === null ? "" : t(state.job.state))), el("br"), el("span", { className: "quiet numbers" }, status)), stop);
  return el("section", { className: "section", hidden: () => state.job === null }, line, meter);
}

function imageSection(): HTMLElement {
  const name = el("strong", { className: "grow clip", title: () => state.picture?.name ?? "" }, () => state.picture?.name ?? "");
  const close = iconButton("close", () => t("remove"), () => void remove());
  close.classList.add("bare");
  const page = slider({
    label: () => t("page"), min: () => 1, max: () => state.picture?.pages ?? 1, step: () => 1, value: () => state.page + 1,
    show: (value) => `${value}/${state.picture?.pages ?? 1}`, change: (value) => turn(value - 1), hidden: () => (state.picture?.pages ?? 1) < 2,
  });
  const range = (): [number, number] => state.picture?.range ?? [0, 255];
  const span = () => range()[1] - range()[0] || 1;
  // The range is what most pixels are in; there is some more on either side, as far as the type goes.
  const least = () => Math.max(range()[0] - span() / 2, state.picture?.dtype.startsWith("u") ? 0 : -Infinity);
  const most = () => Math.min(range()[1] + span() / 2, state.picture?.dtype === "uint8" ? 255 : Infinity);
  const reset = () => { [state.low, state.high] = range(); update(); };
  return el(
    "section", { className: "section", hidden: () => !hasPicture() },
    el("div", { className: "row" }, name, close), el("p", { className: "quiet numbers" }, facts), page,
    ...contrastControls(state, () => [least(), most()], later, reset),
  );
}

function layersSection(): HTMLElement {
  const control = (name: Name, title: () => string) => layerControl(
    title, () => state.shown[name], (shown) => { state.shown[name] = shown; update(); },
    { value: () => state.opacity[name], change: (value) => { state.opacity[name] = value; update(); }, hidden: () => layerOf(name) === null },
  );
  const ofClass = el("select", { set: { "aria-label": () => `${t("probability")}: ${t("class")}` }, on: { change: () => { state.of_class = Number(ofClass.value); update(); } } });
  let filled: Model | null = null;
  const classes = el("div", {
    className: "field",
    hidden: () => {
      if (state.of !== filled) ofClass.replaceChildren(...(state.of?.classes ?? []).map((name, at) => el("option", { value: String(at), selected: at === state.of_class }, name)));
      filled = state.of;
      return layerOf("probability") === null || !state.shown.probability || (filled?.classes.length ?? 0) < 3;
    },
  }, el("span", {}, () => t("class")), ofClass);
  const threshold = slider({
    label: () => t("threshold"), min: () => 0.02, max: () => 0.98, step: () => 0.02, value: () => state.threshold ?? 0.5,
    show: () => (state.threshold === null ? t("asTrained") : number(state.threshold, 2)), change: (value) => { state.threshold = value; later(); },
    hidden: () => layerOf("labels") === null,
  });
  const changed = () => state.threshold !== state.applied && !active();
  const keys = () => ({ "predict.threshold": state.threshold!, "objects.threshold": state.threshold! });
  const apply = el("button", { type: "button", className: "grow", on: { click: () => void start(state.threshold === null ? {} : keys()).catch(fail) } }, () => t("apply"));
  const reset = el("button", { type: "button", className: "bare", on: { click: () => { state.threshold = state.applied; update(); } } }, () => t("reset"));
  return section(
    () => t("layers"), () => (state.job?.layers.length ?? 0) === 0,
    control("labels", () => t("mask")), control("objects", () => t("outlines")), control("probability", () => t("probability")), classes, control("uncertainty", () => t("uncertainty")),
    threshold, el("p", { className: "quiet", hidden: () => !changed() }, () => t("applies")), el("div", { className: "row", hidden: () => !changed() }, apply, reset),
  );
}

function objectsSection(): HTMLElement {
  const title = () => `${t("objects")}${state.found === null ? "" : ` (${number(state.found.length)})`}`;
  const none = el("p", { className: "quiet", hidden: () => state.found?.length !== 0 }, () => t("noObjects"));
  const rows = el("div", { hidden: () => (state.found?.length ?? 0) === 0 }, table.element);
  return section(title, () => state.found === null, none, rows);
}

function downloadSection(): HTMLElement {
  const select = el("select", { className: "grow", set: { "aria-label": () => t("file") }, on: { change: () => refresh() } });
  let filled = "";
  const fill = () => {
    const key = `${state.of?.name} ${document.documentElement.lang}`;
    if (filled === key) return;
    filled = key;
    const groups = Object.entries(state.of?.formats ?? {}) as [Output, string[]][];
    select.replaceChildren(...groups.map(([output, suffixes]) => {
      const group = el("optgroup", { label: t(output) });
      group.append(...suffixes.map((suffix) => el("option", { value: `output=${output}&format=${encodeURIComponent(suffix)}` }, `${t(output)} ${suffix}`)));
      return group;
    }));
  };
  const link = el("a", { className: "button", href: () => { fill(); return state.job === null ? "" : `/api/jobs/${state.job.id}/result?${select.value}`; }, set: { download: "" } }, icon("download"), () => t("download"));
  return section(() => t("download"), () => state.job?.state !== "done", el("div", { className: "row" }, select, link));
}

const sending = el(
  "div", { className: "drop", hidden: () => state.sending === null, set: { role: "status" } },
  el("h2", {}, () => t((state.sending?.share ?? 0) < 1 ? "uploading" : "reading", { name: state.sending?.name ?? "" })),
  el("progress", { max: 1, value: () => state.sending?.share ?? 0, style: { "max-width": "320px" }, set: { "aria-label": () => t("uploading", { name: state.sending?.name ?? "" }) } }),
  el("button", { type: "button", on: { click: () => state.sending?.stop.abort() } }, () => t("cancel")),
);
const pick = el("button", { type: "button", className: "primary", on: { click: choose } }, () => t("choose"));
const another = el("button", { type: "button", hidden: () => !hasPicture(), on: { click: choose } }, icon("image"), () => t("choose"));
const buttons = viewer.buttons();
const stage = el(
  "main", { className: "stage" },
  el("div", { hidden: () => !hasPicture() }, viewer.element, buttons),
  emptyStage(() => t("drop"), () => t("hint"), pick, () => hasPicture() || state.sending !== null),
  sending,
);
const problem = el("div", { className: "section", hidden: () => state.error === null }, errorLine(() => state.error, () => { state.error = null; update(); }));
document.body.append(
  el(
    "div", { className: "page" },
    bar("unetkit", el("span", { className: "grow" }), another, input),
    stage,
    el("aside", { className: "side" }, problem, modelSection(), progressSection(), imageSection(), layersSection(), objectsSection(), downloadSection()),
  ),
);
onDrop(stage, take);
addEventListener("pagehide", () => {
  if (state.picture !== null) void fetch(`/api/images/${state.picture.id}`, { method: "DELETE", keepalive: true });
});

request<Model[]>("/api/models").then((models) => {
  Object.assign(state, { models, model: models[0]?.name ?? "" });
  for (const fill of watchModels) fill();
  update();
}).catch((error: unknown) => fail(error instanceof ApiError ? error : new Error(t("unreachable"))));
