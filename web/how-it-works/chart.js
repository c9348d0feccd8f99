// Lines, dots and bars on a canvas, in the colours of the style sheet.

const MARGIN = { left: 52, right: 12, top: 26, bottom: 38 };

/** A value of the style sheet. */
export const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();

/** A canvas that is as sharp as the screen; gives its context, width and height in CSS pixels. */
export function sharpen(canvas, height = canvas.clientHeight) {
  const scale = devicePixelRatio || 1;
  const width = canvas.clientWidth;
  canvas.width = Math.round(width * scale);
  canvas.height = Math.round(height * scale);
  const context = canvas.getContext("2d");
  context.setTransform(scale, 0, 0, scale, 0, 0);
  return { context, width, height };
}

/** Round numbers from low to high, about five of them. */
function ticks([low, high]) {
  const rough = (high - low) / 5;
  const power = 10 ** Math.floor(Math.log10(rough));
  const stride = power * [1, 2, 5, 10].find((factor) => factor * power >= rough);
  const found = [];
  for (let k = Math.ceil(low / stride - 1e-9); k * stride <= high + stride * 1e-9; k++) found.push(k * stride);
  return found;
}

const text = (value) => (Object.is(value, -0) ? "0" : String(Number(value.toPrecision(4))));

/**
 * Draw a chart.
 * `x` and `y` are { range: [low, high], label, ticks? }; `lines` are { points: [[x, y], ...], colour, label, dots?,
 * dashed?, bars? }, `mark` is an x at which a line stands.
 */
export function draw(canvas, { x, y, lines, mark }) {
  const { context, width, height } = sharpen(canvas);
  const inner = { w: width - MARGIN.left - MARGIN.right, h: height - MARGIN.top - MARGIN.bottom };
  const across = (value) => MARGIN.left + (inner.w * (value - x.range[0])) / (x.range[1] - x.range[0]);
  const down = (value) => MARGIN.top + inner.h * (1 - (value - y.range[0]) / (y.range[1] - y.range[0]));
  context.font = "12px system-ui, sans-serif";
  context.lineWidth = 1;
  axes(context, { x, y, across, down, inner, width, height });
  context.save();
  context.beginPath();
  context.rect(MARGIN.left, MARGIN.top - 1, inner.w, inner.h + 2);
  context.clip();
  for (const line of lines) trace(context, line, across, down, down(Math.max(0, y.range[0])));
  if (mark !== undefined) {
    context.strokeStyle = colour("ink");
    context.beginPath();
    context.moveTo(across(mark), MARGIN.top);
    context.lineTo(across(mark), MARGIN.top + inner.h);
    context.stroke();
  }
  context.restore();
  legend(context, lines);
}

function axes(context, { x, y, across, down, inner, width, height }) {
  context.strokeStyle = colour("line");
  context.fillStyle = colour("faint");
  context.textAlign = "right";
  context.textBaseline = "middle";
  for (const value of ticks(y.range)) {
    context.beginPath();
    context.moveTo(MARGIN.left, down(value));
    context.lineTo(MARGIN.left + inner.w, down(value));
    context.stroke();
    context.fillText(text(value), MARGIN.left - 6, down(value));
  }
  context.textAlign = "center";
  context.textBaseline = "top";
  for (const [value, label] of x.ticks ?? ticks(x.range).map((one) => [one, text(one)])) {
    context.fillText(label, Math.min(across(value), width - 14), height - MARGIN.bottom + 5);
  }
  context.fillText(x.label, MARGIN.left + inner.w / 2, height - 15);
  context.textAlign = "right";
  context.fillText(y.label, width - MARGIN.right, 4);
}

function trace(context, line, across, down, ground) {
  context.strokeStyle = context.fillStyle = colour(line.colour);
  if (line.bars) {
    const step = Math.abs(across(line.points[1][0]) - across(line.points[0][0]));
    for (const [px, py] of line.points) {
      context.fillRect(across(px) - step / 2, down(py), Math.max(1, step - 1), ground - down(py));
    }
    return;
  }
  if (line.dots) {
    for (const [px, py] of line.points) {
      context.beginPath();
      context.arc(across(px), down(py), 3, 0, 2 * Math.PI);
      context.fill();
    }
    if (!line.joined) return;
  }
  context.lineWidth = 2;
  context.setLineDash(line.dashed ? [6, 4] : []);
  context.beginPath();
  line.points.forEach(([px, py], k) => (k ? context.lineTo(across(px), down(py)) : context.moveTo(across(px), down(py))));
  context.stroke();
  context.setLineDash([]);
  context.lineWidth = 1;
}

function legend(context, lines) {
  context.textAlign = "left";
  context.textBaseline = "middle";
  let at = MARGIN.left;
  for (const line of lines.filter((one) => one.label)) {
    context.fillStyle = colour(line.colour);
    context.fillRect(at, 8, 12, 4);
    context.fillStyle = colour("ink");
    context.fillText(line.label, at + 17, 10);
    at += 17 + context.measureText(line.label).width + 14;
  }
}
