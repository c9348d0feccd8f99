"""The training room: a TOML recipe and WebDataset-style shards become weights. Nothing that decodes depends on it.

`regrain train RECIPE` leaves `weights.safetensors` in the run's folder, ready for `--model`; as
`src/regrain/weights/METHOD-FINGERPRINT.safetensors`, named in `index.json` there, it is the model that the package
ships.
"""
