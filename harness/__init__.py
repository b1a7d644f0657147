"""Tells whether Keras 3 code does the same thing on TensorFlow, PyTorch and JAX.

In a case file: `from harness import Fit, Forward, case, value_and_grad`.
"""

from harness.case import Expected, Fit, Forward, Plot, case
from harness.errors import CaseError, HarnessError, InferenceOnly, TargetError, TraceError
from harness.version import __version__
from harness.worker.capture.gradients import value_and_grad

__all__ = [
    "CaseError",
    "Expected",
    "Fit",
    "Forward",
    "HarnessError",
    "InferenceOnly",
    "Plot",
    "TargetError",
    "TraceError",
    "__version__",
    "case",
    "value_and_grad",
]
