"""Buttons that are pressed just when it matters."""

import threading


def press_when(widget, trait, is_time, button):
    """Press a button from another thread as soon as a trait takes a value; gives the wait for that press."""
    presses = []

    def press(change):
        if is_time(change["new"]) and not presses:
            presses.append(threading.Thread(target=button.click))
            presses[0].start()
            presses[0].join(0.5)  # it may have to wait for whoever is setting the trait

    widget.observe(press, trait)
    return lambda: presses[0].join(10)
