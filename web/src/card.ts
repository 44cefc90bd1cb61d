// What model.json says: the network's card, as the exported file has it, and the colours of its classes.

export interface Geometry {
  multiple: number;
  offset: number;
  halo: number | null;
  margin: number;
  disturbed: number | null;
}

export interface PredictConfig {
  tile: number | null;
  overlap: number | null;
  memory: number;
  batch: number;
  channels: number[] | null;
  tta: boolean;
  threshold: number | Record<string, number> | null;
  calibrate: boolean;
  close_gaps: boolean;
  size: [height: number, width: number] | null;
  resize: "half-pixel" | "asymmetric" | null;
  outside: "mirror" | "zeros" | null;
}

export interface Card {
  classes: string[];
  border: boolean;
  mean: number[];
  std: number[];
  /** Slices on each side of a slice whose channels the network is given with it. */
  context: number;
  temperature: number | null;
  predict: PredictConfig;
  geometry: Geometry;
  bytes_per_pixel: number | null;
  unetkit: string;
}

export interface ModelFile {
  card: Card;
  colours: string[];
}

/** The classes that the data has: all but the border of objects. */
export function dataClasses(card: Card): string[] {
  return card.border ? card.classes.slice(0, -1) : card.classes;
}

/** The threshold of every class but the background; null: pixels are of their most probable class. */
export function thresholds(card: Card): number[] | null {
  const { threshold } = card.predict;
  if (threshold === null) return null;
  return dataClasses(card).slice(1).map((name) => (typeof threshold === "number" ? threshold : (threshold[name] ?? 0.5)));
}

/** The number of channels of one slice. */
export function imageChannels(card: Card): number {
  return card.mean.length / (2 * card.context + 1);
}
