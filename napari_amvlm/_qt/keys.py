"""The keys of the docks: napari actions, so that a person can change them under Preferences, Shortcuts.

They act while the canvas has the focus, so that what is typed into a field is text and nothing else.  napari does not
bind the keys of a manifest, so they are registered with its action manager, as its own keys are.
"""

from __future__ import annotations

import weakref
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from napari.components import ViewerModel
from napari.settings import get_settings
from napari.utils.action_manager import action_manager
from napari.utils.interactions import Shortcut
from napari.utils.key_bindings import coerce_keybinding
from qtpy.compat import isalive

if TYPE_CHECKING:
    from collections.abc import Callable

    from qtpy.QtCore import QObject

PREFIX = "napari-amvlm:"


@dataclass(frozen=True)
class KeyAction:
    """What a key does: the name of the dock's method, a description, and the key unless a person chose another."""

    name: str
    description: str
    key: str
    repeatable: bool = False

    @property
    def id(self) -> str:
        """Its name in napari."""
        return PREFIX + self.name


ACTIONS = (
    KeyAction("run", "Run the prompts", "G"),
    KeyAction("accept", "Accept the chosen prompt's mask", "A"),
    KeyAction("accept_region", "Accept the region: a drawn shape, or what is in view", "Shift+A"),
    KeyAction("reject", "Reject the chosen prompt's mask", "R"),
    KeyAction("next_item", "Next image of the queue", "N"),
    KeyAction("previous_item", "Previous image of the queue", "Shift+N"),
    KeyAction("next_prompt", "Choose the next prompt of the list", "J"),
    KeyAction("previous_prompt", "Choose the prompt before", "Shift+J"),
    KeyAction("toggle_masks", "Show or hide the masks", "T"),
    KeyAction("toggle_outlines", "Show the masks as outlines, or filled", "I"),
    KeyAction("toggle_reviewed", "Show or hide what was reviewed", "D"),
    KeyAction("toggle_uncertainty", "Show or hide where the model is unsure", "U"),
    KeyAction("toggle_spread", "Strokes spread: off, near, whole image", "S"),
    KeyAction("toggle_clicks", "Click on objects: add, choose, cut with Shift; or no more", "K"),
    KeyAction("remove_objects", "Remove the chosen objects", "Delete"),
    KeyAction("merge_objects", "Merge the chosen objects", "Shift+M"),
    KeyAction("lower_threshold", "Threshold down: paint more", ",", repeatable=True),
    KeyAction("raise_threshold", "Threshold up: paint less", ".", repeatable=True),
)

_targets: weakref.WeakKeyDictionary[Any, weakref.ref[Any]] = weakref.WeakKeyDictionary()


def bind(viewer: Any, target: QObject) -> None:
    """Let the keys of `viewer` call the methods of `target`, the dock that was opened last, as long as it is there."""
    _register()
    _targets[viewer] = weakref.ref(target)


def shortcuts(name: str) -> list[str]:
    """Return the keys of an action now, as the system writes them."""
    return [Shortcut(key).platform for key in action_manager._shortcuts.get(PREFIX + name, [])]


def key_text(name: str) -> str:
    """Return the keys of an action as one text, empty where it has none."""
    return " or ".join(shortcuts(name))


def help_lines() -> list[tuple[str, str]]:
    """Return each key and what it does."""
    return [(key_text(action.name), action.description) for action in ACTIONS]


def on_change(call: Callable[[], None], until: QObject) -> None:
    """Call `call` whenever a person changed a key, as long as `until` is there."""

    def changed(event: Any) -> None:
        if str(event.name).startswith(PREFIX) and isalive(until):
            call()

    action_manager.events.shortcut_changed.connect(changed, until=until.destroyed)


def _register() -> None:
    stored = get_settings().shortcuts.shortcuts
    for action in ACTIONS:
        if action.id in action_manager._actions:
            continue
        action_manager.register_action(action.id, _command(action), action.description, ViewerModel, action.repeatable)
        for key in stored.get(action.id, [action.key]):
            action_manager.bind_shortcut(action.id, coerce_keybinding(key))


def _command(action: KeyAction) -> Callable[..., None]:
    def command(viewer: Any) -> None:
        # napari hands a proxy to some callers; the docks are kept by the viewer itself
        reference = _targets.get(getattr(viewer, "__wrapped__", viewer))
        target = reference() if reference is not None else None
        if target is not None and isalive(target):
            getattr(target, action.name)()

    command.__name__ = f"amvlm_{action.name}"
    command.__doc__ = action.description
    return command
