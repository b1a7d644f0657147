"""`python -m harness.worker.probe`: one backend's versions and devices as a line of JSON, for `harness doctor`."""

import json
import sys

#: What Keras imports where it is installed, for wrappers and pictures alone, which takes as long as the rest of it.
_NOT_NEEDED = ("sklearn", "matplotlib", "pandas", "pydot")


def main() -> None:
    for name in _NOT_NEEDED:
        sys.modules[name] = None  # type: ignore[assignment] # an import of it fails, as if it were not there
    from harness.backends import runtime
    from harness.worker import proof

    seen = {**proof.versions(), "devices": runtime.current().devices()}
    print(json.dumps(seen))


if __name__ == "__main__":
    main()
