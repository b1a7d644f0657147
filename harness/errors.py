"""The errors that the harness raises.

```
HarnessError            the call is wrong: the command line ends with status 2
├── CaseError           a case file, or a case in it, cannot be used
├── InferenceOnly       a case asks for gradients that the backend does not have; it ends, but has not failed
├── TargetError         a target cannot be parsed, or is not available here
└── TraceError          a trace, or a folder of traces, cannot be read
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


class InferenceOnly(HarnessError):  # noqa: N818 - not an error: a case ends with it on a backend without gradients
    """A backend without gradients was asked for them. The case ends there, with the status `unavailable`."""


class TargetError(HarnessError):
    """A target cannot be used: its text is malformed, or its backend, device or interpreter is not available."""


class TraceError(HarnessError):
    """A trace cannot be read: not a trace, written by another schema, or damaged."""


def message_of(error: BaseException) -> str:
    """What an exception says. That of a case may raise when it is asked."""
    try:
        return str(error)
    except BaseException as another:
        return f"it does not say what is wrong: its __str__ raises {type(another).__name__}"


def printable(value: object) -> str:
    """A value as text with every control character but the line feed escaped, so that none reaches a terminal."""
    return "".join(c if c.isprintable() or c == "\n" else f"\\x{ord(c):02x}" for c in str(value))
