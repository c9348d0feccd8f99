"""The training room: a TOML recipe and WebDataset-style shards become weights. Nothing that decodes depends on it."""
