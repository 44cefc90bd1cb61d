// An image in tiles with layers over it, by OpenSeadragon, and a canvas above them that a page draws on.
// Positions are pixels of the image, x to the right and y down. Nothing is fetched but tiles.
import OpenSeadragon from "openseadragon";
import { el, iconButton } from "./dom";
import { glossary, translator } from "./i18n";

const t = translator(glossary);

// Tiles of a layer that was replaced while they were on their way are dropped, which is nothing to be warned of; of those
// that do not come the page hears by `missing`.
const but = (say: (...said: unknown[]) => void) => (...said: unknown[]) => { if (!/^(Ignoring tile|Tile %s failed)/.test(String(said[0]))) say(...said); };
(OpenSeadragon as unknown as { console: Console }).console = Object.assign(Object.create(console) as Console, {
  warn: but((...said) => console.warn(...said)),
  error: but((...said) => console.error(...said)),
});

export interface Shape {
  width: number;
  height: number;
  tile: number;
}

/** Where a tile is; levels count as in Deep Zoom: 0 is one pixel. */
export type TileUrl = (level: number, column: number, row: number) => string;

/** Draws `width` x `height` pixels of an image made smaller by `step`, from the pixel (x, y) of the whole on. */
export type Paint = (x: number, y: number, step: number, width: number, height: number) => ImageData;

export interface Layer {
  /** Where tiles are fetched, or what draws them. */
  tiles: TileUrl | { paint: Paint };
  /** Tiles are fetched again, and swapped in when they are there, whenever this changes. */
  version: string;
  opacity: number;
}

/** Draws on the canvas above the tiles, in pixels of the image; `scale` is the size of one on the screen. */
export type Draw = (context: CanvasRenderingContext2D, scale: number) => void;

interface Shown {
  version: string;
  item: OpenSeadragon.TiledImage | null;
  /** Its tiles are on their way, and take the place of the item's when they are there. */
  next: OpenSeadragon.TiledImage | null;
  loading: boolean;
  opacity: number;
}

export class Viewer {
  readonly element: HTMLElement;
  readonly canvas = el("canvas", { className: "above" });
  private readonly seadragon: OpenSeadragon.Viewer;
  private shape: Shape | null = null;
  private shown = new Map<string, Shown>();
  private order: string[] = [];
  private unseen = true; // nothing of the image was shown so far
  private aim: [x: number, y: number, width: number, height: number] | null = null; // to fly to when it is
  private pending = 0;

  /** `draw` is called whenever what is seen moves, and after `redraw()`; `missing` with the address of a tile that did not come. */
  constructor(private readonly draw: Draw = () => undefined, missing: (url: string) => void = () => undefined) {
    const tiles = el("div", { className: "tiles" });
    // OpenSeadragon puts a style element into the page, which our policy forbids, unless it finds one of its name.
    const found = document.createElementNS("urn:none", "style");
    found.setAttribute("data-openseadragon-mobile-css", "");
    document.head.append(found);
    this.element = el("div", { className: "viewer", tabIndex: 0, set: { role: "application", "aria-label": () => t("viewer") } }, tiles, this.canvas);
    this.seadragon = OpenSeadragon({
      element: tiles,
      drawer: "canvas",
      showNavigationControl: false,
      imageSmoothingEnabled: false,
      immediateRender: true,
      timeout: 120_000, // the first tile of a large image takes as long as reading it
      maxTilesPerFrame: 8, // one by one, a view of thirty tiles would take thirty frames however fast they come
      animationTime: matchMedia("(prefers-reduced-motion: reduce)").matches ? 0 : 0.25,
      blendTime: 0,
      maxZoomPixelRatio: 40,
      minZoomImageRatio: 0.5,
      visibilityRatio: 0.3,
      gestureSettingsMouse: { clickToZoom: false, dblClickToZoom: false },
      gestureSettingsPen: { clickToZoom: false, dblClickToZoom: false },
      tabIndex: -1,
    });
    found.remove();
    this.seadragon.addHandler("canvas-key", (event) => { event.preventDefaultAction = true; });
    for (const name of ["update-viewport", "resize", "open"] as const) this.seadragon.addHandler(name, () => this.redraw());
    this.seadragon.addHandler("tile-load-failed", (event) => missing(String(event.tile?.getUrl() ?? "")));
    this.element.addEventListener("keydown", (event) => this.key(event));
    new ResizeObserver(() => this.redraw()).observe(this.element);
  }

  /** Show an image, whole, without its layers. */
  open(shape: Shape): void {
    this.close();
    this.shape = shape;
    this.unseen = true;
    this.aim = null;
  }

