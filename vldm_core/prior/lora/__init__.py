"""LoRA files: their keys, which era each belongs to, and strengths per frame."""
