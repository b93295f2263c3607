"""The keys: napari's own actions, which a person can change, and what the docks say of them."""

import pytest
from napari.components import ViewerModel
from napari.layers import Image, Labels
from napari.settings import get_settings
from napari.utils.action_manager import action_manager
from napari.utils.key_bindings import coerce_keybinding
from qtpy.QtCore import Qt

from napari_amvlm._qt import keys


@pytest.fixture
def changed_accept_key():
    """Let `K` accept, as the preferences do it; the usual key comes back afterwards."""
    name = keys.PREFIX + "accept"
    action_manager.unbind_shortcut(name)
    action_manager.bind_shortcut(name, coerce_keybinding("K"))
    yield "K"
    action_manager.unbind_shortcut(name)
    action_manager.bind_shortcut(name, coerce_keybinding("A"))


def _press(bench, key):
    """Do what a key does in the canvas."""
    ViewerModel.class_keymap[coerce_keybinding(key)](bench.viewer)
    bench.idle()


def test_every_key_is_free_has_a_default_calls_the_dock_and_is_in_the_help(bench):
    assert len({action.key for action in keys.ACTIONS}) == len(keys.ACTIONS)
    for action in keys.ACTIONS:
        assert keys.shortcuts(action.name), action.name
        assert callable(getattr(bench.annotate, action.name))
        for layer in (Image, Labels):  # masks are worked on with both
            assert coerce_keybinding(action.key) not in layer.class_keymap, action
    assert [text for _, text in bench.annotate.panel.keys.value()] == [action.description for action in keys.ACTIONS]


def test_threshold_keys_move_the_threshold(bench):
    bench.run("nuclei")
    before = bench.annotate.panel.threshold.value()

    _press(bench, ".")
    raised = bench.annotate.panel.threshold.value()
    _press(bench, ",")
    _press(bench, ",")

    assert raised == pytest.approx(before + 0.05)
    assert bench.annotate.panel.threshold.value() == pytest.approx(before - 0.05)


def test_keys_go_through_the_prompts(bench):
    bench.run("nuclei; left lung; gland")
    chosen = []

    for key in ("J", "J", "J", "Shift+J"):
        _press(bench, key)
        chosen.append(bench.annotate.panel.prompts.current())

    assert chosen == ["left lung", "gland", "nuclei", "gland"]


def test_keys_show_and_hide(bench):
    bench.run("nuclei")

    for key in "TDU":
        _press(bench, key)
    names = [layer.name for layer in bench.viewer.layers]
    hidden = not bench.viewer.layers["slide \N{MIDDLE DOT} nuclei"].visible
    for key in "TDU":
        _press(bench, key)

    assert names == ["slide", "slide unsure", "slide reviewed", "slide \N{MIDDLE DOT} nuclei"]
    assert hidden
    assert bench.viewer.layers["slide \N{MIDDLE DOT} nuclei"].visible
    assert [layer.name for layer in bench.viewer.layers] == ["slide", "slide \N{MIDDLE DOT} nuclei"]


def test_a_changed_key_is_used_and_shown(bench, changed_accept_key):
    bench.run("nuclei")

    _press(bench, changed_accept_key)

    assert len(bench.workspace.project.corrections.select()) == 1
    assert coerce_keybinding("A") not in ViewerModel.class_keymap
    assert bench.annotate.panel.accept_button.text() == "Accept  K"
    assert bench.annotate.panel.accept_button.toolTip().endswith("(K)")
    assert ("K", "Accept the chosen prompt's mask") in bench.annotate.panel.keys.value()


def test_a_key_works_while_the_dock_has_the_focus(make_bench):
    bench = make_bench(show=True)
    bench.run("nuclei")
    window = bench.viewer.window._qt_window
    window.activateWindow()
    bench.wait(window.isActiveWindow)
    button = bench.annotate.panel.run_button
    button.setFocus()

    bench.qtbot.keyClick(button, Qt.Key.Key_A)
    bench.idle()

    assert len(bench.workspace.project.corrections.select()) == 1


def test_keys_are_kept_by_napari(bench):
    settings = get_settings().shortcuts.shortcuts
    name = keys.PREFIX + "accept"

    settings[name] = [coerce_keybinding("K")]
    kept = type(get_settings().shortcuts)(shortcuts=settings).shortcuts

    assert kept[name] == [coerce_keybinding("K")]
    del settings[name]


def test_a_dock_that_is_gone_takes_its_keys_along(bench):
    bench.run("nuclei")
    bench.annotate.setParent(None)
    bench.annotate.deleteLater()
    bench.qtbot.waitUntil(lambda: not _alive(bench.annotate))

    ViewerModel.class_keymap[coerce_keybinding("A")](bench.viewer)

    assert bench.workspace.project is None


def _alive(widget):
    from qtpy.compat import isalive

    return bool(isalive(widget))
