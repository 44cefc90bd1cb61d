// The labels of one page as they are painted: tools that change them, what they changed, and a picture of them.
// Labels are 0 where nothing is painted, else the number of a class from 1. Positions are pixels, x right and y down.

export const UNCHANGED = 255;

/** Pixels that one action changed. */
export interface Change {
  image: string;
  page: number;
  pixels: number[];
  before: number[];
  after: number[];
}

export interface Point {
  x: number;
  y: number;
}

export interface Box {
  top: number;
  left: number;
  height: number;
  width: number;
}

export type Colours = readonly (readonly [red: number, green: number, blue: number])[];

export class Page {
  readonly labels: Uint8Array;
  readonly picture: OffscreenCanvas;
  /** How many pixels are painted. */
  painted = 0;
  private readonly context: OffscreenCanvasRenderingContext2D;
  private change: Change | null = null;

  constructor(readonly image: string, readonly page: number, readonly width: number, readonly height: number, private colours: Colours) {
    this.labels = new Uint8Array(width * height);
    this.picture = new OffscreenCanvas(width, height);
    this.context = this.picture.getContext("2d")!;
  }

  /** Begin an action; `end` returns what it changed, null where nothing did. */
  begin(): void {
    this.change = { image: this.image, page: this.page, pixels: [], before: [], after: [] };
  }

  end(): Change | null {
    const change = this.change;
    this.change = null;
    return change !== null && change.pixels.length > 0 ? change : null;
  }

  private set(pixel: number, value: number): void {
    const before = this.labels[pixel]!;
    if (before === value) return;
    this.labels[pixel] = value;
    this.painted += Number(value > 0) - Number(before > 0);
    this.change?.pixels.push(pixel);
    this.change?.before.push(before);
    this.change?.after.push(value);
  }

  /** Paint all pixels within `size / 2` of a line. */
  line(from: Point, to: Point, size: number, value: number): void {
    const radius = Math.max(size / 2, 0.5);
    const [dx, dy] = [to.x - from.x, to.y - from.y];
    const length = dx * dx + dy * dy;
    const box = this.clip(Math.min(from.x, to.x) - radius, Math.min(from.y, to.y) - radius, Math.max(from.x, to.x) + radius, Math.max(from.y, to.y) + radius);
    for (let row = box.top; row < box.top + box.height; row += 1) {
      for (let column = box.left; column < box.left + box.width; column += 1) {
        const [x, y] = [column + 0.5 - from.x, row + 0.5 - from.y];
        const along = length === 0 ? 0 : Math.min(Math.max((x * dx + y * dy) / length, 0), 1);
        if ((x - along * dx) ** 2 + (y - along * dy) ** 2 <= radius * radius) this.set(row * this.width + column, value);
      }
    }
    this.show(box);
  }

  /** Paint what lies inside corners. */
  polygon(corners: readonly Point[], value: number): void {
    const box = this.clip(Math.min(...corners.map(({ x }) => x)), Math.min(...corners.map(({ y }) => y)), Math.max(...corners.map(({ x }) => x)), Math.max(...corners.map(({ y }) => y)));
    for (let row = box.top; row < box.top + box.height; row += 1) {
      const y = row + 0.5;
      const cuts: number[] = [];
      corners.forEach((one, place) => {
        const next = corners[(place + 1) % corners.length]!;
        if (one.y <= y !== next.y <= y) cuts.push(one.x + ((y - one.y) / (next.y - one.y)) * (next.x - one.x));
      });
      cuts.sort((one, other) => one - other);
      for (let pair = 0; pair + 1 < cuts.length; pair += 2) {
        const last = Math.min(Math.ceil(cuts[pair + 1]! - 0.5), this.width);
        for (let column = Math.max(Math.ceil(cuts[pair]! - 0.5), 0); column < last; column += 1) this.set(row * this.width + column, value);
      }
    }
    this.show(box);
  }

  /** Paint what is connected with a pixel and alike in `of`; the label of each pixel is what `value` says of it. */
  fill(at: Point, of: Uint8Array, value: (pixel: number) => number): void {
    const start = this.pixel(at);
    if (start === null) return;
    const kind = of[start]!;
    const seen = new Uint8Array(this.labels.length);
    const found = [start];
    seen[start] = 1;
    let [top, left, bottom, right] = [this.height, this.width, 0, 0];
    while (found.length > 0) {
      const pixel = found.pop()!;
      const [row, column] = [Math.floor(pixel / this.width), pixel % this.width];
      [top, left, bottom, right] = [Math.min(top, row), Math.min(left, column), Math.max(bottom, row), Math.max(right, column)];
      for (const [near, inside] of [
        [pixel - this.width, row > 0], [pixel + this.width, row + 1 < this.height],
        [pixel - 1, column > 0], [pixel + 1, column + 1 < this.width],
      ] as const) {
        if (!inside || seen[near] === 1 || of[near] !== kind) continue;
        seen[near] = 1;
        found.push(near);
      }
    }
    for (let pixel = top * this.width; pixel < (bottom + 1) * this.width; pixel += 1) if (seen[pixel] === 1) this.set(pixel, value(pixel));
    this.show({ top, left, height: bottom - top + 1, width: right - left + 1 });
  }

