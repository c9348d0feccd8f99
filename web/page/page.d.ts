/** The page: a photo or a .rgn file in, the picture beside others at equal bytes out. */
export {};
