"""What the tab does, which it shares with the API."""

from celebbasis_ext.studio import SeenPhoto, Studio

__all__ = ["SeenPhoto", "Studio"]
