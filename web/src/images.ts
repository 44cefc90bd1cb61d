// Image files as planes of pixels as stored: PNG, JPEG, and TIFF with its pages; and masks as TIFF.
// What comes in is what the command would read; what it would read otherwise is refused.
import { fromBlob, type GeoTIFF, type GeoTIFFImage } from "geotiff";
import type { Planes, Samples } from "./normalize";
import { decodePng, isPng, joined, planes } from "./png";

/** A file that is no image that this page reads; `reason` is a key of the page's words. */
export class ImageError extends Error {
  constructor(readonly reason: "notImage" | "damaged" | "planes", readonly values: Record<string, string | number> = {}) {
    super(reason);
  }
}

export interface ImageFile {
  pages: number;
  channels: number;
  width: number;
  height: number;
  dtype: string;
  /** The pixels of a page, all its channels. */
  read: (page: number) => Promise<Planes>;
}

const TYPES: Record<string, string> = {
  Uint8Array: "uint8", Uint16Array: "uint16", Uint32Array: "uint32", Int8Array: "int8", Int16Array: "int16", Int32Array: "int32",
  Float32Array: "float32", Float64Array: "float64",
};

export async function openImage(file: Blob): Promise<ImageFile> {
  const head = new Uint8Array(await file.slice(0, 16).arrayBuffer());
  const mark = String.fromCharCode(...head.subarray(0, 4));
  try {
    if (isPng(head)) return single(await decodePng(new Uint8Array(await file.arrayBuffer())));
    if (head[0] === 0xff && head[1] === 0xd8) return single(await decodeJpeg(new Uint8Array(await file.arrayBuffer())));
    if (["II*\0", "MM\0*", "II+\0", "MM\0+"].includes(mark)) return await openTiff(await fromBlob(file));
  } catch (error) {
    throw error instanceof ImageError ? error : new ImageError("damaged", { why: error instanceof Error ? error.message : String(error) });
  }
  throw new ImageError("notImage");
}

function single(image: Planes): ImageFile {
  const { channels, width, height, values } = image;
  return { pages: 1, channels, width, height, dtype: TYPES[values.constructor.name]!, read: () => Promise.resolve(image) };
}

const FRAMES = new Set([0xc0, 0xc1, 0xc2, 0xc3, 0xc5, 0xc6, 0xc7, 0xc9, 0xca, 0xcb]);

/** Decode by the browser, without what would turn the image or change its colours: notes of cameras and profiles. */
async function decodeJpeg(bytes: Uint8Array): Promise<Planes> {
  const kept: Uint8Array[] = [bytes.subarray(0, 2)];
  let [at, components] = [2, 0];
  while (at + 4 <= bytes.length && bytes[at] === 0xff) {
    const kind = bytes[at + 1]!;
    const next = at + 2 + ((bytes[at + 2]! << 8) | bytes[at + 3]!);
    if (FRAMES.has(kind)) components = bytes[at + 9]!;
    if (kind === 0xda) break;
    if (kind !== 0xe1 && kind !== 0xe2) kept.push(bytes.subarray(at, next)); // EXIF, ICC
    at = next;
  }
  kept.push(bytes.subarray(at));
  if (components !== 1 && components !== 3) throw new ImageError("planes", { found: components });
  const blob = new Blob(kept as Uint8Array<ArrayBuffer>[], { type: "image/jpeg" });
  const bitmap = await createImageBitmap(blob, { colorSpaceConversion: "none", premultiplyAlpha: "none" });
  const context = new OffscreenCanvas(bitmap.width, bitmap.height).getContext("2d", { willReadFrequently: true })!;
  context.drawImage(bitmap, 0, 0);
  const { data } = context.getImageData(0, 0, bitmap.width, bitmap.height);
  return planes(data, 4, bitmap.width, bitmap.height, components);
}

const [WHITE_IS_ZERO, SEPARATED, COLOURED] = [0, 5, [2, 6, 8]];

/** How many pages that follow each other are channels of one: ImageJ and tifffile say so in the description; some writers
 * call the slices of a stack so. */
