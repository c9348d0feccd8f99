/** The parts that need no weights: run by node --test, see build.mjs. */
export {};
