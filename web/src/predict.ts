// An image through the network: tiles, flips and turns, probabilities, blending; and what is decided from those.
// The same numbers as prediction/predictor.py up to the rounding of single precision. Does not know the runtime.
import { dataClasses, type Card } from "./card";
import { normalized, resized, type Planes } from "./normalize";
import { begin, end, makePlan, mirrored, weights, windowOf, type Plan, type Span } from "./tiling";

/** The network: normalised pixels [1, C, H, W] in, logits [1, L, h, w] out. */
export type Network = (pixels: Float32Array, height: number, width: number) => Promise<{ logits: Float32Array; channels: number; height: number; width: number }>;

/** A finished part of an image: probabilities [K, bottom - top, right - left]. */
export interface Part {
  top: number;
  left: number;
  height: number;
  width: number;
  probabilities: Float32Array;
}

interface Symmetry {
  swap: boolean;
  flipRows: boolean;
  flipColumns: boolean;
}

const EIGHT: Symmetry[] = [false, true].flatMap((swap) => [false, true].flatMap((flipRows) => [false, true].map((flipColumns) => ({ swap, flipRows, flipColumns }))));

/** How many parts there will be. */
export function partsOf(plan: Plan): number {
  return plan.rows.length * (plan.blended ? 1 : plan.columns.length);
}

/** Give the parts of an image from the top; together they hold each pixel once. */
export async function* predict(image: Planes, card: Card, network: Network): AsyncGenerator<Part & { of: number }> {
  const { size, resize } = card.predict;
  const kind = resize ?? "half-pixel";
  const shown = size === null ? image : resized(image, size[0], size[1], kind);
  const plan = makePlan(shown.height, shown.width, card);
  const parts = plan.blended ? blended(shown, plan, card, network) : separate(shown, plan, card, network);
  if (size === null) {
    for await (const part of parts) yield { ...part, of: partsOf(plan) };
    return;
  }
  const classes = card.classes.length;
  const whole = new Float32Array(classes * shown.height * shown.width);
  for await (const part of parts) place(part, whole, classes, shown.height, shown.width);
  const { values } = resized({ channels: classes, height: shown.height, width: shown.width, values: whole }, image.height, image.width, kind);
  yield { top: 0, left: 0, height: image.height, width: image.width, probabilities: values, of: 1 };
}

/** Put a part to its place in the whole [K, H, W]. */
export function place(part: Part, whole: Float32Array, classes: number, height: number, width: number): void {
  for (let plane = 0; plane < classes; plane += 1) {
    for (let row = 0; row < part.height; row += 1) {
      const from = (plane * part.height + row) * part.width;
      whole.set(part.probabilities.subarray(from, from + part.width), (plane * height + part.top + row) * width + part.left);
    }
  }
}

async function* separate(image: Planes, plan: Plan, card: Card, network: Network): AsyncGenerator<Part> {
  for (const row of plan.rows) {
    for (const column of plan.columns) {
      const probabilities = await tile(image, row, column, plan, card, network);
      yield { top: row.low, left: column.low, height: row.high - row.low, width: column.high - column.low, probabilities };
    }
  }
}

/** Add up weighted tiles to rows of tiles, and give each row as far as the next one has no share in it. */
async function* blended(image: Planes, plan: Plan, card: Card, network: Network): AsyncGenerator<Part> {
  const [classes, width] = [card.classes.length, image.width];
  let rest: { values: Float32Array; rows: number } | null = null;
  for (const row of plan.rows) {
    const tall = end(row) - begin(row);
    const band = new Float32Array(classes * tall * width);
    for (const column of plan.columns) {
      const share = await tile(image, row, column, plan, card, network);
      const across = weights(column);
      for (let line = 0; line < classes * tall; line += 1) {
        const [from, to] = [line * across.length, line * width + begin(column)];
        for (let at = 0; at < across.length; at += 1) band[to + at]! += share[from + at]! * across[at]!;
      }
    }
    const down = weights(row);
    for (let line = 0; line < classes * tall; line += 1) {
      const [plane, at] = [Math.floor(line / tall), line % tall];
      const left: Float32Array | null = rest !== null && at < rest.rows ? rest.values.subarray((plane * rest.rows + at) * width, (plane * rest.rows + at + 1) * width) : null;
      for (let column = 0; column < width; column += 1) {
        const to = line * width + column;
        band[to] = Math.fround(band[to]! * down[at]!) + (left === null ? 0 : left[column]!);
      }
    }
    const finished = row.high - row.fall - begin(row);
    yield { top: begin(row), left: 0, height: finished, width, probabilities: cut(band, classes, tall, width, 0, finished, 0, width) };
    rest = { values: cut(band, classes, tall, width, finished, tall, 0, width), rows: tall - finished };
  }
}

function cut(values: Float32Array, planes: number, height: number, width: number, top: number, bottom: number, left: number, right: number): Float32Array {
  const result = new Float32Array(planes * (bottom - top) * (right - left));
  let at = 0;
  for (let plane = 0; plane < planes; plane += 1) {
    for (let row = top; row < bottom; row += 1, at += right - left) {
      const line = (plane * height + row) * width;
      result.set(values.subarray(line + left, line + right), at);
    }
  }
  return result;
}

/** The probabilities of all pixels that a tile has a share in, averaged over flips and turns where it is asked for. */
async function tile(image: Planes, row: Span, column: Span, plan: Plan, card: Card, network: Network): Promise<Float32Array> {
  const symmetries = card.predict.tta ? EIGHT : EIGHT.slice(0, 1);
  let total: Float32Array | null = null;
  for (const symmetry of symmetries) {
    const answer = await seen(symmetry, image, row, column, plan, card, network);
    if (total === null) total = answer;
    else for (let at = 0; at < total.length; at += 1) total[at]! += answer[at]!;
  }
  if (symmetries.length > 1) for (let at = 0; at < total!.length; at += 1) total![at]! /= symmetries.length;
  return total!;
}