  close(): void {
    this.seadragon.world.removeAll();
    this.shape = null;
    this.shown = new Map();
    this.order = [];
    this.redraw();
  }

  /** Show these layers over each other, the first at the bottom; the map's keys are their names. */
  layers(layers: Map<string, Layer>): void {
    if (this.shape === null) return;
    for (const [name, shown] of this.shown) {
      if (!layers.has(name)) {
        for (const item of [shown.item, shown.next]) if (item !== null) this.seadragon.world.removeItem(item);
        this.shown.delete(name);
      }
    }
    this.order = [...layers.keys()];
    for (const [name, layer] of layers) {
      const shown = this.shown.get(name) ?? { version: "", item: null, next: null, loading: false, opacity: layer.opacity };
      this.shown.set(name, shown);
      shown.opacity = layer.opacity;
      shown.item?.setOpacity(layer.opacity);
      if (shown.version !== layer.version) {
        shown.version = layer.version;
        shown.loading = true;
        if (shown.next !== null) this.seadragon.world.removeItem(shown.next);
        shown.next = null;
        this.add(name, layer, shown);
      }
    }
    this.sort();
  }

  /** Whether a layer still waits for the tiles of its newest version. */
  get loading(): boolean {
    return [...this.shown.values()].some((one) => one.loading);
  }

  private add(name: string, layer: Layer, shown: Shown): void {
    const { width, height, tile } = this.shape!;
    const deepest = Math.ceil(Math.log2(Math.max(width, height)));
    const painted = (paint: Paint) => ({
      getTileUrl: (level: number, column: number, row: number) => `${name}/${layer.version}/${level}/${column}_${row}`,
      hasTransparency: () => true,
      downloadTileStart: (job: { tile: { level: number; x: number; y: number }; finish: (data: CanvasRenderingContext2D, request: null, kind: string) => void }) => {
        const step = 2 ** (deepest - job.tile.level);
        const [x, y] = [job.tile.x * tile * step, job.tile.y * tile * step];
        const [wide, tall] = [Math.min(tile, Math.ceil((width - x) / step)), Math.min(tile, Math.ceil((height - y) / step))];
        const context = el("canvas", { width: wide, height: tall }).getContext("2d")!;
        context.putImageData(paint(x, y, step, wide, tall), 0, 0);
        job.finish(context, null, "context2d");
      },
      downloadTileAbort: () => undefined,
    });
    this.seadragon.addTiledImage({
      tileSource: {
        width, height, tileSize: tile, tileOverlap: 0, minLevel: 0, maxLevel: deepest,
        ...(typeof layer.tiles === "function" ? { getTileUrl: layer.tiles } : painted(layer.tiles.paint)),
      } as unknown as OpenSeadragon.TileSource,
      x: 0, y: 0, width: 1,
      opacity: shown.item === null ? layer.opacity : 0,
      preload: true,
      success: (event) => {
        const item = (event as unknown as { item: OpenSeadragon.TiledImage }).item;
        if (this.shown.get(name) !== shown || shown.version !== layer.version) return void this.seadragon.world.removeItem(item);
        // The old tiles stay until the new ones, which are loaded unseen, are there, so that nothing flickers.
        const swap = () => {
          if (shown.next !== item) return; // another version has come meanwhile
          const old = shown.item;
          Object.assign(shown, { item, next: null, loading: false });
          item.setOpacity(shown.opacity);
          this.sort();
          if (old !== null) this.seadragon.world.removeItem(old);
        };
        shown.next = item;
        if (shown.item === null || item.getFullyLoaded()) swap();
        else item.addOnceHandler("fully-loaded-change", swap);
        if (!this.unseen) return;
        // The element may just have got its size, which OpenSeadragon looks at between pictures only.
        this.seadragon.viewport.resize(new OpenSeadragon.Point(this.element.clientWidth, this.element.clientHeight), false);
        this.fit(true);
        this.unseen = false;
        if (this.aim !== null) this.flyTo(...this.aim);
      },
    });
  }

  private sort(): void {
    const world = this.seadragon.world;
    const wanted = this.order.map((name) => this.shown.get(name)?.item).filter((item) => item !== null && item !== undefined);
    for (const item of wanted) world.setItemIndex(item, world.getItemCount() - 1);
  }

