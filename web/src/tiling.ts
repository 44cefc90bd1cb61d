// Where an image is cut into tiles, what the network must see for each, and how tiles are joined: integers and weights.
//
// The same plan as the command's (src/unetkit/prediction/tiling.py): an axis is divided into spans that meet at cuts,
// on the network's pooling grid. A window is what is read for a span. Where a span sees less than the network would like
// to, neighbours are blended across their cut, with weights that add up to one.
import type { Card, Geometry, PredictConfig } from "./card";

export interface Span {
  low: number;
  high: number;
  /** On so many pixels on either side of `low` it is blended with the span before, and at `high` with the one after. */
  rise: number;
  fall: number;
}

export interface Window {
  start: number;
  stop: number;
  /** The network answers for the pixels from here on. */
  first: number;
}

export interface Plan {
  rows: Span[];
  columns: Span[];
  context: number;
  blended: boolean;
}

const CONTEXT_OF_WHOLE_IMAGE_NORMS = 64;
const KEPT_BY_THE_ALLOCATOR = 1.5;

const down = (position: number, multiple: number) => Math.floor(position / multiple) * multiple;
const up = (position: number, multiple: number) => Math.ceil(position / multiple) * multiple;
const modulo = (value: number, of: number) => ((value % of) + of) % of;

export const begin = (span: Span) => span.low - span.rise;
export const end = (span: Span) => span.high + span.fall;

/** The share of a span in its pixels from `begin` to `end`: a cosine ramp across each blended cut, 1 elsewhere. */
export function weights(span: Span): Float32Array {
  const shares = new Float32Array(end(span) - begin(span)).fill(1);
  const ramp = (width: number, at: number) => Math.fround((1 - Math.cos((Math.PI * (at + 0.5)) / width)) / 2);
  for (let at = 0; at < 2 * span.rise; at += 1) shares[at] = ramp(2 * span.rise, at);
  for (let at = 0; at < 2 * span.fall; at += 1) shares[shares.length - 2 * span.fall + at] = 1 - ramp(2 * span.fall, at);
  return shares;
}

function paddedSize(size: number, geometry: Geometry): number {
  return size + modulo(geometry.offset - size, geometry.multiple);
}

/** The smallest input side that fits the network and whose output covers `size`. */
function fittingInputSize(size: number, geometry: Geometry): number {
  return paddedSize(size + 2 * geometry.margin, geometry);
}

function windowSide(side: number, geometry: Geometry): number {
  return geometry.margin > 0 ? fittingInputSize(side, geometry) : side;
}

function answeredSide(window: number, geometry: Geometry, context: number): number {
  const { multiple, offset, margin } = geometry;
  const answered = down(window - offset, multiple) + offset - 2 * margin;
  return Math.max(down(answered, multiple), 2 * context + multiple);
}

function countSpans(length: number, tile: number, geometry: Geometry, context: number): number {
  const side = answeredSide(tile, geometry, context);
  if (windowSide(length, geometry) <= tile || length <= side) return 1;
  return 1 + Math.ceil(up(length - side, geometry.multiple) / (side - 2 * context));
}

function sideFor(length: number, count: number, geometry: Geometry, context: number): number {
  return count === 1 ? length : up(Math.ceil((length + 2 * (count - 1) * context) / count), geometry.multiple);
}

function divide(length: number, tile: number, geometry: Geometry, context: number, blend: boolean): Span[] {
  const count = countSpans(length, tile, geometry, context);
  if (count === 1) return [{ low: 0, high: length, rise: 0, fall: 0 }];
  const { multiple } = geometry;
  const last = up(length - sideFor(length, count, geometry, context), multiple) / multiple;
  const cuts = [0];
  for (let number = 1; number < count; number += 1) cuts.push(multiple * Math.floor((number * last) / (count - 1)) + context);
  cuts.push(length);
  const own = (at: number) => cuts[at + 1]! - cuts[at]!;
  const reach = blend ? context : 0;
  const ramp = (cut: number) => (cut === 0 || cut === count ? 0 : Math.min(reach, Math.floor(own(cut - 1) / 2), Math.floor(own(cut) / 2)));
  return cuts.slice(0, -1).map((low, at) => ({ low, high: cuts[at + 1]!, rise: ramp(at), fall: ramp(at + 1) }));
}

