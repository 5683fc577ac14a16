"""The air link runs where there is no torch, video or web library."""

import subprocess
import sys

CHECK = """
import importlib, pkgutil, sys
import semcast.air
for module in pkgutil.walk_packages(semcast.air.__path__, "semcast.air."):
    importlib.import_module(module.name)
heavy = {"torch", "av", "cv2", "aiortc", "sionna", "diffusers", "grpc"} & set(sys.modules)
assert not heavy, heavy
"""

WITHOUT_NUMBA = """
import sys
import semcast.air.power, semcast.air.pilots, semcast.air.qam, semcast.air.ladder
import semcast.air.control, semcast.air.estimator
assert "numba" not in sys.modules
"""


def run(code: str) -> None:
    finished = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert finished.returncode == 0, finished.stderr


def test_no_module_of_the_air_link_imports_a_heavy_library() -> None:
    run(CHECK)


def test_numba_is_needed_by_the_codes_alone() -> None:
    run(WITHOUT_NUMBA)