  /** Call `draw` before the next picture. */
  redraw(): void {
    if (this.pending !== 0) return;
    this.pending = requestAnimationFrame(() => {
      this.pending = 0;
      const ratio = devicePixelRatio;
      const [width, height] = [this.element.clientWidth, this.element.clientHeight];
      if (this.canvas.width !== Math.round(width * ratio)) this.canvas.width = Math.round(width * ratio);
      if (this.canvas.height !== Math.round(height * ratio)) this.canvas.height = Math.round(height * ratio);
      const context = this.canvas.getContext("2d")!;
      context.setTransform(1, 0, 0, 1, 0, 0);
      context.clearRect(0, 0, this.canvas.width, this.canvas.height);
      if (this.shape === null) return;
      const scale = this.scale();
      const origin = this.seadragon.viewport.viewportToViewerElementCoordinates(new OpenSeadragon.Point(0, 0));
      context.setTransform(scale * ratio, 0, 0, scale * ratio, origin.x * ratio, origin.y * ratio);
      this.draw(context, scale);
    });
  }

  /** The size of a pixel of the image on the screen. */
  scale(): number {
    const viewport = this.seadragon.viewport;
    return this.shape === null ? 1 : (viewport.getZoom(true) * viewport.getContainerSize().x) / this.shape.width;
  }

  /** The position in the image of a pointer's event. */
  position(event: { clientX: number; clientY: number }): { x: number; y: number } {
    const box = this.element.getBoundingClientRect();
    const point = new OpenSeadragon.Point(event.clientX - box.left, event.clientY - box.top);
    const at = this.seadragon.viewport.viewerElementToViewportCoordinates(point);
    const width = this.shape?.width ?? 1;
    return { x: at.x * width, y: at.y * width };
  }

  /** Let dragging and the wheel move the image, or leave them to the page. */
  navigation(enabled: boolean): void {
    this.seadragon.setMouseNavEnabled(enabled);
    this.canvas.style.pointerEvents = enabled ? "none" : "auto";
  }

  fit(at_once = false): void {
    this.seadragon.viewport.goHome(at_once);
  }

  zoom(factor: number, at?: { x: number; y: number }): void {
    const width = this.shape?.width ?? 1;
    this.seadragon.viewport.zoomBy(factor, at && new OpenSeadragon.Point(at.x / width, at.y / width));
    this.seadragon.viewport.applyConstraints();
  }

  /** Show each pixel of the image as one of the screen. */
  pixels(): void {
    this.zoom(1 / this.scale());
  }

  /** Move by shares of what is seen. */
  move(right: number, down: number): void {
    const seen = this.seadragon.viewport.getBounds();
    this.seadragon.viewport.panBy(new OpenSeadragon.Point(right * seen.width, down * seen.height));
    this.seadragon.viewport.applyConstraints();
  }

  /** Show a box of the image with room around it. */
  flyTo(x: number, y: number, width: number, height: number): void {
    this.aim = this.unseen ? [x, y, width, height] : null;
    if (this.unseen) return;
    const whole = this.shape?.width ?? 1;
    const room = Math.max(64, width, height);
    const box = new OpenSeadragon.Rect(x - room, y - room, width + 2 * room, height + 2 * room);
    this.seadragon.viewport.fitBoundsWithConstraints(new OpenSeadragon.Rect(box.x / whole, box.y / whole, box.width / whole, box.height / whole));
  }

  private key(event: KeyboardEvent): void {
    if (event.target !== this.element || event.ctrlKey || event.metaKey || event.altKey) return;
    const act = KEYS[event.key];
    if (act === undefined) return;
    act(this);
    event.preventDefault();
  }

  /** Buttons for the pointer, each with its key. */
  buttons(pixels: () => string = () => t("pixels")): HTMLElement {
    return el(
      "div",
      { className: "floating" },
      iconButton("plus", () => t("zoomIn"), () => this.zoom(1.5)),
      iconButton("minus", () => t("zoomOut"), () => this.zoom(1 / 1.5)),
      iconButton("fit", () => t("fit"), () => this.fit()),
      iconButton("pixels", pixels, () => this.pixels()),
    );
  }
}

const KEYS: Record<string, (viewer: Viewer) => void> = {
  "+": (viewer) => viewer.zoom(1.5),
  "=": (viewer) => viewer.zoom(1.5),
  "-": (viewer) => viewer.zoom(1 / 1.5),
  "0": (viewer) => viewer.fit(),
  "1": (viewer) => viewer.pixels(),
  ArrowLeft: (viewer) => viewer.move(-0.2, 0),
  ArrowRight: (viewer) => viewer.move(0.2, 0),
  ArrowUp: (viewer) => viewer.move(0, -0.2),
  ArrowDown: (viewer) => viewer.move(0, 0.2),
};
