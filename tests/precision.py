"""The precision that the suite computes in: a matter of `SECONDCODER_TEST_PRECISION`, not of the processor.

`make test` runs all tests in fp32, and those marked numeric once more in bf16, which autocast computes on any CPU.
"""

import os
from typing import Literal, cast

PRECISION = cast(Literal["fp32", "bf16"], os.environ.get("SECONDCODER_TEST_PRECISION", "fp32"))
if PRECISION not in ("fp32", "bf16"):
    raise ValueError(f"SECONDCODER_TEST_PRECISION is {PRECISION!r}, and may be fp32 or bf16")


def tolerance(fp32: float, *, bf16: float) -> float:
    """Return how far two numbers may be apart in the precision that is computed in."""
    return {"fp32": fp32, "bf16": bf16}[PRECISION]
