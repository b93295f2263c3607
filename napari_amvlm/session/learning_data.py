"""What a run may learn from: read out of a project as it is now, or as an earlier run saw it."""

from __future__ import annotations

import contextlib
import functools
from typing import TYPE_CHECKING

from napari_amvlm.errors import Cancelled, ImageError, ProjectError
from napari_amvlm.imaging import Copies, is_gray, to_rgb01
from napari_amvlm.project.storage import array_hash
from napari_amvlm.review import PixelState

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from napari_amvlm.config import ScaleName
    from napari_amvlm.learning.data import Entries, LabelledImage, LearningData, UnlabelledImage
    from napari_amvlm.project import CorrectionRecord, ImageRecord, Project, RunRecord

    ScaleChooser = Callable[[str, tuple[int, int], bool], ScaleName]

UNLABELLED_BYTES = 2 << 30
"""Memory for unlabelled images, unless the caller says otherwise."""

LABELLED_BYTES = 2 << 30
"""Memory for labelled and held-out images together, unless the caller says otherwise."""


def learning_data(
    project: Project,
    *,
    predictor_scales: ScaleChooser,
    on_problem: Callable[[str], None] | None = None,
    unlabelled_bytes: int = UNLABELLED_BYTES,
    labelled_bytes: int = LABELLED_BYTES,
    run: RunRecord | None = None,
    should_stop: Callable[[], bool] = lambda: False,
) -> LearningData:
    """Read what a fine-tuning run may learn from out of a project.

    Held-out images are the validation set, as far as a person corrected their masks, and nothing else. An image is one
    labelled image, whatever was reviewed of it: each prompt brings the pixels that somebody looked at, so that no other
    pixel counts as background. The order is that of the ledger, so one ledger gives one sequence of images.

    Parameters
    ----------
    predictor_scales
        Gives the working scale from a prompt, the image's shape `(H, W)` and whether it is gray. Called where no
        person chose one by hand.
    on_problem
        Called with one sentence for each image or mask that cannot be read, which is then left out; None raises. Also
        called for each image that is left out since it is a copy: a labelled one of any held-out one, whether that
        is scored or not, an unlabelled one of either.
    unlabelled_bytes
        Memory for unlabelled images; where they need more, a fixed choice of them is taken.
    labelled_bytes
        Memory for labelled and held-out images; those that have no room are read again whenever they are needed.
    run
        Read what this earlier run saw instead, whatever was accepted since.
    should_stop
        Asked before each image.

    Raises
    ------
    ProjectError, ImageError
        An image or a mask cannot be read, and `on_problem` is None.
    Cancelled
        `should_stop` said so.
    """
    from napari_amvlm.learning.data import Entries, LearningData

    entries = present_entries(project, unlabelled_bytes) if run is None else _entries_of(project, run)
    reader = _Reader(project, predictor_scales, on_problem, should_stop, labelled_bytes)
    validation, validate = reader.labelled(entries.validate)
    if run is None:  # an earlier run is read as it was
        reader.hold_out(validation)
    labelled, train = reader.labelled(entries.train)
    unlabelled, seen = reader.unlabelled(entries.unlabelled)
    prompts = dict.fromkeys(prompt for image in labelled for prompt in image.masks)
    return LearningData(
        labelled=labelled,
        unlabelled=unlabelled,
        validation=validation,
        prompts=tuple(prompts),
        entries=Entries(train, validate, seen),
    )


def labelled_image(project: Project, image_id: int, *, predictor_scales: ScaleChooser) -> LabelledImage:
    """Read one image with all that is accepted on it now, as `learning_data` would.

    Raises
    ------
    ProjectError, ImageError
        The image or a mask cannot be read, or nothing is accepted on it any more.
    """
    ids = [correction.id for correction in project.corrections.select(image_id)]
    images, _ = _Reader(project, predictor_scales, None).labelled(ids)
    if not images:
        name = project.images.get(image_id).name
        raise ProjectError(f"nothing is accepted on {name} any more, so nothing can be compared on it: accept a mask.")
    return images[0]


