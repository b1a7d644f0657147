"""`python -m harness.worker.probe`: one backend's versions and devices as a line of JSON, for `harness doctor`."""

import json

from harness import backends
from harness.worker import child


def main() -> None:
    seen = {**child.versions(), "devices": backends.current().devices()}
    print(json.dumps(seen))


if __name__ == "__main__":
    main()
