"""What the buttons and keys of the Annotate dock do."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QTimer

from napari_amvlm._qt.annotation.slide import READ_ONLY, SlideAnnotation, paintable
from napari_amvlm._qt.dock import Dock
from napari_amvlm._qt.layers import labels as label_layers
from napari_amvlm._qt.layers.regions import chosen_region
from napari_amvlm.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable

    from napari_amvlm._qt.annotate.accept_reject import AcceptReject
    from napari_amvlm._qt.annotate.chosen_prompt import ChosenPrompt
    from napari_amvlm._qt.annotate.current_image import CurrentImage
    from napari_amvlm._qt.annotate.objects import Objects
    from napari_amvlm._qt.annotate.panel import AnnotatePanel
    from napari_amvlm._qt.annotate.prompts import Prompts
    from napari_amvlm._qt.annotate.repaint import Repainter
    from napari_amvlm._qt.annotate.slides import Slides
    from napari_amvlm._qt.annotation.annotation import Annotation
    from napari_amvlm._qt.layers.mask import MaskLayer
    from napari_amvlm._qt.queue.queue import Queue
    from napari_amvlm._qt.strokes.clicks import ObjectClicks
    from napari_amvlm._qt.strokes.spreading import Spreading

THRESHOLD_STEP = 0.05


class AnnotateActions(Dock):
    """The dock as far as a person commands it: each public method but `annotation` is a button or a key."""

    panel: AnnotatePanel
    current_image: CurrentImage
    queue: Queue
    prompts: Prompts
    slides: Slides
    repainter: Repainter
    review: AcceptReject
    chosen: ChosenPrompt
    spreading: Spreading
    objects: Objects
    clicks: ObjectClicks

    def annotation(self) -> Annotation | None:
        """Return what is known of the image at hand, of a stack of the slice in view; None where there is none."""
        return self.current_image.annotation()

    def run(self) -> None:
        """Run the prompts that are typed and those not yet run on this image; with none typed, all of the list."""
        if self._is_opening() or self._is_side_in_view():
            return
        annotation = self.annotation()
        if self.prompts.run(annotation, self.slides.view(annotation)):
            self._focus_canvas()

    def accept(self) -> None:
        """Store the chosen prompt's mask in the project; only then is it called finished."""
        chosen = self._mask_to_accept()
        if chosen is not None and isinstance(chosen[0], SlideAnnotation):
            self.say("warning", READ_ONLY)
        elif chosen is not None:
            self._when_shown(lambda: self.review.accept(*chosen), self._say_not_painted)

    def accept_region(self) -> None:
        """Store a part of the chosen prompt's mask: what was drawn, the queue's region, or what is in view."""
        chosen = self._mask_to_accept()
        if chosen is None:
            return
        annotation, prompt = chosen
        if isinstance(annotation, SlideAnnotation):
            self.slides.open_region(annotation)
            return
        item = self.queue.current
        region_of_item = item.region if item is not None and item.image_id == annotation.image_id else None
        try:
            label_layers.check_image(annotation.image)
            region, name = chosen_region(self._viewer, annotation.image, region_of_item, annotation.place)
        except InputError as error:
            self.say("error", str(error))
            return
        self.say("info", f"Accepting {name}: {region.mean():.0%} of the image ...")
        self._when_shown(lambda: self.review.accept(annotation, prompt, region), self._say_not_painted)

    def reject(self) -> None:
        """Take the chosen prompt's mask off the image, and out of the project if it was accepted."""
        chosen = self._chosen_mask()
        if chosen is not None:
            self._when_shown(lambda: self.review.reject(*chosen))

    def restore(self) -> None:
        """Show the chosen prompt's mask as it is in the project."""
        chosen = self._chosen_mask()
        if chosen is not None:
            self.review.restore(*chosen)

    def undo(self) -> None:
        """Take back what was done last with the chosen prompt's mask, or the Accept that has just chosen it.

        Of a polygon that is being drawn, only its last point.
        """
        layer = self._chosen_layer()
        if not self._is_opening() and not (layer is not None and layer.drop_point()):
            self.chosen.return_to_accepted()
            self._undo_or_redo(self.review.undo)

    def redo(self) -> None:
        """Do again what was taken back last."""
        self._undo_or_redo(self.review.redo)

    def next_item(self) -> None:
        """Open the next image of the queue."""
        self.queue.step(1)

    def previous_item(self) -> None:
        """Open the image before."""
        self.queue.step(-1)

    def next_prompt(self) -> None:
        """Choose the next prompt of the list; after the last comes the first."""
        self.panel.prompts.step(1)

    def previous_prompt(self) -> None:
        """Choose the prompt before."""
        self.panel.prompts.step(-1)

    def toggle_masks(self) -> None:
        """Show or hide the masks."""
        self.panel.shown.masks.toggle()

    def toggle_outlines(self) -> None:
        """Show all masks as outlines, or the chosen one filled."""
        self.panel.shown.outlines.toggle()

    def toggle_reviewed(self) -> None:
        """Show or hide what was reviewed."""
        self.panel.shown.reviewed.toggle()

    def toggle_uncertainty(self) -> None:
        """Show or hide where the model is unsure."""
        self.panel.shown.uncertainty.toggle()

    def toggle_spread(self) -> None:
        """Let strokes spread no more, near, or over the whole image."""
        self.panel.brush.step()

    def toggle_clicks(self) -> None:
        """Let clicks act on objects, each of which has a number then, or no more."""
        self.clicks.toggle()

    def remove_objects(self) -> None:
        """Remove the chosen objects from the mask."""
        if not self._is_opening():
            self.clicks.remove()

    def merge_objects(self) -> None:
        """Make one object of the chosen ones."""
        if self._is_opening():
            return
        if len(self.panel.objects.value()) > 1:
            self.objects.merge()
        else:
            self.say("info", "Choose two objects or more to merge them.")

    def lower_threshold(self) -> None:
        """Paint more of the chosen prompt."""
        self._move_threshold(-THRESHOLD_STEP)

    def raise_threshold(self) -> None:
        """Paint less of the chosen prompt."""
        self._move_threshold(THRESHOLD_STEP)

    def _chosen_mask(self) -> tuple[Annotation, str] | None:
        return None if self._is_opening() or self._is_side_in_view() else self.chosen.mask()

    def _chosen_layer(self) -> MaskLayer | None:
        annotation, prompt = self.annotation(), self.panel.prompts.current()
        return annotation.layers.get(prompt) if annotation is not None and prompt is not None else None

    def _mask_to_accept(self) -> tuple[Annotation, str] | None:
        """Return the chosen mask, unless a polygon that looks like a part of it is not finished, which is said."""
        layer = self._chosen_layer()
        if layer is not None and layer.is_drawing():
            self.say(
                "warning",
                "Nothing was accepted: a polygon is not finished, so it is not in the mask. Double-click to add it, or "
                "press Esc to drop it.",
            )
            return None
        return self._chosen_mask()

    def _is_opening(self) -> bool:
        """Tell whether the image at hand is about to be another one, which is said: nothing acts on it by then."""
        return self.workspace.says_opening(self.queue.images.opening)

    def _is_side_in_view(self) -> bool:
        """Tell whether a stack is seen from the side, which is said: the slice at hand is not what is in view."""
        try:
            self.current_image.check_side()
        except InputError as error:
            self.say("error", str(error))
            return True
        return False

    def _when_shown(self, then: Callable[[], None], failed: Callable[[], None] | None = None) -> None:
        """Call `then` once all that was asked for is drawn, and the mask has followed every stroke."""
        self.repainter.when_painted(lambda: self.spreading.when_followed(then), failed)

    def _undo_or_redo(self, step: Any) -> None:
        if self._is_opening():
            return
        chosen = paintable(self.annotation(), self.panel.prompts.current())
        if chosen is not None:
            self.repainter.when_painted(lambda: step(*chosen))

    def _move_threshold(self, by: float) -> None:
        if self.panel.threshold.isEnabled() and not self._is_opening():
            self.panel.threshold.step_by(by)

    def _say_not_painted(self) -> None:
        self.say("error", "Nothing was accepted, for the mask could not be painted; move the threshold and try again.")

    def _focus_canvas(self) -> None:
        """Let keys act on the image again."""
        # once a list that popped up has closed, which gives the focus back to its field
        QTimer.singleShot(0, self._viewer.window._qt_viewer.canvas.native.setFocus)
