/** Pictures and latents: `channels` planes of `rows` x `columns` numbers, one after another; and parts of them. */

export interface Planes {
  data: Float32Array;
  channels: number;
  rows: number;
  columns: number;
}

/** A rectangle of a grid: rows top .. bottom and columns left .. right, ends excluded. */
export interface Region {
  top: number;
  bottom: number;
  left: number;
  right: number;
}

/** A core, and the core with what is read around it. */
export interface Window {
  core: Region;
  outer: Region;
}

/** Pixels to a latent, each way. */
export const STRIDE = 16;

export function zeros(channels: number, rows: number, columns: number): Planes {
  return { data: new Float32Array(channels * rows * columns), channels, rows, columns };
}

export function regionOf({ rows, columns }: { rows: number; columns: number }): Region {
  return { top: 0, bottom: rows, left: 0, right: columns };
}

/** A region of latents in pixels. */
export function pixelsOf({ top, bottom, left, right }: Region): Region {
  return { top: top * STRIDE, bottom: bottom * STRIDE, left: left * STRIDE, right: right * STRIDE };
}

/** A region in the coordinates of one that contains it. */
export function inside({ top, bottom, left, right }: Region, outer: Region): Region {
  return { top: top - outer.top, bottom: bottom - outer.top, left: left - outer.left, right: right - outer.left };
}

/** A copy of a region of planes. */
export function cut(planes: Planes, region: Region): Planes {
  const part = zeros(planes.channels, region.bottom - region.top, region.right - region.left);
  if (part.rows === planes.rows && part.columns === planes.columns) return planes;
  paste(part, regionOf(part), planes, region);
  return part;
}

/** Copies a region of planes over a region of others, of the same size. */
export function paste(to: Planes, place: Region, from: Planes, region: Region): void {
  const width = region.right - region.left;
  for (let channel = 0; channel < to.channels; channel++) {
    for (let row = 0; row < region.bottom - region.top; row++) {
      const start = (channel * from.rows + region.top + row) * from.columns + region.left;
      to.data.set(from.data.subarray(start, start + width), (channel * to.rows + place.top + row) * to.columns + place.left);
    }
  }
}

/** The same with the last row and column repeated, until both sides are multiples of a number. */
export function padEdge(planes: Planes, multiple: number): Planes {
  const rows = Math.ceil(planes.rows / multiple) * multiple;
  const columns = Math.ceil(planes.columns / multiple) * multiple;
  if (rows === planes.rows && columns === planes.columns) return planes;
  const padded = zeros(planes.channels, rows, columns);
  for (let line = 0; line < planes.channels * rows; line++) {
    const row = Math.min(line % rows, planes.rows - 1);
    const start = (Math.floor(line / rows) * planes.rows + row) * planes.columns;
    padded.data.set(planes.data.subarray(start, start + planes.columns), line * columns);
    padded.data.fill(planes.data[start + planes.columns - 1]!, line * columns + planes.columns, (line + 1) * columns);
  }
  return padded;
}

/** Squares of `side` in raster order, cut at the right and the bottom. */
export function tilesOf(rows: number, columns: number, side: number): Region[] {
  const tiles: Region[] = [];
  for (let top = 0; top < rows; top += side) {
    for (let left = 0; left < columns; left += side) {
      tiles.push({ top, bottom: Math.min(top + side, rows), left, right: Math.min(left + side, columns) });
    }
  }
  return tiles;
}

/** Tiles with `halo` around each, within the grid. */
export function windowsOf(rows: number, columns: number, side: number, halo: number): Window[] {
  return tilesOf(rows, columns, side).map((core) => ({
    core,
    outer: {
      top: Math.max(0, core.top - halo),
      bottom: Math.min(rows, core.bottom + halo),
      left: Math.max(0, core.left - halo),
      right: Math.min(columns, core.right + halo),
    },
  }));
}
