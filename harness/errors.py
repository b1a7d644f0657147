"""What can go wrong before anything runs.

```
HarnessError            the call is wrong: the command line ends with status 2
├── CaseError           a case file, or a case in it, is not what it should be
├── InferenceOnly       gradients, where the backend has none: a case ends with that, and has not failed
├── TargetError         a target that cannot be parsed, or that is not here
└── TraceError          a trace, or a folder of traces, that cannot be read
```

Every message is one paragraph: what was wrong, the value that was wrong, and what to do about it.
"""


class HarnessError(Exception):
    """The call is wrong. The message names the value and the remedy."""


class CaseError(HarnessError):
    """A case file or a case cannot be used.

    Common causes: the path does not exist, the file declares no case, an argument that nothing injects,
    two observations with one name, a return value that is neither `Fit`, `Forward` nor None.
    """


class InferenceOnly(HarnessError):  # noqa: N818 - no error of anybody: a case ends with it where its backend does
    """A backend without gradients was asked for them. A case that asks for them is `unavailable` there from then on."""


class TargetError(HarnessError):
    """A target cannot be used: its text is malformed, or its backend is not installed."""


class TraceError(HarnessError):
    """A trace cannot be read: not a trace, written by another schema, or damaged."""


def printable(value: object) -> str:
    """Text in which every control character but the line feed is spelled out: none reaches a terminal."""
    return "".join(c if c.isprintable() or c == "\n" else f"\\x{ord(c):02x}" for c in str(value))
