"""Threads that take turns more often while work goes on behind the window."""

import sys
import threading

import pytest

from napari_amvlm.thread_switching import INTERVAL, quick_switching


def test_the_last_one_to_end_puts_the_interval_back():
    before = sys.getswitchinterval()
    inside, leave = threading.Event(), threading.Event()
    seen = []

    def work():
        with quick_switching():
            inside.set()
            leave.wait(10)

    with quick_switching():
        other = threading.Thread(target=work)
        other.start()
        assert inside.wait(10)
    seen.append(sys.getswitchinterval())
    leave.set()
    other.join()

    assert seen == [pytest.approx(INTERVAL)]
    assert sys.getswitchinterval() == pytest.approx(before)


def test_a_shorter_interval_stays_and_an_error_puts_it_back():
    before, shorter = sys.getswitchinterval(), INTERVAL / 4
    sys.setswitchinterval(shorter)
    seen = []

    def fail():
        with quick_switching():
            seen.append(sys.getswitchinterval())
            raise ValueError("stop")

    try:
        with pytest.raises(ValueError, match="stop"):
            fail()
        seen.append(sys.getswitchinterval())
    finally:
        sys.setswitchinterval(before)

    assert seen == [pytest.approx(shorter)] * 2
