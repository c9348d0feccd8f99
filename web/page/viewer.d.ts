/** Pictures of one size that are moved and enlarged together: two of them under a slider, or all side by side. */
export interface Shown {
    name: string;
    url: string;
}
export declare class Viewer {
    private readonly box;
    private readonly zoomed;
    private size;
    private scale;
    private at;
    private fitted;
    private readonly pointers;
    constructor(box: HTMLElement, zoomed: (scale: number) => void);
    /** Shows these: two under a slider, or any number side by side. */
    show(pictures: Shown[], size: {
        width: number;
        height: number;
    }, mode: "slider" | "grid"): void;
    set split(percent: number);
    fit(): void;
    /** One pixel of the picture to one of the screen. */
    one(): void;
    zoom(factor: number, around?: {
        x: number;
        y: number;
    }): void;
    private move;
    private key;
    /** One pointer moves, two enlarge. */
    private drag;
    /** A place on the screen, within the pane that it is in. */
    private place;
    private area;
    private draw;
}
