/** Where noise may enter a picture: everywhere but on strong edges, as in `conditional/edges.py`. */

import { type Planes, zeros } from "./planes.ts";

const CELL = 4;
const SLOPES = [4, 9] as const;
const COHERENCES = [0.5, 0.7] as const;
const LUMA = [0.299, 0.587, 0.114] as const;

/** How much noise enters a picture in [-1, 1], 0 to 1, one plane; its sides are multiples of four. */
export function noiseGate({ data, rows, columns }: Planes): Planes {
  const area = rows * columns;
  const luma = new Float32Array(area);
  for (let at = 0; at < area; at++) {
    luma[at] = 127.5 * (LUMA[0] * data[at]! + LUMA[1] * data[at + area]! + LUMA[2] * data[at + 2 * area]!);
  }
  const cells = zeros(3, rows / CELL, columns / CELL);
  const cellsArea = cells.rows * cells.columns;
  for (let row = 0; row < rows; row++) {
    const [above, below] = [Math.max(row - 1, 0), Math.min(row + 1, rows - 1)];
    for (let column = 0; column < columns; column++) {
      const [before, after] = [Math.max(column - 1, 0), Math.min(column + 1, columns - 1)];
      const down = (luma[below * columns + column]! - luma[above * columns + column]!) / (below - above);
      const across = (luma[row * columns + after]! - luma[row * columns + before]!) / (after - before);
      const cell = Math.floor(row / CELL) * cells.columns + Math.floor(column / CELL);
      cells.data[cell]! += across * across / CELL ** 2;
      cells.data[cell + cellsArea]! += down * down / CELL ** 2;
      cells.data[cell + 2 * cellsArea]! += across * down / CELL ** 2;
    }
  }
  const squares = smoothed(cells);
  const closed = zeros(1, cells.rows, cells.columns);
  for (let at = 0; at < cellsArea; at++) {
    const [a, b, c] = [squares[at]!, squares[at + cellsArea]!, squares[at + 2 * cellsArea]!];
    const coherence = Math.sqrt((a - b) ** 2 + 4 * c * c) / Math.max(a + b, 1e-12);
    closed.data[at] = ramp(Math.sqrt(a + b), SLOPES) * ramp(coherence, COHERENCES);
  }
  return enlarged(closed);
}

/** Means over five cells of a line, with weights of 1, 2, 3, 2, 1, and over five lines. */
function smoothed(cells: Planes): Float32Array {
  let data = cells.data;
  for (const down of [true, true, false, false]) {
    data = data.map((value, at) => {
      const column = at % cells.columns;
      const row = Math.floor(at / cells.columns) % cells.rows;
      const [place, end, stride] = down ? [row, cells.rows - 1, cells.columns] : [column, cells.columns - 1, 1];
      return (data[place ? at - stride : at]! + value + data[place < end ? at + stride : at]!) / 3;
    });
  }
  return data;
}

function ramp(value: number, [low, high]: readonly [number, number]): number {
  return Math.min(1, Math.max(0, (value - low) / (high - low)));
}

/** One minus this at four times the size: lines between the middles of cells, level beyond the outermost. */
function enlarged({ data, rows, columns }: Planes): Planes {
  const gate = zeros(1, CELL * rows, CELL * columns);
  const between = (at: number, count: number): [first: number, second: number, weight: number] => {
    const place = Math.min(count - 1, Math.max(0, (at + 0.5) / CELL - 0.5));
    const first = Math.floor(place);
    return [first, Math.min(first + 1, count - 1), place - first];
  };
  for (let row = 0; row < gate.rows; row++) {
    const [top, bottom, down] = between(row, rows);
    for (let column = 0; column < gate.columns; column++) {
      const [left, right, across] = between(column, columns);
      const line = (at: number) => (1 - across) * data[at * columns + left]! + across * data[at * columns + right]!;
      gate.data[row * gate.columns + column] = 1 - ((1 - down) * line(top) + down * line(bottom));
    }
  }
  return gate;
}
