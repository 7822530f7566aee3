"""The service code: HOW the platform answers. Depends on catalog, never on infra or cli.

`agent` is the data plane (one process, 1 to 500 agents each), `control` the control plane; the modules
beside them are what both share.
"""

__version__ = "1.0.0"
"""Of the platform, as in pyproject.toml (a test compares): the image carries no package metadata."""