/** What the network must be given to answer for the pixels from `low` to `high` of an axis. */
export function windowOf(low: number, high: number, length: number, geometry: Geometry, context: number): Window {
  const first = Math.max(0, down(low - context, geometry.multiple));
  const last = Math.min(length, up(high + context, geometry.multiple));
  const start = first - geometry.margin;
  return { start, stop: start + windowSide(last - first, geometry), first };
}

/** The indices of the pixels from `start` to `stop`, mirrored at the borders as often as needed. */
export function mirrored(start: number, stop: number, length: number): Int32Array {
  const period = Math.max(1, 2 * (length - 1));
  return Int32Array.from({ length: stop - start }, (_, at) => {
    const folded = modulo(start + at, period);
    return length > 1 ? Math.min(folded, period - folded) : 0;
  });
}

/** The pixels on each side of a tile's output that may differ from the whole image's; null: all. */
function overlapOf(geometry: Geometry): number | null {
  if (geometry.halo === null) return null;
  return up(geometry.disturbed ?? Math.max(0, geometry.halo - geometry.margin), geometry.multiple);
}

function contextOf(geometry: Geometry, config: PredictConfig): number {
  if (config.overlap !== null) return up(config.overlap, geometry.multiple);
  const wanted = overlapOf(geometry) ?? up(CONTEXT_OF_WHOLE_IMAGE_NORMS, geometry.multiple);
  if (config.tile === null) return wanted;
  const most = down(Math.floor(((config.tile - 2 * geometry.margin) * 3) / 8), geometry.multiple);
  return Math.min(wanted, Math.max(geometry.multiple, most));
}

/** Plan the tiles of an image. */
export function makePlan(height: number, width: number, card: Card): Plan {
  const { geometry, predict } = card;
  const context = contextOf(geometry, predict);
  const overlap = overlapOf(geometry);
  const blend = overlap === null || context < overlap;
  const [tall, wide] = predict.tile !== null ? [predict.tile, predict.tile] : affordable(height, width, card, context, blend);
  const rows = divide(height, tall, geometry, context, blend);
  const columns = divide(width, wide, geometry, context, blend);
  return { rows, columns, context, blended: blend && rows.length * columns.length > 1 };
}

/** Of all grids of tiles that fit into the memory, the one that computes the fewest pixels. */
function affordable(height: number, width: number, card: Card, context: number, blend: boolean): [number, number] {
  const { geometry } = card;
  const answer = 4 * card.classes.length;
  const kept = (card.predict.tta ? 2 : 1) * answer + 4 * card.mean.length;
  const perCall = (kept + Math.max(card.bytes_per_pixel ?? 4 * card.mean.length, 2 * answer)) * KEPT_BY_THE_ALLOCATOR * card.predict.batch;
  const pixels = (card.predict.memory * 1e9) / perCall;
  const blended = blend ? (2 * answer) / perCall : 0;
  const side = (length: number) => windowSide(length, geometry);
  if (side(height) * side(width) <= pixels) return [side(height), side(width)];
  const computed = (length: number, spans: number) => length + 2 * (spans - 1) * context + 2 * spans * geometry.margin;
  const smallest = side(2 * context + geometry.multiple);
  let [best, fewest]: [[number, number], number] = [[smallest, smallest], Infinity];
  for (let rows = 1; ; rows += 1) {
    const tall = side(sideFor(height, rows, geometry, context));
    const wide = Math.min(Math.floor((pixels - blended * tall * width) / tall), side(width));
    if (wide >= Math.min(smallest, side(width))) {
      const total = computed(height, rows) * computed(width, countSpans(width, wide, geometry, context));
      if (total < fewest) [best, fewest] = [[tall, wide], total];
    }
    if (tall <= smallest) return best;
  }
}
