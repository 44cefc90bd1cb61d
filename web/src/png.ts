// PNG, read and written without the browser's canvas, which would cut sixteen bits down to eight and mix colours.
// Compression is the browser's own (CompressionStream).
import type { Planes } from "./normalize";

const SIGNATURE = [0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a];

export function isPng(bytes: Uint8Array): boolean {
  return SIGNATURE.every((value, at) => bytes[at] === value);
}

async function through(bytes: Uint8Array, stream: CompressionStream | DecompressionStream): Promise<Uint8Array> {
  const piped = new Blob([bytes as Uint8Array<ArrayBuffer>]).stream().pipeThrough(stream as ReadableWritablePair<Uint8Array<ArrayBuffer>, Uint8Array<ArrayBuffer>>);
  return new Uint8Array(await new Response(piped).arrayBuffer());
}

/** Compress as zlib does. */
export function deflate(bytes: Uint8Array): Promise<Uint8Array> {
  return through(bytes, new CompressionStream("deflate"));
}

const CHANNELS: Record<number, number> = { 0: 1, 2: 3, 3: 1, 4: 2, 6: 4 };
const ADAM7 = [[0, 0, 8, 8], [4, 0, 8, 8], [0, 4, 4, 8], [2, 0, 4, 4], [0, 2, 2, 4], [1, 0, 2, 2], [0, 1, 1, 2]] as const;

/** Decode to planes of 8 or 16 bits without alpha; of a palette its colours, or greys where all of them are. */
export async function decodePng(bytes: Uint8Array): Promise<Planes> {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const [width, height, depth, colour, interlaced] = [view.getUint32(16), view.getUint32(20), bytes[24]!, bytes[25]!, bytes[28] === 1];
  const data: Uint8Array[] = [];
  let palette = new Uint8Array();
  for (let at = 8; at + 12 <= bytes.length; ) {
    const length = view.getUint32(at);
    const kind = String.fromCharCode(...bytes.subarray(at + 4, at + 8));
    if (kind === "IDAT") data.push(bytes.subarray(at + 8, at + 8 + length));
    if (kind === "PLTE") palette = bytes.slice(at + 8, at + 8 + length);
    at += 12 + length;
  }
  const packed = new Uint8Array(await new Blob(data as Uint8Array<ArrayBuffer>[]).arrayBuffer());
  const raw = await through(packed, new DecompressionStream("deflate"));
  const samples = CHANNELS[colour]!;
  const values = depth === 16 ? new Uint16Array(width * height * samples) : new Uint8Array(width * height * samples);
  let at = 0;
  for (const [left, top, across, down] of interlaced ? ADAM7 : ([[0, 0, 1, 1]] as const)) {
    const [columns, rows] = [Math.ceil((width - left) / across), Math.ceil((height - top) / down)];
    if (columns <= 0 || rows <= 0) continue;
    const stride = Math.ceil((columns * samples * depth) / 8);
    unfilter(raw.subarray(at, at + rows * (stride + 1)), rows, stride, Math.max(1, (samples * depth) / 8));
    for (let row = 0; row < rows; row += 1) {
      const line = raw.subarray(at + row * (stride + 1) + 1, at + (row + 1) * (stride + 1));
      for (let column = 0; column < columns; column += 1) {
        const to = ((top + row * down) * width + left + column * across) * samples;
        for (let sample = 0; sample < samples; sample += 1) values[to + sample] = valueAt(line, column * samples + sample, depth);
      }
    }
    at += rows * (stride + 1);
  }
  if (colour === 3) return coloured(values as Uint8Array, palette, width, height);
  if (colour === 0 && depth < 8) for (let one = 0; one < values.length; one += 1) values[one]! *= 255 / (2 ** depth - 1);
  return planes(values, samples, width, height, samples > 2 ? 3 : 1);
}