/** A tile's probabilities as the network gives them for the image as it is shown in a symmetry, turned back. */
async function seen(symmetry: Symmetry, image: Planes, row: Span, column: Span, plan: Plan, card: Card, network: Network): Promise<Float32Array> {
  const { geometry } = card;
  const [height, width] = symmetry.swap ? [image.width, image.height] : [image.height, image.width];
  const flipped = (flip: boolean, low: number, high: number, length: number): [number, number] => (flip ? [length - high, length - low] : [low, high]);
  const placed = (one: [number, number], other: [number, number]) => {
    const [vertical, horizontal] = symmetry.swap ? [other, one] : [one, other];
    return [flipped(symmetry.flipRows, ...vertical, height), flipped(symmetry.flipColumns, ...horizontal, width)] as const;
  };
  const own = placed([row.low, row.high], [column.low, column.high]);
  const shared = placed([begin(row), end(row)], [begin(column), end(column)]);
  const rows = windowOf(...own[0], height, geometry, plan.context);
  const columns = windowOf(...own[1], width, geometry, plan.context);
  const inside = ({ start, stop }: { start: number; stop: number }, length: number) => [Math.max(0, -start), Math.min(stop, length) - start] as const;
  const indices = ({ start, stop }: { start: number; stop: number }, length: number, flip: boolean) => mirrored(start, stop, length).map((at) => (flip ? length - 1 - at : at));
  const shown = {
    rows: indices(rows, height, symmetry.flipRows), columns: indices(columns, width, symmetry.flipColumns), swap: symmetry.swap,
    inside: card.predict.outside === "zeros" ? ([...inside(rows, height), ...inside(columns, width)] as [number, number, number, number]) : null,
  };
  const pixels = normalized(image, shown, card.mean, card.std);
  const answer = await network(pixels, rows.stop - rows.start, columns.stop - columns.start);
  const [top, bottom] = [shared[0][0] - rows.first, shared[0][1] - rows.first];
  const [left, right] = [shared[1][0] - columns.first, shared[1][1] - columns.first];
  const logits = cut(answer.logits, answer.channels, answer.height, answer.width, top, bottom, left, right);
  const probabilities = softmax(logits, answer.channels, card);
  return symmetry === EIGHT[0] ? probabilities : turnBack(symmetry, probabilities, card.classes.length, bottom - top, right - left);
}

function turnBack(symmetry: Symmetry, shown: Float32Array, planes: number, height: number, width: number): Float32Array {
  const values = new Float32Array(shown.length);
  let at = 0;
  for (let plane = 0; plane < planes; plane += 1) {
    for (let row = 0; row < height; row += 1) {
      const y = symmetry.flipRows ? height - 1 - row : row;
      for (let column = 0; column < width; column += 1, at += 1) {
        const x = symmetry.flipColumns ? width - 1 - column : column;
        values[plane * height * width + (symmetry.swap ? x * height + y : y * width + x)] = shown[at]!;
      }
    }
  }
  return values;
}

/** Probabilities [K, N] of logits [L, N]; one logit is that of the second of two classes. */
function softmax(logits: Float32Array, channels: number, card: Card): Float32Array {
  const count = logits.length / channels;
  if (card.predict.calibrate && card.temperature !== null) {
    const cooling = Math.fround(1 / card.temperature);
    for (let at = 0; at < logits.length; at += 1) logits[at]! *= cooling;
  }
  if (channels === 1) {
    const both = new Float32Array(2 * count);
    for (let at = 0; at < count; at += 1) {
      both[count + at] = 1 / (1 + Math.exp(-logits[at]!));
      both[at] = 1 - both[count + at]!;
    }
    return both;
  }
  for (let at = 0; at < count; at += 1) {
    let [most, sum] = [-Infinity, 0];
    for (let plane = at; plane < logits.length; plane += count) most = Math.max(most, logits[plane]!);
    for (let plane = at; plane < logits.length; plane += count) sum += logits[plane] = Math.exp(logits[plane]! - most);
    for (let plane = at; plane < logits.length; plane += count) logits[plane]! /= sum;
  }
  return logits;
}

/** Give the border's probability to the most probable class of objects, in place; return the planes of the data's classes. */
export function ofData(probabilities: Float32Array, card: Card): Float32Array {
  if (!card.border) return probabilities;
  const count = probabilities.length / card.classes.length;
  const classes = dataClasses(card).length;
  for (let at = 0; at < count; at += 1) {
    let best = 1;
    for (let kind = 2; kind < classes; kind += 1) if (probabilities[kind * count + at]! > probabilities[best * count + at]!) best = kind;
    probabilities[best * count + at]! += probabilities[classes * count + at]!;
  }
  return probabilities.subarray(0, classes * count);
}

/** Tell the class of a pixel, of probabilities [K, N] of the data's classes: the most probable, or as thresholds say. */
export function decider(probabilities: Float32Array, classes: number, limits: number[] | null): (pixel: number) => number {
  const count = probabilities.length / classes;
  const bounds = limits?.map(Math.fround) ?? null;
  return (at) => {
    let best = bounds === null ? 0 : 1;
    for (let kind = best + 1; kind < classes; kind += 1) if (probabilities[kind * count + at]! > probabilities[best * count + at]!) best = kind;
    if (bounds !== null) {
      const high = probabilities[best * count + at]!;
      const share = classes === 2 ? high : Math.fround(high / Math.fround(high + probabilities[at]!));
      if (!(share > bounds[best - 1]!)) best = 0;
    }
    return best;
  };
}
