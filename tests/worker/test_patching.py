"""What is replaced, and that it is put back."""

from types import SimpleNamespace

import pytest

from harness.worker.patching import patched, where_defined


def test_an_attribute_is_replaced_as_long_as_the_context_is_open() -> None:
    owner = SimpleNamespace(f=lambda: "own")
    own = owner.f
    with patched(owner, "f", lambda f: lambda: f"not {f()}"):
        assert owner.f() == "not own"
        with patched(owner, "f", lambda f: lambda: f"surely {f()}"):
            assert owner.f() == "surely not own"
        assert owner.f() == "not own"
    assert owner.f is own


def test_it_is_put_back_after_an_error() -> None:
    owner = SimpleNamespace(f=1)
    with pytest.raises(RuntimeError), patched(owner, "f", lambda f: f + 1):
        raise RuntimeError
    assert owner.f == 1


def test_an_inherited_method_is_found_where_it_is_defined() -> None:
    class Base:
        def method(self) -> None: ...

    class Derived(Base):
        def other(self) -> None: ...

    assert where_defined(Derived, "method") is Base
    assert where_defined(Derived, "other") is Derived
