// From pixels as stored to what the network was trained on, in single precision as data/normalize.py does it; and
// images brought to one size, as data/resize.py does it.

export type Samples = Uint8Array | Uint16Array | Uint32Array | Int8Array | Int16Array | Int32Array | Float32Array | Float64Array;

/** Pixels [C, H, W] as stored. */
export interface Planes {
  channels: number;
  height: number;
  width: number;
  values: Samples;
}

/** Which pixels of an image are shown, and in which order. */
export interface Shown {
  /** Indices in the image of each row that is shown, and of each column; with `swap`, of columns and rows. */
  rows: Int32Array;
  columns: Int32Array;
  swap: boolean;
  /** Rows and columns of what is shown that lie in the image, where zeros are around it; null: it is mirrored. */
  inside: [top: number, bottom: number, left: number, right: number] | null;
}

/** (pixels - mean) / std of what is shown of an image. */
export function normalized(image: Planes, { rows, columns, swap, inside }: Shown, mean: number[], std: number[]): Float32Array {
  const { channels, height, width, values } = image;
  const [down, across] = swap ? [1, width] : [width, 1];
  const result = new Float32Array(channels * rows.length * columns.length);
  let at = 0;
  for (let channel = 0; channel < channels; channel += 1) {
    const shift = Math.fround(mean[channel]!);
    const scale = Math.fround(std[channel]!);
    for (let row = 0; row < rows.length; row += 1) {
      const line = channel * height * width + rows[row]! * down;
      for (let column = 0; column < columns.length; column += 1, at += 1) {
        if (inside !== null && (row < inside[0] || row >= inside[1] || column < inside[2] || column >= inside[3])) continue;
        result[at] = Math.fround(Math.fround(values[line + columns[column]! * across]!) - shift) / scale;
      }
    }
  }
  return result;
}

/** An image [C, H, W] of another size, bilinear between the four nearest pixels. */
export function resized(image: Planes, height: number, width: number, kind: "half-pixel" | "asymmetric"): Planes & { values: Float32Array } {
  const [rows, columns] = [grid(image.height, height, kind), grid(image.width, width, kind)];
  const values = new Float32Array(image.channels * height * width);
  let at = 0;
  for (let channel = 0; channel < image.channels; channel += 1) {
    for (let row = 0; row < height; row += 1) {
      const above = (channel * image.height + rows.low[row]!) * image.width;
      const below = (channel * image.height + rows.high[row]!) * image.width;
      const share = rows.weight[row]!;
      for (let column = 0; column < width; column += 1, at += 1) {
        const [left, right] = [columns.low[column]!, columns.high[column]!];
        const first = lerp(image.values[above + left]!, image.values[below + left]!, share);
        const second = lerp(image.values[above + right]!, image.values[below + right]!, share);
        values[at] = lerp(first, second, columns.weight[column]!);
      }
    }
  }
  return { channels: image.channels, height, width, values };
}

function lerp(low: number, high: number, weight: number): number {
  return Math.fround(low + Math.fround(weight * Math.fround(high - low)));
}

function grid(length: number, side: number, kind: "half-pixel" | "asymmetric"): { low: Int32Array; high: Int32Array; weight: Float32Array } {
  const scale = Math.fround(Math.fround(length) / Math.fround(side));
  const [low, high, weight] = [new Int32Array(side), new Int32Array(side), new Float32Array(side)];
  for (let target = 0; target < side; target += 1) {
    const place = kind === "half-pixel" ? Math.fround(Math.fround((target + 0.5) * scale) - 0.5) : Math.fround(target * scale);
    const held = Math.min(Math.max(place, 0), length - 1);
    low[target] = Math.floor(held);
    high[target] = Math.min(low[target]! + 1, length - 1);
    weight[target] = held - low[target]!;
  }
  return { low, high, weight };
}
