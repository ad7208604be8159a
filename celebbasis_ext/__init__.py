"""Celeb Basis: one photo of a face becomes a word that Stable Diffusion understands."""

__version__ = "0.1.0"
