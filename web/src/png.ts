// Grey PNG images of 8 bits, lossless both ways: labels must arrive as they were painted, and a canvas would make
// colours of them.
const CRC = new Uint32Array(256).map((_, byte) => {
  let value = byte;
  for (let bit = 0; bit < 8; bit += 1) value = value & 1 ? 0xedb88320 ^ (value >>> 1) : value >>> 1;
  return value;
});

function chunk(name: string, content: Uint8Array): Uint8Array {
  const whole = new Uint8Array(content.length + 12);
  const view = new DataView(whole.buffer);
  view.setUint32(0, content.length);
  for (let place = 0; place < 4; place += 1) whole[4 + place] = name.charCodeAt(place);
  whole.set(content, 8);
  let sum = 0xffffffff;
  for (const byte of whole.subarray(4, 8 + content.length)) sum = CRC[(sum ^ byte) & 255]! ^ (sum >>> 8);
  view.setUint32(8 + content.length, (sum ^ 0xffffffff) >>> 0);
  return whole;
}

/** Encode values [height * width], row by row; base64. */
export async function toPng(values: Uint8Array, width: number, height: number): Promise<string> {
  const rows = new Uint8Array(height * (width + 1)); // each row begins with the number of its filter: 0, none
  for (let row = 0; row < height; row += 1) rows.set(values.subarray(row * width, (row + 1) * width), row * (width + 1) + 1);
  const packed = new Blob([rows]).stream().pipeThrough(new CompressionStream("deflate"));
  const header = new Uint8Array(13);
  const view = new DataView(header.buffer);
  view.setUint32(0, width);
  view.setUint32(4, height);
  header[8] = 8;
  const parts = [
    Uint8Array.of(137, 80, 78, 71, 13, 10, 26, 10), chunk("IHDR", header),
    chunk("IDAT", new Uint8Array(await new Response(packed).arrayBuffer())), chunk("IEND", new Uint8Array()),
  ];
  let text = "";
  for (const part of parts) for (let at = 0; at < part.length; at += 8192) text += String.fromCharCode(...part.subarray(at, at + 8192));
  return btoa(text);
}

export interface Pixels {
  data: Uint8ClampedArray;
  width: number;
  height: number;
}

/** Fetch an image and return its red, green, blue and alpha, untouched; null where there is none. */
export async function fetchPixels(path: string): Promise<Pixels | null> {
  const answer = await fetch(path, { credentials: "same-origin" });
  if (!answer.ok) return null;
  const options = { colorSpaceConversion: "none", premultiplyAlpha: "none" } as const;
  const bitmap = await createImageBitmap(await answer.blob(), options);
  const canvas = new OffscreenCanvas(bitmap.width, bitmap.height);
  const context = canvas.getContext("2d", { willReadFrequently: true })!;
  context.drawImage(bitmap, 0, 0);
  return context.getImageData(0, 0, bitmap.width, bitmap.height);
}
