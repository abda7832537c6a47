"""Signals are handled between steps."""

import os
import signal
import threading

import pytest

from experiments.run.signals import deferred


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_first_signal_is_noted_and_the_second_stops_at_once(number):
    before = signal.getsignal(number)
    with pytest.raises(KeyboardInterrupt), deferred() as stop:
        assert not stop
        os.kill(os.getpid(), number)
        assert stop  # and nothing was raised
        os.kill(os.getpid(), signal.SIGINT)
        pytest.fail("the second signal was not heard")
    assert signal.getsignal(number) is before


def test_an_ignored_signal_stays_ignored():
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)  # as under nohup, or in the background of a script
    try:
        with deferred() as stop:
            os.kill(os.getpid(), signal.SIGINT)
            assert not stop
    finally:
        signal.signal(signal.SIGINT, before)


def test_threads_other_than_the_main_one_leave_signals_alone():
    heard = []

    def work():
        with deferred() as stop:
            heard.append(bool(stop))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert heard == [False]