def is_corrected(project: Project, correction: CorrectionRecord) -> bool:
    """Return whether a person corrected a mask, or drew it, before accepting it.

    A mask that was accepted as the model drew it scores that model with 1, and so judges nothing.
    """
    if correction.before_file is None:
        return True
    try:
        return bool((project.corrections.states(correction) == PixelState.CORRECTED).any())
    except ProjectError:  # said where the mask is read
        return True


def present_entries(project: Project, unlabelled_bytes: int = UNLABELLED_BYTES) -> Entries:
    """Return what a run that started now would learn from, be scored on, and see without labels.

    Held-out masks that nobody corrected are left out.
    """
    from napari_amvlm.learning.data import Entries

    # in this order: an image that is held out from now on is not learnt from, whatever is accepted in between
    corrections = project.corrections.select()
    held_out = {record.id for record in project.images.held_out()}
    return Entries(
        train=tuple(c.id for c in corrections if c.image_id not in held_out),
        validate=tuple(c.id for c in corrections if c.image_id in held_out and is_corrected(project, c)),
        unlabelled=tuple(r.id for r in _within(project.images.unlabelled(), unlabelled_bytes)),
    )


def _entries_of(project: Project, run: RunRecord) -> Entries:
    from napari_amvlm.learning.data import Entries

    roles = project.runs.corrections(run.id)
    return Entries(
        train=tuple(c for c, role in roles.items() if role == "train"),
        validate=tuple(c for c, role in roles.items() if role == "validate"),
        unlabelled=tuple(project.runs.unlabelled(run.id)),
    )


def image_names(project: Project) -> dict[int, str]:
    """Return a name of its own for each image by id, since reports are keyed by name; images added later change none.

    Examples
    --------
    Three images that are all called `tile` are `tile`, `tile (2)` and `tile (3)`.
    """
    names: dict[int, str] = {}
    taken: set[str] = set()
    numbers: dict[str, int] = {}  # a folder may hold thousands of one name
    for record in project.images.all():
        unique, number = record.name, numbers.get(record.name, 1)
        while unique in taken:
            number += 1
            unique = f"{record.name} ({number})"
        numbers[record.name] = number
        taken.add(unique)
        names[record.id] = unique
    return names


