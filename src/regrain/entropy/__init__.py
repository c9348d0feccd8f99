"""Latents <-> bits: exact scale indices, frozen tables, and the coder of symbols into bytes."""
