"""What the work is done with: package versions, machine, and the variables that packages read when they are imported.

In: nothing. Out: plain values for run folders and manifests, so that a result can be repeated and explained; and an
environment in which dependencies stay quiet and leave the processor to others.
"""

import contextlib
import os
import platform
import sys
import threading
import warnings
from collections.abc import Iterator
from pathlib import Path

_PACKAGES = (
    "secondcoder",
    "torch",
    "transformers",
    "tokenizers",
    "safetensors",
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
# OpenMP's threads spin while they wait for each other, by default for so long that beside two other programs training
# all but stops (benchmarks/results/2026-11-29-busy-machine.md). GNU's and LLVM's (macOS, Windows) are told each in its
# own way; the second counts in milliseconds.
_SPINNING = {"GOMP_SPINCOUNT": "10000", "KMP_BLOCKTIME": "1"}
_SPINNING_IS_SET = ("OMP_WAIT_POLICY", *_SPINNING)


def prepare_environment() -> None:
    """Set what dependencies read when they are imported, where the user has not; to be called before they are.

    They are forbidden telemetry and background look-ups, and OpenMP's threads are told to wait without spinning long.
    Where torch is there already, it has read its environment: then a warning names what to set, once.
    """
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    os.environ.setdefault("HF_UPDATE_DOWNLOAD_COUNTS", "0")
    os.environ.setdefault("DISABLE_SAFETENSORS_CONVERSION", "1")
    if any(name in os.environ for name in _SPINNING_IS_SET):
        return
    if "torch" not in sys.modules:
        os.environ.update(_SPINNING)
    elif not _warned:
        _warned.append(True)
        lines = "; ".join(f'os.environ["{name}"] = "{value}"' for name, value in _SPINNING.items())
        warnings.warn(
            "torch was imported before secondcoder: on a busy machine its threads will hinder each other. Put this "
            f"line first, before torch is imported: import os; {lines}",
            stacklevel=3,
        )


_warned: list[bool] = []
_blas = threading.RLock()


@contextlib.contextmanager
def one_blas_thread() -> Iterator[None]:
    """Hold the threads of BLAS to one inside the block, for fits that consist of a great many small steps.

    After each step the threads would wait for each other: beside other programs two of them take 14 to 20 times as long
    as one. The limit is the whole process's, so fits in several threads take turns.
    """
    from threadpoolctl import threadpool_limits

    with _blas, threadpool_limits(1, user_api="blas"):
        yield


def versions() -> dict[str, str]:
    """Return the versions of Python and of the packages that take part in the results, where they are installed."""
    from importlib import metadata  # slow to import, and `--help` needs none of it

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
