"""`python -m harness.worker.probe`: one backend's versions and devices as a line of JSON, for `harness doctor`."""

import json

from harness.backends import runtime
from harness.worker import proof


def main() -> None:
    seen = {**proof.versions(), "devices": runtime.current().devices()}
    print(json.dumps(seen))


if __name__ == "__main__":
    main()
