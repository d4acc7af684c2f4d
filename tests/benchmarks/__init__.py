"""Programs that measure the control plane; no test depends on their numbers.

``make bench`` runs them all, ``make bench BENCH=submit,growth`` some of them.  Each file
measures one thing; the processes under test are the real ones, and so is the broker, which
has every message on the disk before it says so.
"""
