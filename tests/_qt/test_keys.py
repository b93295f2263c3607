"""The keys: napari's own actions, which a person can change, and what the docks say of them."""

import pytest
from napari.components import ViewerModel
from napari.layers import Image, Labels
from napari.settings import get_settings
from napari.utils.action_manager import action_manager
from napari.utils.key_bindings import coerce_keybinding
from qtpy.QtCore import QPoint, Qt
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QApplication

from napari_amvlm._qt import keys
from napari_amvlm._qt.layout import ScrollColumn
from napari_amvlm._qt.queue.dock import QueueDock


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


def _click(widget, place):
    """Click as the system does it, where the window finds what lies there."""
    around, window = widget, widget.window()
    while around is not None:
        if isinstance(around, ScrollColumn):
            around.ensureWidgetVisible(widget)
        around = around.parentWidget()
    QTest.mouseClick(window.windowHandle(), Qt.MouseButton.LeftButton, pos=widget.mapTo(window, place))


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


def test_keys_reach_the_image_from_a_dock(make_bench):
    bench = make_bench(show=True)
    bench.run("nuclei")
    queue = QueueDock(bench.viewer, bench.workspace)
    bench.viewer.window.add_dock_widget(queue, name="Queue", area="left")
    window, canvas = bench.viewer.window._qt_window, bench.viewer.window._qt_viewer.canvas.native
    window.activateWindow()
    bench.wait(window.isActiveWindow)
    panel, listed = bench.annotate.panel, queue.panel.list
    number = panel.brush.brush_size
    arrow = QPoint(number.width() - 8, number.height() // 2)
    clicked = [panel.run_button, panel.shown.reviewed, panel.model, listed._status]

    for widget, place in [*((each, each.rect().center()) for each in clicked), (number, arrow)]:
        panel.prompt.lineEdit().setFocus()
        _click(widget, place)
        popup = QApplication.activePopupWidget()
        if popup is not None:
            bench.qtbot.keyClick(popup, Qt.Key.Key_Escape)
        bench.wait(canvas.hasFocus)

    _click(listed._list.viewport(), QPoint(20, 20))
    assert listed._list.hasFocus()  # for the arrow keys
    bench.qtbot.keyClick(listed._list, Qt.Key.Key_T)
    assert not bench.layer().visible
    panel.run_button.setFocus()  # by Tab
    bench.qtbot.keyClick(panel.run_button, Qt.Key.Key_A)
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
