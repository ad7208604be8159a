"""The miniature's sizes: a Stable Diffusion 1 in everything but scale."""

from __future__ import annotations

from typing import Any

SCALING_FACTOR = 0.18215
TEXT_WIDTH = 96
CONTEXT_LENGTH = 77

TEXT_ENCODER: dict[str, Any] = {
    "vocab_size": 49408, "hidden_size": TEXT_WIDTH, "intermediate_size": 4 * TEXT_WIDTH, "num_hidden_layers": 4,
    "num_attention_heads": 4, "max_position_embeddings": CONTEXT_LENGTH, "hidden_act": "quick_gelu",
    "projection_dim": TEXT_WIDTH, "bos_token_id": 49406, "eos_token_id": 49407, "pad_token_id": 49407,
}  # fmt: skip
UNET: dict[str, Any] = {
    "sample_size": 12, "in_channels": 4, "out_channels": 4, "layers_per_block": 1,
    "block_out_channels": (64, 128, 192), "cross_attention_dim": TEXT_WIDTH, "attention_head_dim": 4,
    "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
    "up_block_types": ("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
}  # fmt: skip
VAE: dict[str, Any] = {
    "sample_size": 96, "in_channels": 3, "out_channels": 3, "latent_channels": 4, "layers_per_block": 1,
    "block_out_channels": (64, 64, 64, 128), "norm_num_groups": 32, "scaling_factor": SCALING_FACTOR,
    "down_block_types": ("DownEncoderBlock2D",) * 4, "up_block_types": ("UpDecoderBlock2D",) * 4,
}  # fmt: skip
NOISE_SCHEDULE: dict[str, Any] = {
    "num_train_timesteps": 1000, "beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear",
}  # fmt: skip
