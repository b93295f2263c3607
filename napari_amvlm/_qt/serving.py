"""The model that serves in one viewer: loaded, replaced and helped by another text model, in threads."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from qtpy.QtCore import QObject, Signal

from napari_amvlm._qt.jobs import JobQueue
from napari_amvlm._qt.settings import read_text_model, write_text_model
from napari_amvlm._qt.workers import LoadThread
from napari_amvlm.errors import ModelFileError
from napari_amvlm.models.catalog import installed_models

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from napari_amvlm.models.model_info import ModelInfo
    from napari_amvlm.predictor import Predictor

LOADING = "Loading the model; you can look at images meanwhile."
ModelState = Literal["none", "loading", "ready", "failed"]


class Serving(JobQueue):
    """Loads the model that serves, and lets another one take its place.

    Signals
    -------
    modelChanged
        `model_state`, `predictor` or the served model changed.
    """

    modelChanged = Signal()

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.model_state: ModelState = "none"
        self.model_message = "No model is loaded yet."
        self.predictor: Predictor | None = None
        self.devices: dict[str, str] = {}
        self.installed: tuple[ModelInfo, ...] = ()
        self.base: ModelInfo | None = None  # what serves in a project without a model of its own
        self.is_base_chosen = False
        self._wanted: Callable[[], None] | None = None

    def load_model(self, name_or_path: str | Path | None = None, done: Callable[[], None] | None = None) -> None:
        """Load an installed model by name, or a model file, in the background; then call `done`."""
        self._set_model_state("loading", LOADING)
        thread = LoadThread(lambda: _load_predictor(name_or_path), _list_devices)
        thread.returned.connect(self._on_loaded)
        if done is not None:
            thread.returned.connect(lambda _: done())
        thread.errored.connect(self._on_load_failed)
        self.start(thread)

    def serve(
        self,
        path: Path,
        done: Callable[[], None] | None = None,
        failed: Callable[[str], None] | None = None,
        *,
        sha256: str | None = None,
    ) -> None:
        """Let the model in the file `path` draw the masks from now on; the one before stays if it cannot be read.

        So it does if the file is not the one of the hash `sha256`, where that is given.
        """
        if self.model_state == "loading":
            # once that is loaded; of several the last
            self._wanted = lambda: self.serve(path, done, failed, sha256=sha256)
            return
        predictor = self.predictor
        if predictor is None:
            self.load_model(path, done)
            return

        def work() -> None:
            from napari_amvlm.models.checkpoint import load_model

            model, info = load_model(path, device=predictor.device)
            if sha256 not in (None, info.sha256):
                raise ModelFileError(f"{path} was changed since it was learnt, so it does not serve; restore a backup.")
            predictor.replace_model(model, info)

        def finish(_: object) -> None:
            self._set_model_state("ready", "")
            if done is not None:
                done()

        self.submit(work, finish, failed)

    def forget_wanted(self) -> None:
        """Let the model that is being loaded serve, whatever another project wanted meanwhile."""
        self._wanted = None

    def presets(self) -> list[str]:
        """Return what the served model was taught, by the name of each concept."""
        if self.predictor is None:
            return []
        return [concept.name for concept in self.predictor.model.config.concepts]

    def is_taught(self, prompt: str) -> bool:
        """Tell whether the served model, or another text model, answers a prompt; True while there is none."""
        return self.predictor is None or self.predictor.knows(prompt)

    def use_text_model(self, source: str, *, fetch: bool = True) -> None:
        """Let another text model answer for what was not taught: a folder or `hub:OWNER/NAME`; empty removes it."""
        predictor = self.predictor
        if predictor is None:
            self.said.emit("warning", "The model is not loaded yet; choose the text model again in a moment.")
            return

        def work() -> None:
            from napari_amvlm.models.text_prompted import load_text_model

            predictor.text_model = load_text_model(source, device=predictor.device, fetch=fetch) if source else None

        def finish(_: object) -> None:
            write_text_model(source)
            other = predictor.text_model
            words = f"{other.name} answers for words that were not taught; licence: {other.licence}." if other else ""
            self.said.emit("info", words or "Words that were not taught are answered by no other model.")
            self.modelChanged.emit()

        self.submit(work, finish, long=True)

    def served_key(self) -> str | None:
        """Return the hash of the file that serves."""
        info = self.predictor.info if self.predictor is not None else None
        return info.sha256 if info is not None else None

    def _on_loaded(self, loaded: tuple[Predictor, dict[str, str]]) -> None:
        self.predictor, self.devices = loaded
        self.base = self.predictor.info
        self._set_model_state("ready", "")
        self.submit(lambda: tuple(installed_models()), self._on_installed)
        self._serve_wanted()
        source = read_text_model()
        if source:
            self.use_text_model(source, fetch=False)

    def _on_load_failed(self, text: str, _error: object) -> None:
        self._set_model_state("failed", text)
        self._serve_wanted()

    def _serve_wanted(self) -> None:
        if self._wanted is not None:
            wanted, self._wanted = self._wanted, None
            wanted()

    def _on_installed(self, models: tuple[ModelInfo, ...]) -> None:
        self.installed = models
        self.modelChanged.emit()

    def _set_model_state(self, state: ModelState, message: str) -> None:
        self.model_state = state
        self.model_message = message
        self.modelChanged.emit()
        if state == "failed":
            self.said.emit("error", message)


def _load_predictor(name_or_path: str | Path | None) -> Predictor:
    from napari_amvlm.predictor import Predictor

    return Predictor.from_file(name_or_path)


def _list_devices() -> dict[str, str]:
    from napari_amvlm.device import available_devices

    return available_devices()
