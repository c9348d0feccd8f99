/** Pictures of one size that are moved and enlarged together: two of them under a slider, or all side by side. */

export interface Shown {
  name: string;
  url: string;
}

const MOST = 16;
const STEP = 1.25;
const MOVE = 40;

export class Viewer {
  private size = { width: 1, height: 1 };
  private scale = 1;
  private at = { x: 0, y: 0 };
  private fitted = true;
  private readonly pointers = new Map<number, { x: number; y: number }>();

  constructor(
    private readonly box: HTMLElement,
    private readonly zoomed: (scale: number) => void,
  ) {
    box.addEventListener("wheel", (event) => {
      event.preventDefault();
      this.zoom(event.deltaY < 0 ? STEP : 1 / STEP, this.place(event));
    }, { passive: false }); // prettier-ignore
    box.addEventListener("pointerdown", (event) => {
      box.setPointerCapture(event.pointerId);
      this.pointers.set(event.pointerId, { x: event.clientX, y: event.clientY });
    });
    box.addEventListener("pointermove", (event) => this.drag(event));
    for (const kind of ["pointerup", "pointercancel"] as const) {
      box.addEventListener(kind, (event) => this.pointers.delete(event.pointerId));
    }
    box.addEventListener("keydown", (event) => this.key(event));
    new ResizeObserver(() => (this.fitted ? this.fit() : this.draw())).observe(box);
  }

  /** Shows these: two under a slider, or any number side by side. */
  show(pictures: Shown[], size: { width: number; height: number }, mode: "slider" | "grid"): void {
    const same = size.width === this.size.width && size.height === this.size.height && this.box.className === mode;
    [this.size, this.box.className] = [size, mode];
    this.box.style.setProperty("--shape", `${size.width} / ${size.height}`);
    const panes = new Map([...this.box.children].map((child) => [child.querySelector("img")!.src, child]));
    this.box.replaceChildren(
      ...pictures.map(({ name, url }) => {
        const known = panes.get(url); // kept as it is, so that it does not blink
        panes.delete(url);
        return known ?? pane(name, url, size);
      }),
    );
    if (same) this.draw();
    else this.fit();
  }

  set split(percent: number) {
    this.box.style.setProperty("--split", `${percent}%`);
  }

  fit(): void {
    const { width, height } = this.area();
    this.scale = Math.min(width / this.size.width, height / this.size.height, 2);
    this.at = { x: (width - this.size.width * this.scale) / 2, y: (height - this.size.height * this.scale) / 2 };
    this.fitted = true;
    this.draw();
  }

  /** One pixel of the picture to one of the screen. */
  one(): void {
    this.zoom(1 / devicePixelRatio / this.scale);
  }

  zoom(factor: number, around = { x: this.area().width / 2, y: this.area().height / 2 }): void {
    const scale = Math.min(MOST, Math.max(0.05, this.scale * factor));
    for (const axis of ["x", "y"] as const) {
      this.at[axis] = around[axis] - ((around[axis] - this.at[axis]) * scale) / this.scale;
    }
    this.scale = scale;
    this.fitted = false;
    this.draw();
  }

  private move(x: number, y: number): void {
    this.at = { x: this.at.x + x, y: this.at.y + y };
    this.fitted = false;
    this.draw();
  }

  private key(event: KeyboardEvent): void {
    const moves: Record<string, () => void> = {
      ArrowLeft: () => this.move(MOVE, 0),
      ArrowRight: () => this.move(-MOVE, 0),
      ArrowUp: () => this.move(0, MOVE),
      ArrowDown: () => this.move(0, -MOVE),
      "+": () => this.zoom(STEP),
      "=": () => this.zoom(STEP),
      "-": () => this.zoom(1 / STEP),
      "0": () => this.fit(),
      "1": () => this.one(),
    };
    if (!moves[event.key] || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    moves[event.key]!();
  }

  /** One pointer moves, two enlarge. */
  private drag(event: PointerEvent): void {
    const before = this.pointers.get(event.pointerId);
    if (!before) return;
    const now = { x: event.clientX, y: event.clientY };
    const [other] = [...this.pointers].filter(([id]) => id !== event.pointerId).map(([, place]) => place);
    this.pointers.set(event.pointerId, now);
    if (!other) return this.move(now.x - before.x, now.y - before.y);
    const distance = (place: { x: number; y: number }) => Math.hypot(place.x - other.x, place.y - other.y);
    const middle = { clientX: (now.x + other.x) / 2, clientY: (now.y + other.y) / 2 };
    this.zoom(distance(now) / Math.max(1, distance(before)), this.place(middle));
  }

  /** A place on the screen, within the pane that it is in. */
  private place({ clientX, clientY }: { clientX: number; clientY: number }): { x: number; y: number } {
    const panes = [...this.box.children].map((child) => child.getBoundingClientRect());
    const own = panes.find((box) => clientX >= box.left && clientX < box.right && clientY >= box.top && clientY < box.bottom);
    const { left, top } = own ?? this.box.getBoundingClientRect();
    return { x: clientX - left, y: clientY - top };
  }

  private area(): { width: number; height: number } {
    const { clientWidth: width, clientHeight: height } = this.box.firstElementChild ?? this.box;
    return { width: Math.max(1, width), height: Math.max(1, height) };
  }

  private draw(): void {
    const device = this.scale * devicePixelRatio;
    for (const child of this.box.children) {
      child.classList.toggle("sharp", device >= 2);
      (child.firstElementChild as HTMLElement).style.transform = `translate(${this.at.x}px, ${this.at.y}px) scale(${this.scale})`;
    }
    this.zoomed(device);
  }
}

function pane(name: string, url: string, { width, height }: { width: number; height: number }): HTMLElement {
  const [box, picture, label] = [document.createElement("div"), new Image(width, height), document.createElement("b")];
  box.className = "pane";
  picture.src = url;
  picture.alt = `The picture, ${name}`;
  picture.draggable = false;
  label.textContent = name;
  box.append(picture, label);
  return box;
}