  /** Give every pixel of a box the label that `value` says of it. */
  each(box: Box, value: (pixel: number) => number): void {
    for (let row = box.top; row < box.top + box.height; row += 1) {
      for (let pixel = row * this.width + box.left; pixel < row * this.width + box.left + box.width; pixel += 1) this.set(pixel, value(pixel));
    }
    this.show(box);
  }

  /** Put values to pixels, as undo and redo do. */
  put(pixels: readonly number[], values: readonly number[]): void {
    pixels.forEach((pixel, place) => this.set(pixel, values[place]!));
    this.show(this.around(pixels));
  }

  /** The smallest box around pixels. */
  around(pixels: readonly number[]): Box {
    let [top, left, bottom, right] = [this.height, this.width, 0, 0];
    for (const pixel of pixels) {
      const [row, column] = [Math.floor(pixel / this.width), pixel % this.width];
      [top, left, bottom, right] = [Math.min(top, row), Math.min(left, column), Math.max(bottom, row), Math.max(right, column)];
    }
    return { top, left, height: bottom - top + 1, width: right - left + 1 };
  }

  /** The values of a box that is sent: of these pixels, and elsewhere "unchanged". */
  boxed(box: Box, pixels: readonly number[], values: readonly number[]): Uint8Array {
    const content = new Uint8Array(box.height * box.width).fill(UNCHANGED);
    pixels.forEach((pixel, place) => {
      const [row, column] = [Math.floor(pixel / this.width) - box.top, (pixel % this.width) - box.left];
      content[row * box.width + column] = values[place]!;
    });
    return content;
  }

  pixel(at: Point): number | null {
    const [row, column] = [Math.floor(at.y), Math.floor(at.x)];
    return row >= 0 && column >= 0 && row < this.height && column < this.width ? row * this.width + column : null;
  }

  clip(left: number, top: number, right: number, bottom: number): Box {
    const [first, above] = [Math.max(Math.floor(left), 0), Math.max(Math.floor(top), 0)];
    const [last, below] = [Math.min(Math.ceil(right), this.width), Math.min(Math.ceil(bottom), this.height)];
    return { top: above, left: first, height: Math.max(below - above, 0), width: Math.max(last - first, 0) };
  }

  recolour(colours: Colours): void {
    this.colours = colours;
    this.show({ top: 0, left: 0, height: this.height, width: this.width });
  }

  /** Bring the picture of a box up to date. */
  show(box: Box): void {
    if (box.width <= 0 || box.height <= 0) return;
    const shown = this.context.createImageData(box.width, box.height);
    for (let row = 0; row < box.height; row += 1) {
      for (let column = 0; column < box.width; column += 1) {
        const colour = this.colours[this.labels[(box.top + row) * this.width + box.left + column]! - 1];
        if (colour !== undefined) shown.data.set([...colour, 255], 4 * (row * box.width + column));
      }
    }
    this.context.putImageData(shown, box.left, box.top);
  }
}

/** A picture of a prediction, each pixel the fainter the less sure it is. */
export function predicted(classes: Uint8Array, confidence: Uint8Array, width: number, height: number, colours: Colours): OffscreenCanvas {
  const canvas = new OffscreenCanvas(width, height);
  const context = canvas.getContext("2d")!;
  const shown = context.createImageData(width, height);
  const least = 255 / Math.max(colours.length, 2);
  for (let pixel = 0; pixel < classes.length; pixel += 1) {
    const sure = Math.min((confidence[pixel]! - least) / (255 - least), 1);
    shown.data.set([...(colours[classes[pixel]!] ?? [0, 0, 0]), Math.max(60, 255 * sure)], 4 * pixel);
  }
  context.putImageData(shown, 0, 0);
  return canvas;
}

export function rgb(colour: string): [number, number, number] {
  return [1, 3, 5].map((at) => parseInt(colour.slice(at, at + 2), 16)) as [number, number, number];
}
