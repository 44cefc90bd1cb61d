// The course of a training: the loss, falling, and the Dice of what is held out, rising, on one canvas.
import { el } from "./dom";

export type Point = [step: number, loss: number, dice: number | null];

export class Chart {
  readonly element: HTMLCanvasElement;
  private points: readonly Point[] = [];

  constructor(label: () => string) {
    this.element = el("canvas", { className: "chart", set: { role: "img", "aria-label": label } });
    new ResizeObserver(() => this.draw()).observe(this.element);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.draw());
  }

  show(points: readonly Point[]): void {
    this.points = points;
    this.draw();
  }

  draw(): void {
    const [width, height, ratio] = [this.element.clientWidth, this.element.clientHeight, devicePixelRatio];
    this.element.width = Math.round(width * ratio);
    this.element.height = Math.round(height * ratio);
    const context = this.element.getContext("2d")!;
    context.scale(ratio, ratio);
    const colours = getComputedStyle(this.element); // the style sheet says which colour is which line's
    context.strokeStyle = colours.borderTopColor;
    context.strokeRect(0.5, 0.5, width - 1, height - 1);
    if (this.points.length < 2) return;
    const [first, last] = [this.points[0]![0], this.points.at(-1)![0]];
    const across = (step: number) => 4 + ((step - first) / Math.max(last - first, 1)) * (width - 8);
    const highest = Math.max(...this.points.map(([, loss]) => loss));
    const line = (of: (point: Point) => number | null, style: string) => {
      context.beginPath();
      context.strokeStyle = style;
      context.lineWidth = 1.75;
      context.lineJoin = "round";
      for (const point of this.points) {
        const share = of(point);
        if (share !== null) context.lineTo(across(point[0]), height - 5 - share * (height - 10));
      }
      context.stroke();
    };
    line(([, loss]) => loss / highest, colours.outlineColor);
    line(([, , dice]) => dice, colours.color);
  }
}
