"""One suite for every host. See `conftest.py` for how a real WebUI takes part."""
