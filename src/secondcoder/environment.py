"""What the work was done with: package versions and machine.

In: nothing. Out: plain values for run folders and manifests, so that a result can be repeated and explained.
"""

import os
import platform
from importlib import metadata
from pathlib import Path

_PACKAGES = (
    "secondcoder",
    "torch",
    "transformers",
    "tokenizers",
    "safetensors",
    "accelerate",
    "numpy",
    "scipy",
    "scikit-learn",
    "pyarrow",
    "datasets",
    "cleanlab",
    "matplotlib",
    "openvino",
    "nncf",
)


def versions() -> dict[str, str]:
    """Return the versions of Python and of the packages that take part in the results, where they are installed."""
    found = {"python": platform.python_version()}
    for package in _PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            if package == "secondcoder":  # a checkout that was not installed
                found[package] = "unknown"
    return found


def machine() -> dict[str, str | int]:
    """Return the operating system, the processor's name and the number of cores."""
    return {"system": platform.platform(), "processor": _processor_name(), "cores": os.cpu_count() or 0}


def _processor_name() -> str:
    cpuinfo = Path("/proc/cpuinfo")  # platform.processor() is empty on most Linux systems
    if cpuinfo.exists():
        for line in cpuinfo.read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
