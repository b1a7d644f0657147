"""Tells whether Keras 3 code does the same thing on TensorFlow, PyTorch and JAX.

In a case file: `from harness import Fit, Forward, case, value_and_grad`. For annotations of what cases and tests are
given: `Record`, `Target` and `Parity`.

PYTEST_DONT_REWRITE: in a worker this is imported before pytest, which would warn that it cannot rewrite its assertions.
"""

from harness.case import Expected, Fit, Forward, Plot, case
from harness.errors import CaseError, HarnessError, InferenceOnly, TargetError, TraceError
from harness.injected import Parity, Record
from harness.target import Target
from harness.version import __version__
from harness.worker.capture.gradients import value_and_grad

__all__ = [
    "CaseError",
    "Expected",
    "Fit",
    "Forward",
    "HarnessError",
    "InferenceOnly",
    "Parity",
    "Plot",
    "Record",
    "Target",
    "TargetError",
    "TraceError",
    "__version__",
    "case",
    "value_and_grad",
]
