"""Compiled programs that jax keeps in a folder: written whole, read by many, gone at any time."""

import keras
import pytest

pytestmark = pytest.mark.skipif(keras.backend.backend() != "jax", reason="is of jax alone")


@pytest.fixture
def programs(tmp_path):
    from harness.backends.jax.programs import Programs

    return Programs(str(tmp_path / "kept"))


def test_jax_has_a_place_for_our_own_cache():
    from jax._src import compilation_cache

    from harness.backends.jax import programs

    assert programs._ORIGINAL is not None, "jax has moved what harness/backends/jax/programs.py replaces"
    programs.keep_whole()
    cache, path = compilation_cache.get_file_cache("somewhere")
    assert (type(cache), path) == (programs.Programs, "somewhere")


def test_what_was_put_is_got(programs):
    programs.put("jit_add-1", b"code")
    programs.put("jit_add-1", b"other code of the same program")
    assert programs.get("jit_add-1") == b"code"
    assert programs.get("jit_add-2") is None


def test_what_others_have_removed_is_compiled_again(programs):
    programs.put("one", b"code")
    (programs._path / "one").unlink()
    assert programs.get("one") is None
    programs.put("one", b"code")
    assert programs.get("one") == b"code"


def test_a_program_that_could_not_be_written_whole_is_not_there(programs, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.replace", full)
    programs.put("one", b"code")
    assert programs.get("one") is None
    assert list(programs._path.iterdir()) == []
