import { Regrain } from "../src/index.ts";
Object.assign(globalThis, { Regrain });
