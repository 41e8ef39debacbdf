"""What clients were told, what both sides hold in the end, and what does not fit together.

`acknowledged` is what writers on both sides log, `checker` compares it with both trees and with the
journal of conflicts: it knows nothing of the engine's inside and works on any pair of ensembles.
`laws` looks at every transaction of ensembles in memory: what the engine may write, and how often.
The checker is itself checked by engines with seeded bugs (`test_history_bugs.py`).
"""