class _Reader:
    """Reads the images of a run; what cannot be read is reported and left out."""

    def __init__(
        self,
        project: Project,
        scales: ScaleChooser,
        on_problem: Callable[[str], None] | None,
        should_stop: Callable[[], bool] = lambda: False,
        labelled_bytes: int = LABELLED_BYTES,
    ) -> None:
        from napari_amvlm.learning.labelled_memory import LabelledMemory

        self._memory = LabelledMemory(labelled_bytes)
        self._project, self._scales, self._on_problem, self._should_stop = project, scales, on_problem, should_stop
        self._names = image_names(project)
        self._corrections = {c.id: c for c in project.corrections.select(history=True)}
        self._held_out: dict[str, str] | None = None
        self._copies = Copies()

    def hold_out(self, validation: Iterable[LabelledImage]) -> None:
        """Leave out from now on copies of an image of `validation`, of one that is held out unscored, and of others.

        A mask that nobody corrected yet scores nothing today; once it is corrected, its pixels must not be learnt.
        """
        self._held_out = {}
        read = {image.name: image for image in validation}
        for record in self._project.images.select("held_out = 1"):
            # one that cannot be read scores nothing
            with contextlib.suppress(ProjectError, ImageError):
                name = self._names[record.id]
                pixels = read[name].pixels() if name in read else self._pixels(record)
                self._held_out[array_hash(pixels)] = name
                self._copies.add(name, pixels)

    def labelled(self, ids: Iterable[int]) -> tuple[tuple[LabelledImage, ...], tuple[int, ...]]:
        """Return one image for all corrections of it, in the order of images, and the corrections that were read.

        Images with the pixels of one that was held out are left out.
        """
        by_image: dict[int, list[CorrectionRecord]] = {}
        for correction in (self._corrections[i] for i in sorted(ids)):
            by_image.setdefault(correction.image_id, []).append(correction)
        images: list[LabelledImage] = []
        read: list[int] = []
        for image_id in sorted(by_image):
            with _reporting(self._on_problem):
                again = functools.partial(self._image, self._project.images.get(image_id), by_image[image_id])
                image = again()
                twin = self._held_out.get(array_hash(image.pixels())) if self._held_out else None
                if twin is None:
                    if self._held_out is not None:
                        self._copies.add(image.name, image.pixels())
                    images.append(self._memory.kept(image, again))
                    read.extend(c.id for c in by_image[image_id])
                elif self._on_problem is not None:
                    self._on_problem(f"{image.name} has the pixels of {twin}, which is held out to score models.")
        return tuple(images), tuple(sorted(read))

    def unlabelled(self, ids: Iterable[int]) -> tuple[tuple[UnlabelledImage, ...], tuple[int, ...]]:
        """Return images without their masks, and their ids; none that cannot be read or is a copy of another one."""
        from napari_amvlm.learning.data import UnlabelledImage

        images: list[UnlabelledImage] = []
        read: list[int] = []
        for image_id in sorted(ids):
            with _reporting(self._on_problem):
                name, pixels = self._names[image_id], self._pixels(self._project.images.get(image_id))
                original = self._copies.original(pixels)
                if original is None:
                    images.append(UnlabelledImage(image=pixels, name=name))
                    read.append(image_id)
                elif self._on_problem is not None:
                    held_out = original in (self._held_out or {}).values()
                    reason = "is held out to score models" if held_out else "has an accepted mask"
                    self._on_problem(f"{name} is a copy of {original}, which {reason}.")
        return tuple(images), tuple(read)

    def _pixels(self, record: ImageRecord) -> NDArray[np.float32]:
        if self._should_stop():
            raise Cancelled("Stopped while the project was being read; nothing was learnt.")
        return to_rgb01(self._project.images.load(record), name=record.name)

    def _image(self, record: ImageRecord, corrections: Sequence[CorrectionRecord]) -> LabelledImage:
        from napari_amvlm.learning.data import LabelledImage

        pixels = self._pixels(record)
        gray = is_gray(pixels)
        return LabelledImage(
            name=self._names[record.id],
            image=pixels,
            masks={c.prompt: self._project.corrections.mask(c) for c in corrections},
            scales={c.prompt: c.scale or self._scales(c.prompt, record.shape, gray) for c in corrections},
            reviewed={c.prompt: self._project.corrections.reviewed(c) for c in corrections if c.reviewed_file} or None,
            objects={c.prompt: self._project.corrections.objects(c) for c in corrections if c.objects_file},
        )


@contextlib.contextmanager
def _reporting(on_problem: Callable[[str], None] | None) -> Iterator[None]:
    """Report the sentence of a project or image error instead of raising it, where there is a callback."""
    try:
        yield
    except (ProjectError, ImageError) as error:
        if on_problem is None:
            raise
        on_problem(str(error))


def _within(records: Sequence[ImageRecord], limit: int) -> list[ImageRecord]:
    """Choose images of at most `limit` bytes as float RGB; by content hash, so the same ones each time."""
    size = {r.id: r.shape[0] * r.shape[1] * 3 * 4 for r in records}
    if sum(size.values()) <= limit:
        return list(records)
    chosen: set[int] = set()
    used = 0
    for record in sorted(records, key=lambda r: r.sha256):
        if used + size[record.id] <= limit:
            chosen.add(record.id)
            used += size[record.id]
    return [r for r in records if r.id in chosen]