function channelsOf(description: string): number {
  const shaped = /^\{.*"axes": "[A-Z]*CYX"/.test(description) ? /"shape": \[(?:\d+, )*(\d+), \d+, \d+\]/.exec(description) : null;
  if (shaped !== null) return Number(shaped[1]);
  if (!description.startsWith("ImageJ=")) return 1;
  const said = new Map(description.split("\n").map((line) => line.split("=") as [string, string]));
  const more = Number(said.get("slices") ?? 1) > 1 || Number(said.get("frames") ?? 1) > 1;
  return more || ["composite", "color"].includes(said.get("mode") ?? "") ? Number(said.get("channels") ?? 1) : 1;
}

async function openTiff(tiff: GeoTIFF): Promise<ImageFile> {
  const count = await tiff.getImageCount();
  const first = await tiff.getImage(0);
  const [width, height, samples] = [first.getWidth(), first.getHeight(), first.getSamplesPerPixel()];
  if (!first.littleEndian && first.getBitsPerSample() > 8 && (await first.fileDirectory.loadValue("Predictor")) === 2) {
    throw new ImageError("damaged", { why: "big-endian with differences, which the reader takes for little-endian" });
  }
  const photometric = Number(first.fileDirectory.getValue("PhotometricInterpretation"));
  if (photometric === SEPARATED) throw new ImageError("damaged", { why: `${samples} channels of ink` });
  const alpha = [...((first.fileDirectory.getValue("ExtraSamples") ?? []) as ArrayLike<number> & Iterable<number>)].filter((kind) => kind === 1 || kind === 2).length;
  const together = samples === 1 ? channelsOf(String((await first.fileDirectory.loadValue("ImageDescription")) ?? "")) : 1;
  const channels = together > 1 ? together : COLOURED.includes(photometric) && samples <= 4 ? 3 : Math.max(1, samples - alpha);
  const read = async (page: number): Promise<Planes> => {
    const parts: Samples[] = [];
    for (let one = 0; one < together; one += 1) {
      const image = await tiff.getImage(page * together + one);
      if (image.getWidth() !== width || image.getHeight() !== height) throw new ImageError("damaged", { why: "its pages have different sizes" });
      parts.push(...(await rasters(image, Math.min(samples, channels))));
    }
    const values = new (parts[0]!.constructor as new (length: number) => Samples)(width * height * channels);
    parts.forEach((part, at) => values.set(part, at * width * height));
    return { channels, height, width, values };
  };
  const [bits, format] = [first.getBitsPerSample(), first.getSampleFormat()];
  return { pages: Math.max(1, Math.floor(count / together)), channels, width, height, dtype: `${{ 2: "int", 3: "float" }[format] ?? "uint"}${bits}`, read };
}

async function rasters(image: GeoTIFFImage, channels: number): Promise<Samples[]> {
  const found = (await image.readRasters({ interleave: false, samples: [...Array(channels).keys()] })) as unknown as Samples[];
  const inverted = image.fileDirectory.getValue("PhotometricInterpretation") === WHITE_IS_ZERO;
  const whole = [...found].slice(0, channels);
  if (!inverted || image.getSampleFormat() === 3) return whole;
  const top = 2 ** image.getBitsPerSample() - 1;
  return whole.map((values) => values.map((value) => top - value));
}

/** Encode pages of grey values of 8 bits, which Fiji and tifffile open as a stack. */
export function encodeTiff(pages: Uint8Array[], width: number, height: number, white: number): Uint8Array {
  const size = width * height;
  const text = new TextEncoder().encode(`ImageJ=1.11a\nimages=${pages.length}\nslices=${pages.length}\nmin=0\nmax=${white}\n\0`);
  const start = 8 + text.length + (text.length % 2);
  const length = 2 + 12 * 10 + 4;
  const header = new Uint8Array(start);
  header.set([0x49, 0x49, 42, 0], 0);
  new DataView(header.buffer).setUint32(4, start, true);
  header.set(text, 8);
  const parts = [header];
  const pixels = start + length * pages.length;
  pages.forEach((_, page) => {
    const directory = new DataView(new ArrayBuffer(length));
    const entries: [tag: number, kind: 2 | 3 | 4, count: number, value: number][] = [
      [254, 4, 1, 0], [256, 4, 1, width], [257, 4, 1, height], [258, 3, 1, 8], [259, 3, 1, 1], [262, 3, 1, 1],
      [270, 2, text.length, 8], [273, 4, 1, pixels + page * size], [278, 4, 1, height], [279, 4, 1, size],
    ];
    directory.setUint16(0, entries.length, true);
    entries.forEach(([tag, kind, count, value], at) => {
      directory.setUint16(2 + 12 * at, tag, true);
      directory.setUint16(4 + 12 * at, kind, true);
      directory.setUint32(6 + 12 * at, count, true);
      if (kind === 3) directory.setUint16(10 + 12 * at, value, true);
      else directory.setUint32(10 + 12 * at, value, true);
    });
    directory.setUint32(length - 4, page + 1 < pages.length ? start + (page + 1) * length : 0, true);
    parts.push(new Uint8Array(directory.buffer));
  });
  return joined([...parts, ...pages]);
}
