"""The search over coefficients, and the Python interface to it.

    from exme.search import open_search

The names of `__init__.pyi` are loaded when they are first used, so that importing is quick.
"""

import os
import sys

import lazy_loader

# Beside other programs, threads that spin while they wait for each other make a trial take ten times as long. OpenMP reads
# this once, as torch is loaded: here, before anything of ours loads it.
SPINS = "torch" in sys.modules and "OMP_WAIT_POLICY" not in os.environ
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
