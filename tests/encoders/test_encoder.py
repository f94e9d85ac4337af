"""How an encoder is loaded, whatever it is."""

import gc
from types import SimpleNamespace

import pytest

from dicom_pipeline.encoders import encoder, load_encoder


@pytest.mark.parametrize("enabled", [True, False])
@pytest.mark.parametrize("fails", [True, False])
def test_no_garbage_is_looked_for_while_libraries_are_imported(monkeypatch, enabled, fails):
    """And afterwards it is as whoever called it had it, also where a library is not installed."""
    seen = []

    def load():
        seen.append(gc.isenabled())
        if fails:
            raise ModuleNotFoundError("no torch")
        return lambda rest, **_: (rest, gc.isenabled())

    monkeypatch.setattr(encoder, "find_encoder", lambda model: (SimpleNamespace(load=load), model))
    try:
        (gc.enable if enabled else gc.disable)()
        if fails:
            with pytest.raises(ModuleNotFoundError):
                load_encoder("some")
        else:
            assert load_encoder("some") == ("some", enabled)
        assert gc.isenabled() is enabled
    finally:
        gc.enable()
    assert seen == [False]
