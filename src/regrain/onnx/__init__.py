"""The conditional codec's decoder without torch: NumPy for what must be exact, ONNX Runtime for the networks.

    weights     safetensors -> arrays            wire, graph    arrays -> the bytes of an ONNX graph
    integers    z, symbols -> scale indices      networks       which graphs there are; network: one that runs
    model       all of it ready for use          decode         bytes -> latents -> picture

The symbols are those of `conditional` to the last, the pixels within one of 255 levels; the tests hold both. Nothing
here reaches torch, and there is no second file of weights.
"""
