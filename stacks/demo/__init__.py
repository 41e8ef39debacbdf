"""`python -m stacks.demo`: a live cluster moves from blue to green on this machine, with proof."""
