"""What a person reads of any error."""

import pytest

from napari_amvlm.errors import StorageError, sentence


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (MemoryError(), "ran out of memory"),
        (OSError(28, "No space left on device", "/data"), "The disk holding /data is full"),
        (PermissionError(13, "Permission denied", "/data/x"), "File /data/x could not be used: Permission denied."),
        (StorageError("The disk is full."), "The disk is full."),
        (ValueError("two\nlines"), "Unexpected ValueError: two lines; nothing was changed."),
        (KeyError(), "Unexpected KeyError: no further word"),
    ],
)
def test_every_error_is_one_sentence(error, words):
    text = sentence(error)

    assert words in text
    assert "\n" not in text
