"""Networks on ONNX Runtime, without torch: arrays of weights in, a network that takes and gives arrays out.

    weights     safetensors -> arrays        wire, graph, blocks    arrays -> the bytes of an ONNX graph
    network     a graph that runs            unconditional, palette    the networks of two methods

The conditional codec's own graphs are in `conditional.onnx_backend`. A network gives what torch's with the same weights
gives, up to rounding; the tests hold it. Nothing here reaches torch, and there is no second file of weights.
"""
