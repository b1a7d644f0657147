"""PyTorch."""

from harness.backends.torch.runtime import BACKEND

__all__ = ["BACKEND"]
