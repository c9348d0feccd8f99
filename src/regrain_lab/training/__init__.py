"""The training room: a TOML recipe and pictures become weights. Nothing that decodes depends on it.

    packing: pictures -> shards;   members: shards, or a plain folder -> the pictures that train, or validate
    recipe -> task (network, loss, held-out figures, export) -> loop: batch -> loss -> state -> checkpoint

`regrain train RECIPE` leaves `weights.safetensors` in the run's folder, ready for `--model`; as
`src/regrain/weights/METHOD-FINGERPRINT.safetensors`, named in `index.json` there, it is the model that the package
ships.
"""
