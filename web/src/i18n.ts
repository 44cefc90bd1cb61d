// English and Chinese. A page's words are pairs, so a missing translation does not compile; the field's terms stand in
// one glossary, and every page has them.
import { el, iconButton, refresh } from "./dom";

export type Words = Record<string, readonly [en: string, zh: string]>;

export const glossary = {
  image: ["Image", "图像"],
  mask: ["Mask", "掩码"],
  masks: ["Masks", "掩码"],
  objects: ["Objects", "实例"],
  outlines: ["Outlines", "轮廓"],
  probability: ["Probability", "概率"],
  probabilities: ["Probabilities", "概率"],
  uncertainty: ["Uncertainty", "不确定性"],
  threshold: ["Threshold", "阈值"],
  opacity: ["Opacity", "不透明度"],
  contrast: ["Contrast", "对比度"],
  black: ["Black", "黑点"],
  white: ["White", "白点"],
  reset: ["Reset", "重置"],
  page: ["Slice", "切片"],
  model: ["Model", "模型"],
  class: ["Class", "类别"],
  classes: ["Classes", "类别"],
  layers: ["Layers", "图层"],
  number: ["No.", "编号"],
  area: ["Area", "面积"],
  score: ["Score", "得分"],
  width: ["Width", "宽度"],
  height: ["Height", "高度"],
  training: ["Training", "训练"],
  loss: ["Loss", "损失"],
  download: ["Download", "下载"],
  cancel: ["Cancel", "取消"],
  close: ["Close", "关闭"],
  zoomIn: ["Zoom in (+)", "放大 (+)"],
  zoomOut: ["Zoom out (−)", "缩小 (−)"],
  fit: ["Whole image (0)", "适合窗口 (0)"],
  pixels: ["Pixel for pixel (1)", "原始像素 (1)"],
  viewer: ["Image viewer: arrow keys move, plus and minus zoom, 0 shows all", "图像查看器：方向键移动，加减键缩放，0 键显示全图"],
  theme: ["Light or dark", "浅色或深色"],
  language: ["中文", "English"],
  unreachable: ["The server does not answer; see whether it still runs, and try again", "服务器没有响应；请确认它仍在运行，然后重试"],
} as const satisfies Words;

export type Language = "en" | "zh";
let language: Language = (stored("language") ?? navigator.language).startsWith("zh") ? "zh" : "en";
document.documentElement.lang = language;
document.documentElement.dataset["theme"] = stored("theme") ?? "";

function stored(name: string): string | null {
  try { return localStorage.getItem(name); } catch { return null; }
}

function store(name: string, value: string): void {
  try { localStorage.setItem(name, value); } catch { /* a browser that keeps nothing forgets the choice */ }
}

/** Make the function that says a page's words: `t("painted", { share: "3 %" })` fills in `{share}`. */
export function translator<W extends Words>(words: W): (key: keyof W, values?: Record<string, string | number>) => string {
  return (key, values = {}) => {
    const text = words[key]![language === "en" ? 0 : 1];
    return text.replace(/\{(\w+)\}/g, (whole, name: string) => String(values[name] ?? whole));
  };
}

/** A number as the language writes it, with at most so many digits after the point. */
export function number(value: number, digits = 0): string {
  return value.toLocaleString(language === "en" ? "en" : "zh-CN", { maximumFractionDigits: digits });
}

/** A span of time to go by: whole seconds, minutes or hours, as the language writes them. */
export function duration(seconds: number): string {
  const [value, unit] = seconds < 90 ? [seconds, "second"] : seconds < 5400 ? [seconds / 60, "minute"] : [seconds / 3600, "hour"];
  const style = { style: "unit", unit, unitDisplay: "short", maximumFractionDigits: 0 } as const;
  return new Intl.NumberFormat(language === "en" ? "en" : "zh-CN", style).format(Math.ceil(value));
}

/** The two switches of every page: language, and light or dark. */
export function switches(): HTMLElement {
  const t = translator(glossary);
  const toggle = () => {
    language = language === "en" ? "zh" : "en";
    document.documentElement.lang = language;
    store("language", language);
    refresh();
  };
  const dark = () => {
    const root = document.documentElement;
    const now = root.dataset["theme"] || (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light");
    root.dataset["theme"] = now === "dark" ? "light" : "dark";
    store("theme", root.dataset["theme"]);
  };
  const lang = () => (language === "en" ? "zh" : "en");
  const other = el("button", { type: "button", className: "bare", set: { lang }, on: { click: toggle } }, () => t("language"));
  const theme = iconButton("theme", () => t("theme"), dark);
  theme.classList.add("bare");
  return el("div", { className: "row" }, other, theme);
}
