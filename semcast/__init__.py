"""The language both ends of a semcast link share.

Importing this package imports nothing else: no torch, no service, no codec.
"""

from semcast.version import __version__

__all__ = ["__version__"]
