"""The tab's surroundings, which it shares with the API."""

from celebbasis_ext.context import Context as TabContext

__all__ = ["TabContext"]
