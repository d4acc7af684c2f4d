"""Everything is killed, stopped and restarted while jobs run; in the end each has ended once.

``plan`` and ``orders`` say what happens, as pure functions of a seed; ``striker`` and ``client``
do it to a real stack; ``observer`` and ``follower`` write down what they are told meanwhile;
``history``, ``verdict`` and ``stems`` judge; ``run`` puts it together and ``report`` tells.
"""
