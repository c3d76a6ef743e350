import { setImmediate as nextTurn } from 'node:timers/promises';
import type { Size } from '../detect/detector.ts';
import type { Area, Mark } from './annotation-marks.ts';
import { paintMarks } from './paint-marks.ts';

/** A painted piece and its place in the picture: RGBA, 8 bits a channel, transparent where nothing is painted. */
export type Overlay = { data: Uint8Array; left: number; top: number; width: number; height: number };

/** Side of the squares into which the picture is cut; larger ones blend more for nothing, smaller ones cost calls. */
const TILE = 256;

/** Pixels of all overlays together, 4 bytes each: as many as a picture of 32 megapixels covered with boxes needs. */
const MAX_OVERLAY_PIXELS = 32_000_000;

/** How long painting may keep the event loop before others have their turn. */
const TURN_MS = 4;

type Tile = Area & { marks: { mark: Mark; layer: number }[] };

/** Where marks are laid out; painted are only the parts of the picture that they touch. */
export type OverlaySheet = {
  /**
   * Lays out marks; a higher layer covers a lower one, within a layer the later the earlier.
   *
   * @returns false, having added nothing, once the overlays are as large as they may be
   */
  add(marks: readonly Mark[], layer: number): boolean;
  paint(): Promise<Overlay[]>;
};

/** @param maxPixels of all overlays together */
export function createOverlaySheet(picture: Size, maxPixels = MAX_OVERLAY_PIXELS): OverlaySheet {
  const columns = Math.ceil(picture.width / TILE);
  const tiles = new Map<number, Tile>();
  let pixels = 0;

  function place(mark: Mark, layer: number): void {
    const left = Math.max(0, mark.left);
    const top = Math.max(0, mark.top);
    const right = Math.min(mark.right, picture.width);
    const bottom = Math.min(mark.bottom, picture.height);
    if (left >= right || top >= bottom) return;
    for (let row = Math.floor(top / TILE); row * TILE < bottom; row++) {
      for (let column = Math.floor(left / TILE); column * TILE < right; column++) {
        const key = row * columns + column;
        const tile = tiles.get(key) ?? { left: right, top: bottom, right: 0, bottom: 0, marks: [] };
        pixels -= pixelsOf(tile);
        tile.left = Math.min(tile.left, Math.max(left, column * TILE));
        tile.top = Math.min(tile.top, Math.max(top, row * TILE));
        tile.right = Math.max(tile.right, Math.min(right, (column + 1) * TILE));
        tile.bottom = Math.max(tile.bottom, Math.min(bottom, (row + 1) * TILE));
        pixels += pixelsOf(tile);
        tile.marks.push({ mark, layer });
        tiles.set(key, tile);
      }
    }
  }

  return {
    add(marks, layer) {
      if (pixels >= maxPixels) return false;
      for (const mark of marks) place(mark, layer);
      return true;
    },
    async paint() {
      const overlays: Overlay[] = [];
      let turnStarted = performance.now();
      for (const tile of tiles.values()) {
        overlays.push(paintTile(tile));
        if (performance.now() - turnStarted < TURN_MS) continue;
        await nextTurn();
        turnStarted = performance.now();
      }
      return overlays;
    },
  };
}

function pixelsOf(area: Area): number {
  return Math.max(0, area.right - area.left) * Math.max(0, area.bottom - area.top);
}

function paintTile(tile: Tile): Overlay {
  const marks = tile.marks.sort((one, other) => one.layer - other.layer).map(({ mark }) => mark);
  const { left, top, right, bottom } = tile;
  return { data: paintMarks(marks, tile), left, top, width: right - left, height: bottom - top };
}