function valueAt(line: Uint8Array, at: number, depth: number): number {
  if (depth === 8) return line[at]!;
  if (depth === 16) return (line[2 * at]! << 8) | line[2 * at + 1]!;
  const bit = at * depth;
  return (line[bit >> 3]! >> (8 - depth - (bit & 7))) & (2 ** depth - 1);
}

function unfilter(lines: Uint8Array, rows: number, stride: number, back: number): void {
  for (let row = 0; row < rows; row += 1) {
    const start = row * (stride + 1) + 1;
    const kind = lines[start - 1]!;
    for (let at = 0; at < stride; at += 1) {
      const left = at >= back ? lines[start + at - back]! : 0;
      const above = row > 0 ? lines[start + at - stride - 1]! : 0;
      const corner = row > 0 && at >= back ? lines[start + at - stride - 1 - back]! : 0;
      const guess = kind === 0 ? 0 : kind === 1 ? left : kind === 2 ? above : kind === 3 ? (left + above) >> 1 : paeth(left, above, corner);
      lines[start + at]! += guess;
    }
  }
}

function paeth(left: number, above: number, corner: number): number {
  const [a, b, c] = [Math.abs(above - corner), Math.abs(left - corner), Math.abs(left + above - 2 * corner)];
  return a <= b && a <= c ? left : b <= c ? above : corner;
}

/** From values that lie pixel by pixel to planes; of the samples of a pixel the first `channels`. */
export function planes<T extends Uint8Array | Uint16Array | Uint8ClampedArray>(values: T, samples: number, width: number, height: number, channels: number): Planes {
  const count = width * height;
  const result = values instanceof Uint16Array ? new Uint16Array(channels * count) : new Uint8Array(channels * count);
  for (let channel = 0; channel < channels; channel += 1) {
    for (let at = 0; at < count; at += 1) result[channel * count + at] = values[at * samples + channel]!;
  }
  return { channels, height, width, values: result };
}

function coloured(indices: Uint8Array, palette: Uint8Array, width: number, height: number): Planes {
  const grey = palette.every((value, at) => value === palette[at - (at % 3)]);
  const rgb = new Uint8Array(indices.length * 3);
  indices.forEach((index, at) => rgb.set(palette.subarray(3 * index, 3 * index + 3), 3 * at));
  return planes(rgb, 3, width, height, grey ? 1 : 3);
}

/** Encode grey values of 8 bits. */
export async function encodePng(values: Uint8Array, width: number, height: number): Promise<Uint8Array> {
  const lines = new Uint8Array(height * (width + 1)); // each line after the number of its filter, 0: none
  for (let row = 0; row < height; row += 1) lines.set(values.subarray(row * width, (row + 1) * width), row * (width + 1) + 1);
  const header = new Uint8Array(13);
  const view = new DataView(header.buffer);
  view.setUint32(0, width);
  view.setUint32(4, height);
  header[8] = 8;
  return joined([new Uint8Array(SIGNATURE), chunk("IHDR", header), chunk("IDAT", await deflate(lines)), chunk("IEND", new Uint8Array())]);
}

export function joined(parts: Uint8Array[]): Uint8Array {
  const result = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    result.set(part, at);
    at += part.length;
  }
  return result;
}

const CRC = Uint32Array.from({ length: 256 }, (_, index) => {
  let value = index;
  for (let bit = 0; bit < 8; bit += 1) value = value & 1 ? 0xedb88320 ^ (value >>> 1) : value >>> 1;
  return value;
});

function chunk(kind: string, content: Uint8Array): Uint8Array {
  const result = new Uint8Array(content.length + 12);
  const view = new DataView(result.buffer);
  view.setUint32(0, content.length);
  for (let at = 0; at < 4; at += 1) result[4 + at] = kind.charCodeAt(at);
  result.set(content, 8);
  let crc = 0xffffffff;
  for (const byte of result.subarray(4, content.length + 8)) crc = CRC[(crc ^ byte) & 255]! ^ (crc >>> 8);
  view.setUint32(content.length + 8, ~crc >>> 0);
  return result;
}
