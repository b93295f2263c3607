"""A project folder: the one object through which images, corrections, models and runs are kept."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from napari_amvlm.errors import ImageError
from napari_amvlm.project.corrections import Answer, CorrectionTable
from napari_amvlm.project.hold_out import SHARES_HELD_OUT
from napari_amvlm.project.images import ImageTable
from napari_amvlm.project.learning_log import LearningLog
from napari_amvlm.project.ledger import LEDGER_NAME, Ledger, create_ledger
from napari_amvlm.project.locks import LockTable
from napari_amvlm.project.prompts import PromptTable
from napari_amvlm.project.queue import QueueTable
from napari_amvlm.project.records import CorrectionRecord, ImageRecord, ProjectCounts, ResumeState, SlidePlace
from napari_amvlm.project.resume import read_resume, write_resume

if TYPE_CHECKING:
    from types import TracebackType

    import numpy as np
    import numpy.typing as npt

    from napari_amvlm.config import ScaleName
    from napari_amvlm.project.masks import BoolArray

_ACCEPTED = "id IN (SELECT image_id FROM corrections WHERE state = 'current')"
# CASE, and not AND: whether pixels are shared is asked where it matters only
_UNLABELLED = f"CASE WHEN COALESCE(held_out, 0) = 0 AND NOT {_ACCEPTED} THEN NOT {SHARES_HELD_OUT} ELSE 0 END"


class Project(LearningLog):
    """An open project; made by `create`, `open` or `open_or_create`, and a context manager.

    Threads of one program may share it. One program writes at a time; others may open it with `read_only=True`.

    Attributes
    ----------
    prompts
        The prompts, how they are set, and who wins overlaps.
    queue
        What is to be done, and in which order.
    locks
        Which accepted objects a model may paint over.
    """

    def __init__(self, ledger: Ledger) -> None:
        super().__init__(ledger)
        self._images = ImageTable(ledger)
        self._corrections = CorrectionTable(ledger)
        self.prompts = PromptTable(ledger)
        self.queue = QueueTable(ledger)
        self.locks = LockTable(ledger, self._corrections)
        row = ledger.row("SELECT value FROM facts WHERE key = 'name'")
        self.name: str = ledger.root.stem if row is None else row["value"]

    @classmethod
    def create(cls, path: str | Path, *, name: str | None = None) -> Self:
        """Make a new project folder; `ProjectError` where there is one, or other files."""
        root = Path(path)
        create_ledger(root, name or root.stem)
        return cls.open(root)

    @classmethod
    def open(cls, path: str | Path, *, read_only: bool = False) -> Self:
        """Open a project.

        Raises
        ------
        ProjectError
            Not a project, a damaged ledger, or one of a newer version.
        ProjectBusyError
            Another program has it open for writing.
        """
        ledger = Ledger(Path(path), read_only=read_only)
        try:
            return cls(ledger)
        except BaseException:
            ledger.close()
            raise

    @classmethod
    def open_or_create(cls, path: str | Path) -> Self:
        """Open the project at `path`, made first where there is none."""
        return cls.open(path) if (Path(path) / LEDGER_NAME).exists() else cls.create(path)

    @property
    def root(self) -> Path:
        """The project folder."""
        return self._ledger.root

    @property
    def read_only(self) -> bool:
        """True when nothing can be changed through this object."""
        return self._ledger.read_only

    def close(self) -> None:
        """Close the project and let the next writer in; calling it twice does no harm."""
        self._ledger.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def resume_state(self) -> ResumeState | None:
        """Return where the person was when this was last stored, None where it never was."""
        return read_resume(self._ledger)

    def store_resume_state(self, state: ResumeState) -> None:
        """Store where the person is, to go on from there another day."""
        write_resume(self._ledger, state)

    # Images

    def add_image(
        self,
        path: str | Path | None = None,
        *,
        array: npt.NDArray[Any] | None = None,
        name: str | None = None,
        copy: bool = False,
        cut_from: SlidePlace | None = None,
    ) -> ImageRecord:
        """Add an image file by reference, a copy of it, or an array that has no file.

        The same content gives the same record, whatever its path.

        Parameters
        ----------
        path
            An image file; `array` is not looked at then.
        array
            Pixels `(H, W)`, `(H, W, 3)` or `(H, W, 4)`, kept as TIFF in the project.
        name
            What to call it; the file's name if left out.
        copy
            Copy the file into the project.
        cut_from
            Where on a slide an array was cut out: images that share pixels of a slide are held out together.

        Raises
        ------
        ImageError
            The file cannot be read or the array is no image.
        StorageError
            The disk refused.
        """
        if path is not None:
            return self._images.add_file(Path(path), name=name, copy=copy)
        if array is not None:
            return self._images.add_array(array, name=name, cut_from=cut_from)
        raise ImageError("an image needs a file or an array, but neither was given: give one of them.")

    def images(self) -> list[ImageRecord]:
        """Return all images in the order they were added."""
        return self._images.select()

    def image(self, image_id: int) -> ImageRecord:
        """Return one image; `ProjectError` when there is none of that id."""
        return self._images.get(image_id)

    def find_array(self, array: npt.NDArray[Any]) -> ImageRecord | None:
        """Return the image that was added as this very array, for instance a slice of a stack; None where none was."""
        return self._images.find_array(array)

    def load_image(self, record: ImageRecord) -> npt.NDArray[Any]:
        """Return the pixels, `(H, W)` or `(H, W, 3)` in their own dtype; a moved file is found by its content.

        Raises
        ------
        ProjectError
            It was moved out of reach, or changed since it was added.
        """
        return self._images.load(record)

    def locate_image(self, record: ImageRecord) -> Path:
        """Return where the file of an image is now; `ProjectError` where it was lost or changed."""
        return record.path if record.source == "array" else self._images.locate(record)

    def missing_images(self) -> list[ImageRecord]:
        """Return the images whose file is not where it was, nor in any folder that the project knows."""
        return self._images.missing()

    def find_images(self, folder: str | Path) -> list[ImageRecord]:
        """Seek missing images by their content in a folder and below it; return those found, with their new paths."""
        return self._images.find(Path(folder))

    def accepted_images(self) -> list[ImageRecord]:
        """Return the images that have a current correction, held-out ones included."""
        return self._images.select(_ACCEPTED)

    def held_out_images(self) -> list[ImageRecord]:
        """Return the held-out images that have a current correction."""
        return self._images.select(f"held_out = 1 AND {_ACCEPTED}")

    def unlabelled_images(self) -> list[ImageRecord]:
        """Return the images without a current correction; none that is held out, or shares pixels with one that is."""
        return self._images.select(_UNLABELLED)

    def set_held_out(self, image_id: int, held_out: bool) -> None:
        """Decide by hand whether an image scores models (True) or is learnt from (False)."""
        self._images.get(image_id)
        with self._ledger.transaction() as connection:
            connection.execute(
                "UPDATE images SET held_out = ?, decided_by_person = 1 WHERE id = ?", (int(held_out), image_id)
            )

    def counts(self) -> ProjectCounts:
        """Return how many images there are of each kind."""
        row = self._ledger.row(
            f"SELECT COUNT(*), SUM({_ACCEPTED}), SUM({_ACCEPTED} AND held_out = 1), SUM({_UNLABELLED}) FROM images"
        )
        return ProjectCounts(*(int(value or 0) for value in (row or (0, 0, 0, 0))))

    # Corrections

    def accept(
        self,
        image_id: int,
        prompt: str,
        mask: npt.ArrayLike,
        *,
        before: npt.ArrayLike | None = None,
        reviewed: npt.ArrayLike | None = None,
        objects: npt.ArrayLike | None = None,
        model: str | None,
        threshold: float | None,
        seconds_spent: float = 0.0,
        scale: ScaleName | None = None,
        magnification: float | None = None,
        origin: str | None = None,
    ) -> CorrectionRecord:
        """Keep a mask that a person accepted; it is on the disk when this returns.

        The newest mask of an image and a prompt is the current one; older ones stay in the history. An image's first
        acceptance decides whether it is held out: one in four of each prompt's images is.

        Parameters
        ----------
        mask
            `(H, W)`, bool (or integer, where not 0 is True).
        before
            The mask that the model had proposed.
        reviewed
            The pixels that a person looked at; None is all of them.
        objects
            Numbers of the objects in the mask, `(H, W)`; None calls each connected piece an object.
        model, threshold
            What the proposal came from.
        seconds_spent
            Time of the person.
        scale, magnification
            The working scale, where a person chose it by hand.
        origin
            The file that the mask was imported from.

        Raises
        ------
        LabelsError
            A mask does not fit the image.
        PromptError
            The prompt is empty.
        StorageError
            The disk refused; the project is as it was.
        """
        answer = Answer(
            mask,
            before=before,
            reviewed=reviewed,
            objects=objects,
            model=model,
            threshold=threshold,
            seconds_spent=seconds_spent,
            scale=scale,
            magnification=magnification,
            origin=origin,
        )
        return self._corrections.accept(self.image(image_id), prompt, answer)

    def accept_region(
        self,
        image_id: int,
        prompt: str,
        mask: npt.ArrayLike,
        region: npt.ArrayLike,
        *,
        before: npt.ArrayLike | None = None,
        model: str | None,
        threshold: float | None,
        seconds_spent: float = 0.0,
        scale: ScaleName | None = None,
        magnification: float | None = None,
    ) -> CorrectionRecord:
        """Keep what a person accepted inside `region`, bool `(H, W)`; outside it the current correction stays.

        What was reviewed before stays reviewed. The rest is as in `accept`.
        """
        answer = Answer(
            mask,
            before=before,
            model=model,
            threshold=threshold,
            seconds_spent=seconds_spent,
            scale=scale,
            magnification=magnification,
        )
        return self._corrections.accept_region(self.image(image_id), prompt, region, answer)

    def reject(self, image_id: int, prompt: str) -> None:
        """Withdraw the current correction of an image and a prompt; it stays in the history."""
        self.image(image_id)
        self._corrections.reject(image_id, prompt)

    def corrections(
        self, image_id: int | None = None, prompt: str | None = None, history: bool = False
    ) -> list[CorrectionRecord]:
        """Return current corrections, oldest first; with `history` the superseded and withdrawn ones too."""
        return self._corrections.select(image_id, prompt, history=history)

    def correction(self, correction_id: int) -> CorrectionRecord:
        """Return one correction; `ProjectError` when there is none of that id."""
        return self._corrections.get(correction_id)

    def load_mask(self, correction: CorrectionRecord) -> BoolArray:
        """Return an accepted mask, bool `(H, W)`; `ProjectError` when its file is gone or was changed."""
        return self._corrections.mask(correction, self.image(correction.image_id).shape)

    def load_before(self, correction: CorrectionRecord) -> BoolArray | None:
        """Return the mask that the model had proposed, None when there was none."""
        return self._corrections.before(correction, self.image(correction.image_id).shape)

    def load_reviewed(self, correction: CorrectionRecord) -> BoolArray:
        """Return the pixels that a person looked at, bool `(H, W)`."""
        return self._corrections.reviewed(correction, self.image(correction.image_id).shape)

    def load_states(self, correction: CorrectionRecord) -> npt.NDArray[np.uint8]:
        """Return the state of every pixel, uint8 `(H, W)` with values of `napari_amvlm.review.PixelState`."""
        return self._corrections.states(correction, self.image(correction.image_id).shape)

    def load_objects(self, correction: CorrectionRecord) -> npt.NDArray[np.integer]:
        """Return the numbers of the objects, `(H, W)`, 0 is background; connected pieces where none were given."""
        return self._corrections.objects(correction, self.image(correction.image_id).shape)
