"""Every way in which a run can fail that a person can do something about.

An error carries two sentences: what is wrong (expected and got), and what to do next. Doors (command line,
tab, API) show both; the traceback goes to the log. A hint that several doors show names settings in words, such as
"overwrite it" or "the precision fp32": each door has its own way to say them. Only options with which a host is
started are written as such.
"""

from __future__ import annotations


class CelebBasisError(Exception):
    """Base of all errors that are shown to a person.

    Args:
        message: One sentence that says what is wrong, with what was expected and what was found.
        hint: One sentence that says what to do next; empty where nothing can be done.
    """

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message} {self.hint}".strip()


class UnreadableImage(CelebBasisError):
    """The file is not an image, or is damaged."""


class NoFaceFound(CelebBasisError):
    """The detector sees no face in the photo."""


class SeveralFaces(CelebBasisError):
    """The photo shows several faces and none was chosen."""


class MissingModel(CelebBasisError):
    """Weights that are needed are not on this machine."""


class MissingPackage(CelebBasisError):
    """An optional package that is needed is not installed."""


class UnsupportedCheckpoint(CelebBasisError):
    """The checkpoint is of a kind that cannot be trained through."""


class TooFewNames(CelebBasisError):
    """The tokenizer leaves too few celebrity names for a basis."""


class InvalidName(CelebBasisError):
    """The embedding's name cannot be used as a trigger word or a file name."""


class NameTaken(CelebBasisError):
    """An embedding of that name exists already."""


class InvalidEmbedding(CelebBasisError):
    """The file is not an embedding that can be read, or does not fit."""


class InvalidGallery(CelebBasisError):
    """There is no gallery of that checkpoint, or it cannot be read."""


class WrongEncoder(CelebBasisError):
    """The encoder cannot be read, or belongs to another checkpoint or other face models."""


class InvalidLora(CelebBasisError):
    """The file is not a LoRA that can be read, or does not fit."""


class UnknownPerson(InvalidEmbedding):
    """Nobody of that name was learned here."""


class PersonBusy(CelebBasisError):
    """A job that waits or runs writes the same person."""


class CannotWrite(CelebBasisError):
    """A file cannot be written: no permission, no space, a name that the file system refuses."""


class InvalidSettings(CelebBasisError):
    """An option has a value that makes no sense."""


class TrainingDiverged(CelebBasisError):
    """The loss is no longer a number."""


class Unforeseen(CelebBasisError):
    """Whatever a library raised; the log has it."""


class OutOfMemory(CelebBasisError):
    """The graphics card or the computer has no memory left."""


class CheckpointChanged(CelebBasisError):
    """Somebody switched or unloaded the checkpoint while a training went through it."""
