"""Every error that napari-amvlm raises on purpose.

    AmvlmError
    |-- InputError                 what was given cannot be used: exit code 2 on the command line
    |   |-- ImageError             an image: unreadable, empty, wrong number of channels, no finite pixel
    |   |   `-- IncompleteError    ... in part: what is there of it is done, exit code 1
    |   |-- LabelsError            a mask or labels layer: wrong shape or values
    |   |-- PromptError            a prompt: empty or too long
    |   |-- DatasetError           a data folder: wrong layout, a pair without its partner
    |   |-- ModelFileError         a model file: missing, damaged, or written by another program
    |   `-- DeviceError            a device that is not there
    |-- TextEncoderError           the sentence encoder's weights are missing or not the published ones
    |-- LearningError              a fine-tuning run that had to end
    |   |-- NotEnoughDataError     nothing to learn from
    |   `-- DivergedError          the loss is not finite any more
    |-- OutOfMemoryError           the device has not enough memory
    |-- DeviceLostError            the device failed in the middle of the work and does not answer any more
    |-- Cancelled                  the person stopped it
    `-- ProjectError               a project folder that cannot be used
        |-- ProjectBusyError       another program is writing to it
        `-- StorageError           the disk refused a write: nothing was changed

A message is one sentence that names the thing, what was expected, what came, and what to do;
`sentence` makes one of any exception.
"""

import errno

_FULL = {errno.ENOSPC, errno.EDQUOT}


class AmvlmError(Exception):
    """Base of all errors of this package."""


class InputError(AmvlmError):
    """Something that the person gave cannot be used."""


class ImageError(InputError):
    """An image cannot be read or used."""


class IncompleteError(ImageError):
    """A part of an image cannot be used; the rest is done."""


class IncompleteWarning(UserWarning):
    """A part of an image is lost, by damage; what is there of it is read."""


class LabelsError(InputError):
    """A mask or labels layer does not fit its image."""


class PromptError(InputError):
    """A text prompt is empty or too long."""


class DatasetError(InputError):
    """A data folder has not the expected layout."""


class ModelFileError(InputError):
    """A model file is missing, damaged or foreign."""


class DeviceError(InputError):
    """A device that was asked for is not there."""


class TextEncoderError(AmvlmError):
    """The sentence encoder's weights are missing or are not the expected ones."""


class LearningError(AmvlmError):
    """A fine-tuning run had to end; the served model is as it was."""


class NotEnoughDataError(LearningError):
    """There is nothing to learn from yet."""


class DivergedError(LearningError):
    """The loss became infinite or not a number."""


class OutOfMemoryError(AmvlmError):
    """The device ran out of memory."""


class DeviceLostError(AmvlmError):
    """The device failed in the middle of the work; what lay in its memory is lost."""


class Cancelled(AmvlmError):
    """The person cancelled; nothing was changed."""


class ProjectError(AmvlmError):
    """A project folder cannot be opened or used."""


class ProjectBusyError(ProjectError):
    """Another program is writing to the project."""


class StorageError(ProjectError):
    """The disk refused a write; what was stored before is intact."""


def printable(text: str) -> str:
    """Return `text` on one line, with a question mark for every character that cannot be printed."""
    line = " ".join(text.split())
    return "".join(letter if letter.isprintable() else "?" for letter in line)


def sentence(error: BaseException) -> str:
    """Describe `error` in one sentence, with what to do where that is known."""
    if isinstance(error, AmvlmError):
        return str(error)
    text = " ".join(str(error).split())
    if isinstance(error, MemoryError) or "out of memory" in text.lower():
        return (
            "The device ran out of memory; close other programs, choose the CPU or a smaller working scale, "
            "and try again."
        )
    if isinstance(error, OSError) and error.errno in _FULL:
        where = f" holding {error.filename}" if error.filename else ""
        return f"The disk{where} is full; free some space and try again: what was stored before is intact."
    if isinstance(error, OSError):
        where = f" {error.filename}" if error.filename else ""
        return f"File{where} could not be used: {error.strerror or text}."
    return f"Unexpected {type(error).__name__}: {text[:300] or 'no further word'}; nothing was changed."
