"""Latents <-> bits: quantisation, estimated and exact rates, frozen tables, and the coder of symbols into bytes."""
