"""Layers that only show something of the image at hand: what was reviewed, and where the model is unsure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Image, Labels
from napari.utils.colormaps import Colormap, DirectLabelColormap
from qtpy.QtCore import QObject

from napari_amvlm._qt.annotation.slide import SlideAnnotation
from napari_amvlm._qt.layers import labels as label_layers
from napari_amvlm._qt.layers.image import layer_shape
from napari_amvlm._qt.widgets.shown_layers import CORRECTED, NEVER, RIGHT, Shown
from napari_amvlm._qt.workers import CallThread
from napari_amvlm.project.ranking import binary_entropy
from napari_amvlm.review import PixelState
from napari_amvlm.wording import shortened

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari.layers import Layer

    from napari_amvlm._qt.annotation.annotation import Annotation
    from napari_amvlm._qt.workspace import Workspace
    from napari_amvlm.project import Project

_UNSURE = (0.0, 0.62, 0.45)
"""Bluish green, which neither stained tissue nor a radiograph has; the more unsure, the less of the image is seen."""

REVIEWED = "reviewed"
UNSURE = "unsure"
# napari leaves label 0 out, so each state is shown as the number after it
_STATE_COLOURS = {
    None: "#00000000",
    0: "#00000000",
    PixelState.NEVER + 1: f"{NEVER}a0",
    PixelState.RIGHT + 1: f"{RIGHT}70",
    PixelState.CORRECTED + 1: f"{CORRECTED}d0",
}


class Overlays(QObject):
    """Keeps at most one layer of each kind, on the image and for the prompt at hand."""

    def __init__(self, viewer: Any, workspace: Workspace, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._viewer = viewer
        self._workspace = workspace
        self._layers: dict[str, Layer] = {}
        self._wanted: tuple[Annotation, str] | None = None
        self._shown = Shown()
        self._thread: CallThread | None = None
        self._again = False

    def show(self, annotation: Annotation | None, prompt: str | None, shown: Shown) -> None:
        """Show what is asked for; without an image or a prompt nothing."""
        # of a slide nothing is reviewed, but of its regions; these are images of their own
        is_plane = annotation is not None and not isinstance(annotation, SlideAnnotation)
        self._wanted = (annotation, prompt) if annotation is not None and is_plane and prompt is not None else None
        self._shown = shown
        self._show_reviewed()
        self._show_uncertainty()

    def is_busy(self) -> bool:
        """Tell whether a layer is still being made."""
        return self._thread is not None

    def _show_reviewed(self) -> None:
        if self._wanted is None or not self._shown.reviewed:
            self._remove(REVIEWED)
            return
        annotation, prompt = self._wanted
        known = annotation.accepted.get(prompt)
        states = known.states if known is not None else np.zeros(layer_shape(annotation.image)[-2:], np.uint8)
        self._put(REVIEWED, annotation, states + np.uint8(1))

    def _show_uncertainty(self) -> None:
        if self._wanted is None or not self._shown.uncertainty:
            self._remove(UNSURE)
            return
        if self._thread is not None:
            self._again = True
            return
        annotation, prompt = self._wanted
        stored = annotation.results.get(prompt)
        probability = stored.prediction.probability if stored is not None else None
        project, image_id, shape = self._workspace.project, annotation.image_id, layer_shape(annotation.image)[-2:]
        self._thread = CallThread(lambda: uncertainty(probability, project, image_id, prompt, shape))
        self._thread.returned.connect(self._on_uncertainty)
        self._thread.errored.connect(self._on_errored)
        self._workspace.start(self._thread)

    def _on_uncertainty(self, field: np.ndarray | None) -> None:
        self._thread = None
        if self._again:
            self._again = False
            self._show_uncertainty()
            return
        if self._wanted is None or not self._shown.uncertainty:
            self._remove(UNSURE)
            return
        annotation, prompt = self._wanted
        if field is None:
            self._remove(UNSURE)
            text = f"Nothing is known yet of where the model is unsure about {shortened(prompt)}; run it first."
            self._workspace.say("info", text, annotation)
        elif field.shape == layer_shape(annotation.image)[-2:]:
            self._put(UNSURE, annotation, field)

    def _on_errored(self, text: str, _error: object) -> None:
        self._thread, self._again = None, False
        self._workspace.say("error", text)

    def _put(self, kind: str, annotation: Annotation, plane: np.ndarray) -> None:
        """Show a plane on its image, in the layer of its kind where that lies there already."""
        image = annotation.image
        data = label_layers.in_stack(image, annotation.place, plane)
        if image not in self._viewer.layers:
            self._remove(kind)
            return
        name = f"{image.name} {kind}"
        layer = self._layers.get(kind)
        if layer is not None and layer in self._viewer.layers and layer.metadata[label_layers.OVERLAY] is image:
            layer.data = data
            layer.name = name
            return
        self._remove(kind)
        options = {"name": name, "metadata": {label_layers.OVERLAY: image}, **label_layers.on_top_of(image)}
        self._layers[kind] = _make(kind, data, options)
        active = self._viewer.layers.selection.active
        # below the masks, so that these can still be painted on
        self._viewer.layers.insert(self._viewer.layers.index(image) + 1, self._layers[kind])
        self._viewer.layers.selection.active = active

    def _remove(self, kind: str) -> None:
        layer = self._layers.pop(kind, None)
        if layer is not None and layer in self._viewer.layers:
            self._viewer.layers.remove(layer)


def uncertainty(
    probability: np.ndarray | None,
    project: Project | None,
    image_id: int | None,
    prompt: str,
    shape: Sequence[int],
) -> np.ndarray | None:
    """Return where a model is unsure about a prompt, float32 (H, W) in [0, 1]; None where nothing is known.

    Where the queue was ordered, this is what the order says: disagreement and entropy of its tiles. The entropy is that
    of each pixel where there is a probability at hand, and all there is where the queue was not ordered yet.
    """
    entropy = None if probability is None else np.asarray(binary_entropy(probability), dtype=np.float32)
    if project is None or image_id is None:
        return entropy
    ids = [item.id for item in project.queue.items(image_id=image_id)]
    heat = project.queue.heat(ids, prompt, (int(shape[0]), int(shape[1])), entropy)
    return entropy if heat is None else heat


def _make(kind: str, data: np.ndarray, options: dict[str, Any]) -> Layer:
    if kind == REVIEWED:
        layer = Labels(data, colormap=DirectLabelColormap(color_dict=_STATE_COLOURS), opacity=1.0, **options)
        layer.editable = False
        return layer
    colours = Colormap([[*_UNSURE, 0.0], [*_UNSURE, 0.55], [*_UNSURE, 0.95]], name="unsure")
    return Image(data, colormap=colours, blending="translucent_no_depth", contrast_limits=(0, 1), **options)
